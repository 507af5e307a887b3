// Package watchertest is the contract of a watcher.Store, as tests that every
// store passes.
package watchertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbaton/pgbaton/watcher"
)

// Harness is a store under test, with the means to change what it holds.
type Harness struct {
	Store    watcher.Store
	Put      func(t testing.TB, key, value string)
	Delete   func(t testing.TB, key string)
	Register func(t testing.TB, service, id, address string, port int, status string, tags ...string) // nil: it has no catalog
}

// patience is how long an answer may take before a test fails.
const patience = 30 * time.Second

// Run runs the contract. open makes a fresh, empty store for each test.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for name, test := range map[string]func(*testing.T, Harness){
		"absent key is an answer":      absentKey,
		"empty value is present":       emptyValue,
		"waits for a change":           waits,
		"sees a key come and go":       comeAndGo,
		"prefix is sorted and whole":   prefix,
		"empty prefix is present":      emptyPrefix,
		"gives up when its ctx ends":   cancelled,
		"service filters by tag":       serviceTag,
		"service without passing ones": serviceEmpty,
		"unknown kind is an error":     unknownKind,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func fetch(t *testing.T, s watcher.Store, q watcher.Query, after uint64) watcher.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := s.Fetch(ctx, q, after)
	if err != nil {
		t.Fatalf("fetch %s: %v", q, err)
	}
	if a.Rev == 0 {
		t.Fatalf("fetch %s: revision 0 means nothing, the next fetch would not wait", q)
	}
	return a
}

// until fetches as a watcher does, until cond holds.
func until(t *testing.T, s watcher.Store, q watcher.Query, a watcher.Answer, cond func(watcher.Answer) bool) watcher.Answer {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(a); {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not change as it should; the last answer is %+v", q, a)
		}
		next := fetch(t, s, q, a.Rev)
		if next.Rev < a.Rev {
			next = fetch(t, s, q, 0)
		}
		a = next
	}
	return a
}

func text(a watcher.Answer) string {
	p, _ := a.Value.(watcher.Pair)
	return p.Value
}

func absentKey(t *testing.T, h Harness) {
	a := fetch(t, h.Store, watcher.Query{Kind: watcher.Key, Path: "no/such/key"}, 0)
	if a.Presence != watcher.Absent || a.Value != nil {
		t.Errorf("an absent key is %v with value %v, want absent without one", a.Presence, a.Value)
	}
}

func emptyValue(t *testing.T, h Harness) {
	h.Put(t, "empty", "")
	q := watcher.Query{Kind: watcher.Key, Path: "empty"}
	a := until(t, h.Store, q, fetch(t, h.Store, q, 0), func(a watcher.Answer) bool { return a.Presence == watcher.Present })
	if text(a) != "" {
		t.Errorf("value %q, want an empty one", text(a))
	}
}

func waits(t *testing.T, h Harness) {
	h.Put(t, "k", "one")
	q := watcher.Query{Kind: watcher.Key, Path: "k"}
	first := until(t, h.Store, q, fetch(t, h.Store, q, 0), func(a watcher.Answer) bool { return text(a) == "one" })

	got := make(chan watcher.Answer, 1)
	go func() {
		a, err := h.Store.Fetch(t.Context(), q, first.Rev)
		if err != nil {
			t.Errorf("fetch: %v", err)
		}
		got <- a
	}()
	h.Put(t, "k", "two")
	select {
	case a := <-got:
		until(t, h.Store, q, a, func(a watcher.Answer) bool { return text(a) == "two" })
	case <-time.After(patience):
		t.Fatal("a change did not end the wait")
	}
}

func comeAndGo(t *testing.T, h Harness) {
	q := watcher.Query{Kind: watcher.Key, Path: "leader"}
	a := fetch(t, h.Store, q, 0)
	for _, value := range []string{"pg1", "pg2"} {
		h.Put(t, "leader", value)
		a = until(t, h.Store, q, a, func(a watcher.Answer) bool { return text(a) == value })
		h.Delete(t, "leader")
		a = until(t, h.Store, q, a, func(a watcher.Answer) bool { return a.Presence == watcher.Absent })
	}
}

func prefix(t *testing.T, h Harness) {
	for _, key := range []string{"p/b", "p/a", "p/a/deep", "pq"} {
		h.Put(t, key, "v of "+key)
	}
	q := watcher.Query{Kind: watcher.Prefix, Path: "p/"}
	a := until(t, h.Store, q, fetch(t, h.Store, q, 0), func(a watcher.Answer) bool {
		pairs, _ := a.Value.([]watcher.Pair)
		return len(pairs) == 3
	})
	type pair struct{ Path, Key, Value string }
	var have []pair
	for _, p := range a.Value.([]watcher.Pair) {
		have = append(have, pair{p.Path, p.Key, p.Value})
	}
	want := []pair{{"p/a", "a", "v of p/a"}, {"p/a/deep", "a/deep", "v of p/a/deep"}, {"p/b", "b", "v of p/b"}}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("pairs (-want +have):\n%s", diff)
	}
}

func emptyPrefix(t *testing.T, h Harness) {
	a := fetch(t, h.Store, watcher.Query{Kind: watcher.Prefix, Path: "nothing/here/"}, 0)
	pairs, ok := a.Value.([]watcher.Pair)
	if a.Presence != watcher.Present || !ok || len(pairs) != 0 {
		t.Errorf("an empty prefix is %v with %v, want present with no pairs", a.Presence, a.Value)
	}
}

func cancelled(t *testing.T, h Harness) {
	h.Put(t, "quiet", "x")
	q := watcher.Query{Kind: watcher.Key, Path: "quiet"}
	a := until(t, h.Store, q, fetch(t, h.Store, q, 0), func(a watcher.Answer) bool { return text(a) == "x" })
	givesUp(t, h.Store, q, a)
}

// givesUp: the end of its context ends a wait for what comes after an answer.
func givesUp(t *testing.T, s watcher.Store, q watcher.Query, a watcher.Answer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		for {
			b, err := s.Fetch(ctx, q, a.Rev)
			if err != nil {
				ended <- err
				return
			}
			a = b
		}
	}()
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v, want the context's error", err)
		}
	case <-time.After(patience):
		t.Fatal("the end of its context did not end the wait")
	}
}

func ids(a watcher.Answer) []string {
	out := []string{}
	list, _ := a.Value.([]*watcher.Instance)
	for _, i := range list {
		out = append(out, i.ID)
	}
	return out
}

func serviceTag(t *testing.T, h Harness) {
	if h.Register == nil {
		noCatalog(t, h)
		return
	}
	h.Register(t, "db", "db-1", "10.0.0.1", 5432, watcher.Passing, "primary")
	h.Register(t, "db", "db-2", "10.0.0.2", 5432, watcher.Passing, "replica")
	h.Register(t, "db", "db-3", "10.0.0.3", 5432, watcher.Critical, "replica")
	for _, c := range []struct {
		options watcher.Options
		want    []string
	}{
		{watcher.Options{}, []string{"db-1", "db-2"}},
		{watcher.Options{Tag: "replica"}, []string{"db-2"}},
		{watcher.Options{Status: "any"}, []string{"db-1", "db-2", "db-3"}},
		{watcher.Options{Status: "critical"}, []string{"db-3"}},
	} {
		q := watcher.Query{Kind: watcher.Service, Path: "db", Options: c.options}
		until(t, h.Store, q, fetch(t, h.Store, q, 0), func(a watcher.Answer) bool { return cmp.Equal(ids(a), c.want) })
	}
	q := watcher.Query{Kind: watcher.Service, Path: "db", Options: watcher.Options{Tag: "primary"}}
	a := until(t, h.Store, q, fetch(t, h.Store, q, 0), func(a watcher.Answer) bool { return len(ids(a)) == 1 })
	i := a.Value.([]*watcher.Instance)[0]
	if i.Address != "10.0.0.1" || i.Port != 5432 || i.Name != "db" || i.Status != watcher.Passing {
		t.Errorf("instance is %+v", i)
	}
}

// noCatalog: what a store can't know is no empty answer.
func noCatalog(t *testing.T, h Harness) {
	for _, kind := range []watcher.Kind{watcher.Service, watcher.Services, watcher.Node, watcher.Nodes, watcher.Datacenters} {
		if a, err := h.Store.Fetch(t.Context(), watcher.Query{Kind: kind, Path: "db"}, 0); err == nil {
			t.Errorf("a store without a catalog answers a query for %s: %+v", kind, a)
		}
	}
}

func serviceEmpty(t *testing.T, h Harness) {
	if h.Register == nil {
		noCatalog(t, h)
		return
	}
	a := fetch(t, h.Store, watcher.Query{Kind: watcher.Service, Path: "nobody"}, 0)
	if list, ok := a.Value.([]*watcher.Instance); a.Presence != watcher.Present || !ok || len(list) != 0 {
		t.Errorf("a service without instances is %v with %v, want present with none", a.Presence, a.Value)
	}
}

func unknownKind(t *testing.T, h Harness) {
	if _, err := h.Store.Fetch(t.Context(), watcher.Query{Kind: "weather"}, 0); err == nil {
		t.Error("a kind that the store does not know gave no error")
	}
}
