package watchertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/watcher"
)

// Faults are ways to break the store of a Harness for real. A nil one can't happen to
// it. While it is broken, Put still reaches it, unless its server is away.
type Faults struct {
	Away  func(t testing.TB) (back func())  // connections end, and new ones are refused
	Mute  func(t testing.TB) (back func())  // whatever is asked, nothing comes
	Slow  func(t testing.TB) (back func())  // what comes takes its time
	Cut   func(t testing.TB)                // connections end, and new ones are served
	Older func(t testing.TB) (again func()) // keeps what is there, and brings that back
}

// RunFaults runs the part of the contract that speaks of faults: what was said last
// stays, an error says why it can't be confirmed, and a store that is back is believed,
// whatever its revisions are then.
func RunFaults(t *testing.T, open func(t *testing.T) (Harness, Faults)) {
	runFaults(t, func(t *testing.T) (subject, Faults) {
		h, f := open(t)
		h.Put(t, leader, "zero")
		return subject{Given: Given{Store: h.Store, Folder: folder, Key: leader}, turn: func(t testing.TB, value string) func(string) bool {
			t.Helper()
			h.Put(t, leader, value)
			return func(is string) bool { return is == value }
		}, other: func(t testing.TB, value string) { t.Helper(); h.Put(t, folder+"other", value) }}, f
	})
}

// RunGivenFaults is RunFaults for a store whose keys nobody can put.
func RunGivenFaults(t *testing.T, open func(t *testing.T) (Given, Faults)) {
	runFaults(t, func(t *testing.T) (subject, Faults) {
		g, f := open(t)
		return subject{Given: g, turn: func(t testing.TB, _ string) func(string) bool { t.Helper(); return g.Turn(t) }}, f
	})
}

// subject is a store under test, with a key that can be turned to another value.
type subject struct {
	Given
	turn  func(t testing.TB, value string) func(is string) bool // tells the value that it has then
	other func(t testing.TB, value string)                      // another key in the same folder
}

func runFaults(t *testing.T, open func(t *testing.T) (subject, Faults)) {
	for name, test := range map[string]func(*testing.T, *reader, subject, Faults){
		"away": func(t *testing.T, r *reader, s subject, f Faults) { away(t, r, s, f.Away) },
		"mute": func(t *testing.T, r *reader, s subject, f Faults) { away(t, r, s, f.Mute) },
		"slow": func(t *testing.T, r *reader, s subject, f Faults) {
			back := f.Slow(t)
			r.await(t, "two", s.turn(t, "two"))
			back()
			r.await(t, "three", s.turn(t, "three"))
		},
		"connections are cut": func(t *testing.T, r *reader, s subject, f Faults) {
			for _, value := range []string{"two", "three"} {
				f.Cut(t)
				r.await(t, value, s.turn(t, value))
			}
		},
		"back with older data": func(t *testing.T, r *reader, s subject, f Faults) {
			one := s.turn(t, "one")
			r.await(t, "one", one)
			again := f.Older(t)
			for i := range 5 {
				s.other(t, fmt.Sprint(i))
			}
			r.await(t, "two", s.turn(t, "two"))
			again()
			r.await(t, "one", one)
			r.await(t, "three", s.turn(t, "three"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, f := open(t)
			has := map[string]bool{
				"away": f.Away != nil, "mute": f.Mute != nil, "slow": f.Slow != nil, "connections are cut": f.Cut != nil, "back with older data": f.Older != nil,
			}
			if !has[name] {
				return
			}
			r := read(t, s.Given)
			r.await(t, "one", s.turn(t, "one"))
			test(t, r, s, f)
		})
	}
}

const (
	folder = "faults/"
	leader = folder + "leader"
)

// away breaks the store, and mends it, and changes what it holds.
func away(t *testing.T, r *reader, s subject, fault func(testing.TB) func()) {
	t.Helper()
	for _, value := range []string{"two", "three"} {
		before, _ := r.both()
		back := fault(t)
		r.until(t, "it says that the store can't be asked", func(key, folder watcher.Answer) error {
			if key.Err == nil || folder.Err == nil {
				return fmt.Errorf("there is no error for both: %w", errors.Join(key.Err, folder.Err))
			}
			if key.Presence != watcher.Present || text(key) != text(before) && !s.Moving {
				return fmt.Errorf("it is %v %q", key.Presence, text(key))
			}
			return nil
		})
		back()
		r.await(t, value, s.turn(t, value))
		r.until(t, "the store answers again", func(key, folder watcher.Answer) error { return errors.Join(key.Err, folder.Err) })
	}
}

// reader follows a key, and the folder that it is in, as everything of pgbaton does.
type reader struct {
	sub         *watcher.Subscription
	key, folder watcher.Query
}

func read(t *testing.T, g Given) *reader {
	t.Helper()
	w := watcher.New(map[string]watcher.Store{watcher.Catalog: g.Store}, hclog.NewNullLogger())
	r := &reader{sub: w.Subscribe(), key: watcher.Query{Kind: watcher.Key, Path: g.Key}, folder: watcher.Query{Kind: watcher.Prefix, Path: g.Folder}}
	r.sub.Want(map[watcher.Query]struct{}{r.key: {}, r.folder: {}})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return r
}

func (r *reader) both() (key, folder watcher.Answer) {
	snapshot := r.sub.Snapshot()
	return snapshot[r.key], snapshot[r.folder]
}

// await waits until both have the value.
func (r *reader) await(t *testing.T, what string, value func(string) bool) {
	t.Helper()
	r.until(t, "the value is "+what, func(key, folder watcher.Answer) error {
		if key.Presence != watcher.Present || !value(text(key)) {
			return fmt.Errorf("the key is %v %q, error %w", key.Presence, text(key), key.Err)
		}
		pairs, _ := folder.Value.([]watcher.Pair)
		for _, p := range pairs {
			if p.Path == r.key.Path && value(p.Value) {
				return nil
			}
		}
		return fmt.Errorf("the folder has %+v, error %w", pairs, folder.Err)
	})
}

func (r *reader) until(t *testing.T, what string, cond func(key, folder watcher.Answer) error) {
	t.Helper()
	deadline := time.NewTimer(2 * patience)
	defer deadline.Stop()
	for {
		err := cond(r.both())
		if err == nil {
			return
		}
		select {
		case <-r.sub.Changed():
		case <-time.After(100 * time.Millisecond):
		case <-deadline.C:
			t.Fatalf("%s: not within %v: %v", what, 2*patience, err)
		}
	}
}
