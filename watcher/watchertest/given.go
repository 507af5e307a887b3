package watchertest

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/watcher"
)

// Given is a store under test that tells of something else in the shape of keys: nobody
// can put one.
type Given struct {
	Store  watcher.Store
	Folder string // a prefix with keys below it, ending at a slash
	Key    string // one of them, present
	Moving bool   // the value of Key moves by itself, as a position does

	// Turn changes what Key holds; the function that it returns tells the value that it
	// has then.
	Turn func(t testing.TB) func(is string) bool
}

// RunGiven runs what of the contract such a store can pass: all but what it takes to put
// a key for.
func RunGiven(t *testing.T, open func(t *testing.T) Given) {
	for name, test := range map[string]func(*testing.T, Given){
		"absent key is an answer":    givenAbsent,
		"waits for a change":         givenWaits,
		"prefix is sorted and whole": givenPrefix,
		"gives up when its ctx ends": givenCancelled,
		"has no catalog":             func(t *testing.T, g Given) { noCatalog(t, Harness{Store: g.Store}) },
		"unknown kind is an error":   func(t *testing.T, g Given) { unknownKind(t, Harness{Store: g.Store}) },
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func givenAbsent(t *testing.T, g Given) {
	a := fetch(t, g.Store, watcher.Query{Kind: watcher.Key, Path: g.Key + "-not"}, 0)
	if a.Presence != watcher.Absent || a.Value != nil {
		t.Errorf("an absent key is %v with value %v, want absent without one", a.Presence, a.Value)
	}
}

func givenWaits(t *testing.T, g Given) {
	q := watcher.Query{Kind: watcher.Key, Path: g.Key}
	a := fetch(t, g.Store, q, 0)
	for range 2 {
		is := g.Turn(t)
		a = until(t, g.Store, q, a, func(a watcher.Answer) bool { return a.Presence == watcher.Present && is(text(a)) })
	}
}

func givenPrefix(t *testing.T, g Given) {
	a := fetch(t, g.Store, watcher.Query{Kind: watcher.Prefix, Path: g.Folder}, 0)
	pairs, ok := a.Value.([]watcher.Pair)
	if a.Presence != watcher.Present || !ok || len(pairs) == 0 {
		t.Fatalf("the folder is %v with %v", a.Presence, a.Value)
	}
	if !slices.IsSortedFunc(pairs, func(a, b watcher.Pair) int { return strings.Compare(a.Path, b.Path) }) {
		t.Errorf("it is not sorted: %v", pairs)
	}
	for _, p := range pairs {
		if p.Path != g.Folder+p.Key {
			t.Errorf("%q is %q below %q", p.Path, p.Key, g.Folder)
		}
		one := fetch(t, g.Store, watcher.Query{Kind: watcher.Key, Path: p.Path}, 0)
		if have, ok := one.Value.(watcher.Pair); !ok || have.Path != p.Path || have.Key != p.Path {
			t.Errorf("%s by itself is %+v", p.Path, one)
		}
	}
	if !slices.ContainsFunc(pairs, func(p watcher.Pair) bool { return p.Path == g.Key }) {
		t.Errorf("%s is not in %v", g.Key, pairs)
	}
}

func givenCancelled(t *testing.T, g Given) {
	q := watcher.Query{Kind: watcher.Key, Path: g.Key}
	givesUp(t, g.Store, q, fetch(t, g.Store, q, 0))
}
