package poll

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// place is a place that is asked.
type place struct {
	mu       sync.Mutex
	value    string
	err      error
	restless bool
	times    int
}

func (p *place) ask(context.Context) (Outcome[string], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.times++
	return Outcome[string]{p.value, p.restless}, p.err
}

// set changes what it answers.
func (p *place) set(value string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.value, p.err = value, err
}

// asked is how often it was asked.
func (p *place) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.times
}

func poller(p *place) *Poller[string] {
	return New(time.Second, p.ask, func(a, b string) bool { return a == b })
}

func TestWaitsForAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := &place{value: "one"}
		p := poller(place)
		value, rev, err := p.Next(t.Context(), 0)
		if value != "one" || rev == 0 || err != nil {
			t.Fatalf("first: %q, %d, %v", value, rev, err)
		}
		came := make(chan string, 2)
		for range 2 {
			go func() {
				value, _, _ := p.Next(t.Context(), rev)
				came <- value
			}()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(came) > 0 || place.asked() < 50 || place.asked() > 80 {
			t.Errorf("in a minute %d answers without a change, asked %d times", len(came), place.asked())
		}
		place.set("two", nil)
		if a, b := <-came, <-came; a != "two" || b != "two" {
			t.Errorf("they were told %q and %q", a, b)
		}
	})
}

func TestAsksSoonWhileSomethingIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := &place{value: "one", restless: true}
		p := poller(place)
		_, rev, _ := p.Next(t.Context(), 0)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, _, err := p.Next(ctx, rev); !errors.Is(err, context.DeadlineExceeded) || place.asked() < 35 || place.asked() > 50 {
			t.Errorf("in ten seconds it asked %d times, error %v", place.asked(), err)
		}
		longer, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		before := place.asked()
		if _, _, err := p.Next(longer, rev); !errors.Is(err, context.DeadlineExceeded) || place.asked()-before > 900 {
			t.Errorf("restless for ten minutes, it asked %d times, error %v", place.asked()-before, err)
		}
	})
}

// TestABriefContradiction is no error for whoever waits, and a lasting one is.
func TestABriefContradiction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := &place{value: "one"}
		p := poller(place)
		_, rev, _ := p.Next(t.Context(), 0)
		place.set("one", errors.New("away"))
		time.AfterFunc(1500*time.Millisecond, func() { place.set("two", nil) })
		value, rev, err := p.Next(t.Context(), rev)
		if value != "two" || err != nil {
			t.Fatalf("after a moment: %q, %v", value, err)
		}
		begun := time.Now()
		place.set("two", errors.New("away"))
		if _, _, err = p.Next(t.Context(), rev); err == nil || time.Since(begun) < tolerance || time.Since(begun) > 2*tolerance {
			t.Errorf("away: %v after %v", err, time.Since(begun))
		}
		begun, asked := time.Now(), place.asked()
		if _, _, err = p.Next(t.Context(), 0); err == nil || time.Since(begun) > 0 || place.asked() != asked+1 {
			t.Errorf("asked anew: %v after %v, asked %d times", err, time.Since(begun), place.asked()-asked)
		}
		place.set("two", nil)
		if value, again, err := p.Next(t.Context(), 0); value != "two" || again != rev || err != nil {
			t.Errorf("back: %q with revision %d (was %d), %v", value, again, rev, err)
		}
	})
}

// TestAnotherGoesOn when the one who asks leaves.
func TestAnotherGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := &place{value: "one"}
		p := poller(place)
		_, rev, _ := p.Next(t.Context(), 0)
		first, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, _, err := p.Next(first, rev)
			left <- err
		}()
		synctest.Wait()
		came := make(chan string, 1)
		go func() {
			value, _, _ := p.Next(t.Context(), rev)
			came <- value
		}()
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("the first left with %v", err)
		}
		place.set("two", nil)
		if value := <-came; value != "two" {
			t.Errorf("the second was told %q", value)
		}
	})
}
