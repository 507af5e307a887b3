package watcher

import "time"

// Health is how far what one store said can be relied on.
type Health struct {
	Watches   int       // queries that somebody wants
	Asked     int       // those of them that it has neither answered nor failed to yet
	Failing   int       // those of them that it can't confirm now
	Confirmed time.Time // when it last confirmed any; zero if it never did

	// Of the query that it can't confirm since longest; zero if there is none.
	Stale time.Time // when it was last confirmed, or, if it never was, when it was first wanted
	Never bool      // it never was
	Query Query
	Err   error
}

// Health tells how each store does that something is wanted of, by its name.
func (w *Watcher) Health() map[string]Health {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]Health{}
	for q, e := range w.watches {
		h := all[q.Store]
		h.add(q, e.answer)
		all[q.Store] = h
	}
	return all
}

func (h *Health) add(q Query, a Answer) {
	h.Watches++
	if a.Fresh.After(h.Confirmed) {
		h.Confirmed = a.Fresh
	}
	if a.Err == nil {
		if a.Presence == Unknown {
			h.Asked++
		}
		return
	}
	h.Failing++
	since, never := a.Fresh, a.Fresh.IsZero()
	if never {
		since = a.Since
	}
	if h.Err == nil || since.Before(h.Stale) {
		h.Stale, h.Never, h.Query, h.Err = since, never, q, a.Err
	}
}
