// Package poll makes answers that can be waited for out of a place that can only be
// asked.
package poll

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// Outcome is what one round of asking came to.
type Outcome[T any] struct {
	Value    T
	Restless bool // something is under way: it is worth asking again soon
}

// Poller asks a place again and again, as long as anybody waits for its answer. All
// who wait share what is asked: one of them asks, and another goes on when that one
// leaves.
type Poller[T any] struct {
	interval time.Duration
	ask      func(context.Context) (Outcome[T], error)
	same     func(a, b T) bool
	turn     chan struct{} // whoever is in it asks

	mu       sync.Mutex
	value    T
	rev      uint64    // of value; 0 is none yet
	err      error     // why value can't be confirmed; nil if it can
	rounds   int       // how many came to an end
	begun    time.Time // when the newest round began
	ended    time.Time // and when it ended
	failing  time.Time // since when it has been failing; zero if it isn't
	restless time.Time // since when it has been restless; zero if it isn't
	changed  chan struct{}
}

const (
	// soon is the pause between two rounds while something is under way.
	soon = 250 * time.Millisecond
	// tolerance is how long it may fail before that is an error for whoever waits for
	// a change: members that speak of a switchover a moment apart contradict each other.
	tolerance = 2 * time.Second
	// settle is how long restlessness is believed. What has not come to rest by then may
	// stay as it is for hours.
	settle = time.Minute
)

// Interval reads how long is between two rounds, as a store's block has it; "" is a second.
func Interval(store, text string, shortest, longest time.Duration) (time.Duration, error) {
	if text == "" {
		return time.Second, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < shortest || d > longest {
		return 0, hint.Wrap(fmt.Errorf("%s: interval %q is no time from %v to %v", store, text, shortest, longest), `write it as "1s"`)
	}
	return d, nil
}

// New returns a poller that has asked nothing yet. ask is never called twice at the
// same time. same says whether two values are one revision.
func New[T any](interval time.Duration, ask func(context.Context) (Outcome[T], error), same func(a, b T) bool) *Poller[T] {
	return &Poller[T]{interval: interval, ask: ask, same: same, turn: make(chan struct{}, 1), changed: make(chan struct{})}
}

// Next returns what is there: at once if after is 0, else when its revision is
// another.
func (p *Poller[T]) Next(ctx context.Context, after uint64) (T, uint64, error) {
	arrived := time.Now()
	p.mu.Lock()
	before := p.rounds
	p.mu.Unlock()
	for {
		p.mu.Lock()
		value, rev, err, changed := p.value, p.rev, p.err, p.changed
		var answers bool
		switch {
		case after == 0 && err != nil:
			answers = p.rounds != before // it is asked anew
		case after == 0:
			answers = rev != 0 && arrived.Sub(p.ended) < 2*p.interval+time.Second
		case err != nil:
			answers = p.ended.Sub(p.failing) >= tolerance
		default:
			answers = rev != 0 && rev != after
		}
		p.mu.Unlock()
		if answers && err != nil {
			var none T
			return none, 0, err
		}
		if answers {
			return value, rev, nil
		}
		select {
		case <-ctx.Done():
			var none T
			return none, 0, context.Cause(ctx)
		case <-changed:
		case p.turn <- struct{}{}:
			p.round(ctx, after == 0)
			<-p.turn
		}
	}
}

// round asks once it is time, or now.
func (p *Poller[T]) round(ctx context.Context, now bool) {
	if !now {
		timer := time.NewTimer(time.Until(p.due()))
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
	begun := time.Now()
	outcome, err := p.ask(ctx)
	if ctx.Err() != nil {
		return // it was broken off: that is no answer
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun, p.ended, p.err = begun, time.Now(), err
	p.rounds++
	switch {
	case err == nil:
		if p.rev == 0 || !p.same(p.value, outcome.Value) {
			p.rev++
		}
		p.value, p.failing = outcome.Value, time.Time{}
	case p.failing.IsZero():
		p.failing = begun
	}
	switch {
	case err == nil && !outcome.Restless:
		p.restless = time.Time{}
	case p.restless.IsZero():
		p.restless = begun
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// due is when the next round begins.
func (p *Poller[T]) due() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	pause := p.interval
	if !p.restless.IsZero() && p.ended.Sub(p.restless) < settle {
		pause = min(pause, soon)
	}
	// A fifth more or less: many ask the same place. One that takes long to answer is
	// not asked without a pause.
	next := p.begun.Add(pause - pause/5 + rand.N(pause*2/5))
	if rest := p.ended.Add(pause / 4); next.Before(rest) {
		return rest
	}
	return next
}
