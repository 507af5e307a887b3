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
	for name, test := range map[string]func(*testing.T, *reader, Harness, Faults){
		"away": func(t *testing.T, r *reader, h Harness, f Faults) { away(t, r, h, f.Away) },
		"mute": func(t *testing.T, r *reader, h Harness, f Faults) { away(t, r, h, f.Mute) },
		"slow": func(t *testing.T, r *reader, h Harness, f Faults) {
			back := f.Slow(t)
			h.Put(t, leader, "two")
			r.await(t, "two")
			back()
			h.Put(t, leader, "three")
			r.await(t, "three")
		},
		"connections are cut": func(t *testing.T, r *reader, h Harness, f Faults) {
			for _, value := range []string{"two", "three"} {
				f.Cut(t)
				h.Put(t, leader, value)
				r.await(t, value)
			}
		},
		"back with older data": func(t *testing.T, r *reader, h Harness, f Faults) {
			again := f.Older(t)
			for i := range 5 {
				h.Put(t, folder+"other", fmt.Sprint(i))
			}
			h.Put(t, leader, "two")
			r.await(t, "two")
			again()
			r.await(t, "one")
			h.Put(t, leader, "three")
			r.await(t, "three")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, f := open(t)
			has := map[string]bool{
				"away": f.Away != nil, "mute": f.Mute != nil, "slow": f.Slow != nil, "connections are cut": f.Cut != nil, "back with older data": f.Older != nil,
			}
			if !has[name] {
				return
			}
			h.Put(t, leader, "one")
			r := read(t, h.Store)
			r.await(t, "one")
			test(t, r, h, f)
		})
	}
}

const (
	folder = "faults/"
	leader = folder + "leader"
)

// away breaks the store, changes what it holds, and mends it.
func away(t *testing.T, r *reader, h Harness, fault func(testing.TB) func()) {
	t.Helper()
	for _, value := range []string{"two", "three"} {
		before, _ := r.both()
		back := fault(t)
		r.until(t, "it says that the store can't be asked", func(key, folder watcher.Answer) error {
			if key.Err == nil || folder.Err == nil {
				return fmt.Errorf("there is no error for both: %w", errors.Join(key.Err, folder.Err))
			}
			if key.Presence != watcher.Present || text(key) != text(before) {
				return fmt.Errorf("it is %v %q", key.Presence, text(key))
			}
			return nil
		})
		back()
		h.Put(t, leader, value)
		r.await(t, value)
		r.until(t, "the store answers again", func(key, folder watcher.Answer) error { return errors.Join(key.Err, folder.Err) })
	}
}

// reader follows a key, and the folder that it is in, as everything of pgbaton does.
type reader struct {
	sub         *watcher.Subscription
	key, folder watcher.Query
}

func read(t *testing.T, s watcher.Store) *reader {
	t.Helper()
	w := watcher.New(map[string]watcher.Store{watcher.Catalog: s}, hclog.NewNullLogger())
	r := &reader{sub: w.Subscribe(), key: watcher.Query{Kind: watcher.Key, Path: leader}, folder: watcher.Query{Kind: watcher.Prefix, Path: folder}}
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

// await waits until both say that the leader is value.
func (r *reader) await(t *testing.T, value string) {
	t.Helper()
	r.until(t, "the leader is "+value, func(key, folder watcher.Answer) error {
		if text(key) != value {
			return fmt.Errorf("the key is %v %q, error %w", key.Presence, text(key), key.Err)
		}
		pairs, _ := folder.Value.([]watcher.Pair)
		for _, p := range pairs {
			if p.Key == "leader" && p.Value == value {
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
