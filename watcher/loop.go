package watcher

import (
	"context"
	"runtime"
	"time"
)

// eager is how soon an unchanged answer may come back before it counts as a
// store that does not wait: one that would make the loop spin.
const eager = 20 * time.Millisecond

// loop keeps asking store for q until ctx ends: the one retry loop of all
// stores. It reports each answer and each failure; report says whether that was
// news. It waits for no change before clear is closed.
//
// After a failure it starts again from revision 0: a store that was away may
// have been restored from a backup, with its revisions gone back, and would
// otherwise wait for the old one to come round.
//
// For the same reason it starts again when a revision went back: and only what is
// said then is reported, for the older answer may as well be a stale one.
func loop(ctx context.Context, store Store, q Query, clear <-chan struct{}, report func(Answer, error) bool) {
	var after uint64
	failures, idle := 0, 0
	ask := asker{store: store, query: q}
	defer ask.close()
	for ctx.Err() == nil {
		begun := time.Now()
		answer, err := ask.fetch(ctx, after)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failures++
			after = 0
			report(Answer{}, err)
			if pause(ctx, backoff(failures)) != nil {
				return
			}
			continue
		}
		failures = 0
		older := answer.Rev < after
		news := !older && report(answer, nil)
		runtime.Gosched() // whoever was told goes first: the next request can wait
		if after == 0 {
			select {
			case <-ctx.Done():
				return
			case <-clear:
			}
		}

		switch {
		case older || answer.Rev == after && !news:
			after = 0
			if time.Since(begun) > eager {
				idle = 0
				break
			}
			if idle++; older && idle == 1 {
				break // a restored store is asked at once
			}
			if pause(ctx, backoff(idle)) != nil {
				return
			}
		default:
			after = answer.Rev
			if news {
				idle = 0
			}
		}
	}
}
