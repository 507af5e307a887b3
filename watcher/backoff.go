package watcher

import (
	"context"
	"math/rand/v2"
	"time"
)

// MaxBackoff caps the pause between two tries of a store that does not answer:
// work resumes within it once the store is back.
const MaxBackoff = 2 * time.Second

const minBackoff = 100 * time.Millisecond

// backoff is the pause before try n (from 1): doubling, capped, and between
// half and the whole of it by chance, so that a fleet does not return at once.
func backoff(n int) time.Duration {
	d := MaxBackoff
	if n < 6 {
		d = min(d, minBackoff<<(n-1))
	}
	return d/2 + rand.N(d/2)
}

// pause waits for d, or less if ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
