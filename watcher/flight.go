package watcher

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Limited is a Store that lets only so many queries wait at the same time.
type Limited interface {
	// Budget is how many; 0 is no limit.
	Budget() int
}

// ErrDenied is in the chain of an error about something that may not be read. Of a
// prefix, parts may be read even so.
var ErrDenied = errors.New("may not be read")

// board is what is watched in one store.
type board struct {
	store   Store
	budget  int               // 0 is no limit
	flights map[Query]*flight // by what is asked
	apart   map[Query]bool    // queries that can't be watched through a wider one, for now

	planner *time.Timer // set while queries still come and go
	since   time.Time   // when the first of them came
	reunite *time.Timer // set while any is apart
}

func newBoard(s Store) *board {
	b := &board{store: s, flights: map[Query]*flight{}, apart: map[Query]bool{}}
	if l, ok := s.(Limited); ok {
		b.budget = l.Budget()
	}
	return b
}

// flight is a running watch.
type flight struct {
	Watch
	cancel context.CancelFunc

	// clear is closed once the flight may wait for a change. Before, it asks what is
	// there now: a query that waits can't be taken back, the store would keep it and
	// its connection until it ends.
	clear chan struct{}
	waits bool // whether clear is closed
}

// The plan of a limited store is made once no query came or went for settleAfter,
// or after settleWithin if they never end.
const (
	settleAfter  = 50 * time.Millisecond
	settleWithin = time.Second
)

// reuniteAfter is when what is apart is tried through a wider query again: rights may
// have been missing for a moment, as those of a token that is being replaced. Each
// try leaves the store with queries that nobody waits for, so it is not soon.
const reuniteAfter = 10 * time.Minute

// launch starts a flight. The caller holds the lock.
func (w *Watcher) launch(b *board, watch Watch, waits bool) {
	ctx, cancel := context.WithCancel(w.ctx)
	f := &flight{Watch: watch, cancel: cancel, clear: make(chan struct{})}
	if waits {
		f.wait()
	}
	b.flights[f.Query] = f
	for _, q := range f.Parts {
		w.watches[q].flight = f
	}
	w.running.Go(func() {
		if f.Query == (Query{}) {
			w.takeTurns(ctx, b.store, f)
			return
		}
		loop(ctx, b.store, f.Query, f.clear, func(a Answer, err error) bool { return w.report(b, f, a, err) })
	})
}

// wait lets the flight wait for changes. The caller holds the lock.
func (f *flight) wait() {
	if !f.waits {
		f.waits = true
		close(f.clear)
	}
}

// unsettled has the board planned anew once nothing more comes. The caller holds
// the lock.
func (w *Watcher) unsettled(b *board) {
	now := time.Now()
	switch {
	case b.planner == nil:
		b.since = now
		b.planner = time.AfterFunc(settleAfter, func() { w.plan(b) })
	case now.Sub(b.since) < settleWithin:
		b.planner.Reset(settleAfter)
	}
}

// plan makes the flights those that Cover wants.
func (w *Watcher) plan(b *board) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b.planner = nil
	if w.ctx.Err() != nil {
		return
	}
	var queries []Query
	for q := range w.watches {
		if w.boards[q.Store] == b {
			queries = append(queries, q)
		}
	}
	slices.SortFunc(queries, compareQueries)
	stale := b.flights
	b.flights = map[Query]*flight{}
	var fresh []Watch
	for _, watch := range Cover(queries, b.apart, b.budget) {
		f := stale[watch.Query]
		if f == nil || !f.serves(watch.Parts) {
			fresh = append(fresh, watch)
			continue
		}
		delete(stale, watch.Query)
		f.Parts = watch.Parts
		b.flights[watch.Query] = f
		f.wait()
	}
	for _, f := range stale {
		f.cancel()
	}
	for _, watch := range fresh {
		w.launch(b, watch, true)
	}
}

// serves says whether the flight is one for all of parts already. One that is
// under way may have passed by what is new.
func (f *flight) serves(parts []Query) bool {
	return !slices.ContainsFunc(parts, func(q Query) bool { return !slices.Contains(f.Parts, q) })
}

// land ends the share of a query in its flight. The caller holds the lock.
func (w *Watcher) land(q Query, f *flight) {
	f.Parts = slices.DeleteFunc(slices.Clone(f.Parts), func(p Query) bool { return p == q })
	b := w.boards[q.Store]
	if len(f.Parts) == 0 {
		f.cancel()
		if b.flights[f.Query] == f {
			delete(b.flights, f.Query)
		}
	}
	delete(b.apart, q)
	if b.budget > 0 {
		w.unsettled(b)
	}
}

// report takes one answer or failure of a flight, and says whether it was news to
// any of its parts.
func (w *Watcher) report(b *board, f *flight, a Answer, err error) (news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wide, _ := a.Value.([]Pair)
	for _, q := range f.Parts {
		e := w.watches[q]
		if e == nil || e.flight != f {
			continue // let go meanwhile
		}
		if q == f.Query {
			news = w.take(q, e, a, err) || news
			continue
		}
		if errors.Is(err, ErrDenied) {
			w.apart(b, q)
			continue
		}
		own := a
		if err == nil {
			own.Presence, own.Value = q.part(wide)
			if own.Partial && own.empty() {
				// It may be there, and be withheld. To ask for it alone tells.
				w.apart(b, q)
				continue
			}
		}
		news = w.take(q, e, own, err) || news
	}
	return news
}

// apart has q watched on its own. The caller holds the lock.
func (w *Watcher) apart(b *board, q Query) {
	if b.apart[q] {
		return
	}
	b.apart[q] = true
	w.unsettled(b)
	if b.reunite == nil {
		b.reunite = time.AfterFunc(reuniteAfter, func() {
			w.mu.Lock()
			b.reunite = nil
			clear(b.apart)
			w.mu.Unlock()
			w.plan(b)
		})
	}
}

// empty says whether nothing was found of a key or a prefix.
func (a Answer) empty() bool {
	pairs, several := a.Value.([]Pair)
	return a.Presence == Absent || several && len(pairs) == 0
}

// turn is how long a round of those that take turns lasts at least.
const turn = time.Second

// takeTurns asks for one part after the other, and waits for none.
func (w *Watcher) takeTurns(ctx context.Context, store Store, f *flight) {
	for ctx.Err() == nil {
		begun := time.Now()
		w.mu.Lock()
		parts := f.Parts
		w.mu.Unlock()
		for _, q := range parts {
			a, err := store.Fetch(ctx, q, 0)
			if ctx.Err() != nil {
				return
			}
			w.mu.Lock()
			if e := w.watches[q]; e != nil && e.flight == f {
				w.take(q, e, a, err)
			}
			w.mu.Unlock()
		}
		if pause(ctx, max(turn-time.Since(begun), minBackoff)) != nil {
			return
		}
	}
}
