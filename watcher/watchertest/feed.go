package watchertest

import (
	"context"
	"testing"

	"github.com/pgbaton/pgbaton/watcher"
)

// Feed opens a feed of a store until the test ends.
func Feed(t testing.TB, s watcher.Store, q watcher.Query) watcher.Feed {
	t.Helper()
	f, err := s.(watcher.Feeder).Open(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// Next is the next answer of a feed.
func Next(t testing.TB, f watcher.Feed) watcher.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := f.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
