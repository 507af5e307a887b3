package metrics

import "github.com/pgbaton/pgbaton/internal/status"

var storeStates = []string{status.StoreAnswers, status.StoreStale, status.StoreAsked, status.StoreUnused}

// perStore shows something of each store.
func perStore(show func(st status.Store, put put)) func(status.Status, put) {
	return func(s status.Status, put put) {
		for _, st := range s.Stores {
			show(st, put)
		}
	}
}

var ofStores = []gauge{
	{
		"pgbaton_store_state", "1 for the state that the store is in, 0 for the others",
		[]string{"store", "state"},
		perStore(func(st status.Store, put put) { oneOf(put, st.State, storeStates, st.Name) }),
	},
	{
		"pgbaton_store_stale", "1 if something that the store said can't be confirmed now",
		[]string{"store"},
		perStore(func(st status.Store, put put) { put(flag(st.Stale != nil), st.Name) }),
	},
	{
		"pgbaton_store_staleness_seconds", "for how long the oldest of what the store said could not be confirmed; 0 if all is",
		[]string{"store"},
		func(s status.Status, put put) {
			for _, st := range s.Stores {
				put(staleness(s, st.Stale), st.Name)
			}
		},
	},
	{
		"pgbaton_store_watches", "how many queries of the store are watched",
		[]string{"store"},
		perStore(func(st status.Store, put put) { put(float64(st.Watches), st.Name) }),
	},
	{
		"pgbaton_store_watches_failing", "how many watched queries the store can't confirm now",
		[]string{"store"},
		perStore(func(st status.Store, put put) { put(float64(st.Failing), st.Name) }),
	},
	{
		"pgbaton_store_watches_unanswered", "how many watched queries the store has not answered yet",
		[]string{"store"},
		perStore(func(st status.Store, put put) { put(float64(st.Asked), st.Name) }),
	},
	{
		"pgbaton_store_last_answer_timestamp_seconds", "when the store last answered anything, in Unix time",
		[]string{"store"},
		perStore(func(st status.Store, put put) { unix(put, st.Confirmed, st.Name) }),
	},
}
