package watcher

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// halves is a store that answers what it has, and else fails, at the test's word.
type halves chan map[string]bool

func (s halves) Fetch(ctx context.Context, q Query, after uint64) (Answer, error) {
	for {
		have := <-s
		s <- have
		good, known := have[q.Path]
		switch {
		case known && !good:
			return Answer{}, errors.New("away")
		case known && after == 0:
			return Answer{Presence: Present, Value: "x", Rev: 1}, nil
		}
		select {
		case <-ctx.Done():
			return Answer{}, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// A store's data is stale since the oldest of what it can't confirm was confirmed.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := make(halves, 1)
		store <- map[string]bool{"a": true, "b": true}
		set := func(have map[string]bool) { <-store; store <- have }
		w := New(map[string]Store{Catalog: store}, hclog.NewNullLogger())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		if all := w.Health(); len(all) != 0 {
			t.Errorf("nothing is wanted: %+v", all)
		}
		sub := w.Subscribe()
		start := time.Now()
		want := map[Query]struct{}{{Kind: Key, Path: "a"}: {}, {Kind: Key, Path: "b"}: {}, {Kind: Key, Path: "silent"}: {}}
		sub.Want(want)
		time.Sleep(time.Minute)
		h := w.Health()[Catalog]
		if h.Watches != 3 || h.Asked != 1 || h.Failing != 0 || h.Err != nil || !h.Confirmed.Equal(start) {
			t.Errorf("all is well: %+v", h)
		}

		set(map[string]bool{"a": true, "b": false, "c": false})
		want[Query{Kind: Key, Path: "c"}] = struct{}{}
		later := time.Now()
		sub.Want(want)
		time.Sleep(time.Minute)
		h = w.Health()[Catalog]
		if h.Watches != 4 || h.Failing != 2 || h.Err == nil || h.Never || h.Query.Path != "b" || !h.Stale.Equal(start) {
			t.Errorf("b was confirmed at %v: %+v", start, h)
		}
		delete(want, Query{Kind: Key, Path: "b"})
		sub.Want(want)
		if h = w.Health()[Catalog]; h.Failing != 1 || !h.Never || h.Query.Path != "c" || !h.Stale.Equal(later) {
			t.Errorf("c was never confirmed, and is wanted since %v: %+v", later, h)
		}
		set(map[string]bool{"a": true, "c": true})
		time.Sleep(time.Minute)
		if h = w.Health()[Catalog]; h.Failing != 0 || h.Err != nil || !h.Stale.IsZero() {
			t.Errorf("it answers again: %+v", h)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
