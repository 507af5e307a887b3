package baton

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// shelf is a store that holds what the test put there.
type shelf struct {
	mu      sync.Mutex
	pairs   []watcher.Pair
	rev     uint64
	err     error
	changed chan struct{}
	asked   watcher.Query
}

func (s *shelf) Fetch(ctx context.Context, q watcher.Query, after uint64) (watcher.Answer, error) {
	for {
		s.mu.Lock()
		pairs, rev, err, changed := s.pairs, s.rev, s.err, s.changed
		s.asked = q
		s.mu.Unlock()
		if err != nil || rev != after {
			return watcher.Answer{Presence: watcher.Present, Value: pairs, Rev: rev}, err
		}
		select {
		case <-ctx.Done():
			return watcher.Answer{}, ctx.Err()
		case <-changed:
		}
	}
}

func (s *shelf) set(err error, pairs ...watcher.Pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pairs, s.err = pairs, err
	s.rev++
	if s.changed != nil {
		close(s.changed)
	}
	s.changed = make(chan struct{})
}

func led(leader, location string) []watcher.Pair {
	return []watcher.Pair{
		{Path: "service/batman/leader", Value: leader, CreateIndex: 7},
		{Path: "service/batman/members/pg1", Value: `{"conn_url":"postgres://a:1/x","role":"primary","state":"running","xlog_location":` + location + `}`},
		{Path: "service/batman/members/pg2", Value: `{"conn_url":"postgres://b:1/x","role":"replica","state":"running","xlog_location":` + location + `}`},
	}
}

func source(scope string) cluster.Source {
	s, err := (&cluster.Patroni{Scope: scope}).Source(cluster.Place{Name: "main"})
	if err != nil {
		panic(err)
	}
	return s
}

var (
	query      = watcher.Query{Store: watcher.Clusters, Kind: watcher.Cluster, Path: "main"}
	definition = Definition{Name: "main", Source: source("batman")}
)

// start runs a tracker over keys until the test ends, and returns a reader of
// its one cluster. It is meant for a bubble of virtual time.
func start(t *testing.T, keys *shelf, d Definition, memory state.Folder, log hclog.Logger, old *Tracker) (*Tracker, func() watcher.Answer) {
	t.Helper()
	tr, err := New([]Definition{d}, memory, log)
	if err != nil {
		t.Fatal(err)
	}
	if old != nil {
		tr.Inherit(old)
	}
	w := watcher.New(map[string]watcher.Store{watcher.Catalog: keys, watcher.Clusters: tr}, hclog.NewNullLogger())
	sub := w.Subscribe()
	sub.Want(map[watcher.Query]struct{}{query: {}})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	running.Go(func() { _ = tr.Run(ctx, w.Subscribe) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return tr, func() watcher.Answer {
		synctest.Wait()
		return sub.Snapshot()[query]
	}
}

func batonOf(a watcher.Answer) cluster.Baton {
	b, _ := a.Value.(cluster.Baton)
	return b
}

func TestTracker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		keys := &shelf{}
		keys.set(nil, led("pg1", "100")...)
		tr, read := start(t, keys, definition, state.Folder{}, hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Info}), nil)
		if b := batonOf(read()); b.Term.Leader != "pg1" || b.Seen.Name != "main" || b.Phase != cluster.Steady {
			t.Fatalf("baton %+v", b)
		}
		if want := (watcher.Query{Kind: watcher.Prefix, Path: "service/batman/"}); keys.asked != want {
			t.Errorf("it asked for %v, want %v", keys.asked, want)
		}
		if s := log.String(); !strings.Contains(s, "leader confirmed: cluster=main leader=pg1 address=a:1") {
			t.Errorf("the log has no leader:\n%s", s)
		}
		log.Reset()
		change := read().Change
		keys.set(nil, led("pg1", "200")...)
		if a := read(); a.Change != change || log.Len() > 0 || batonOf(a).Seen.Members[0].LSN != 200 {
			t.Errorf("a heartbeat: %+v, log %q", a, log.String())
		}
		keys.set(errors.New("away"), led("pg1", "200")...)
		if a := read(); a.Err == nil || !strings.Contains(a.Err.Error(), "away") || batonOf(a).Term.Leader != "pg1" {
			t.Errorf("a store that is away: %+v", a)
		}
		keys.set(nil, led("pg1", "200")[1:]...) // the leader key is gone
		if _, err := tr.Fetch(t.Context(), watcher.Query{Path: "nobody"}, 0); err == nil {
			t.Error("a cluster that is not defined gave an answer")
		}
	})
}

// TestLeaderless waits out the pause after a failure.
func TestLeaderless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := &shelf{}
		keys.set(nil, led("pg1", "100")...)
		_, read := start(t, keys, definition, state.Folder{}, hclog.NewNullLogger(), nil)
		read()
		keys.set(nil, led("pg1", "100")[1:]...)
		if b := batonOf(read()); b.Phase != cluster.Leaderless || b.View().Leader.Name != "pg1" || !b.Hold() {
			t.Errorf("without a leader key: %+v", b)
		}
	})
}

// TestInherit: a config that is read again, and a process that is started again,
// know who led, if it is the same cluster.
func TestInherit(t *testing.T) {
	other := definition
	other.Source = source("robin")
	for want, d := range map[string]Definition{"pg1": definition, "": other} {
		synctest.Test(t, func(t *testing.T) {
			keys := &shelf{}
			keys.set(nil, led("pg1", "100")...)
			memory := state.Folder{Dir: filepath.Join(t.TempDir(), "state")}
			old, read := start(t, keys, definition, memory, hclog.NewNullLogger(), nil)
			read()
			keys.set(nil, led("pg1", "100")[1:]...) // the leader key goes
			read()
			_, again := start(t, keys, d, state.Folder{}, hclog.NewNullLogger(), old)
			if b := batonOf(again()); b.Term.Leader != want {
				t.Errorf("read again, scope %s: leader %q, want %q", d.Source.Scope(), b.Term.Leader, want)
			}
			_, restarted := start(t, keys, d, memory, hclog.NewNullLogger(), nil)
			if b := batonOf(restarted()); b.Term.Leader != want || b.Confirmed != nil {
				t.Errorf("started again, scope %s: leader %q, want %q, confirmed by nobody yet", d.Source.Scope(), b.Term.Leader, want)
			} else if want != "" && (b.Before == nil || b.Before.Name != want || b.Before.Port == 0) {
				t.Errorf("started again: who led before is %+v", b.Before)
			}
		})
	}
}

// TestForgets: a memory that can't be read is as good as none.
func TestForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "cluster.main.json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		keys := &shelf{}
		keys.set(nil, led("pg1", "100")...)
		_, read := start(t, keys, definition, state.Folder{Dir: dir}, hclog.New(&hclog.LoggerOptions{Output: &log}), nil)
		if b := batonOf(read()); b.Term.Leader != "pg1" || !strings.Contains(log.String(), "who led before is forgotten") {
			t.Errorf("leader %q, log %q", b.Term.Leader, log.String())
		}
	})
}

// TestTimersLookAtTheClock: a clock that is set moves no timer, and a switchover is
// scheduled by the clock.
func TestTimersLookAtTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		<-after(begun.Add(24 * time.Hour))
		if waited := time.Since(begun); waited > lookAtClock {
			t.Errorf("the hour of a switchover is looked at after %v", waited)
		}
	})
}
