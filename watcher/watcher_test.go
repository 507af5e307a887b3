package watcher

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// script is a store that answers each fetch as the test says.
type script struct {
	answers chan func() (Answer, error)
	fetches chan uint64 // the after of each fetch
}

func newScript() *script {
	return &script{make(chan func() (Answer, error)), make(chan uint64, 1000)}
}

func (s *script) Fetch(ctx context.Context, _ Query, after uint64) (Answer, error) {
	s.fetches <- after
	select {
	case a := <-s.answers:
		return a()
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

func (s *script) say(value string, rev uint64) {
	s.answers <- func() (Answer, error) { return Answer{Presence: Present, Value: value, Rev: rev}, nil }
}

func (s *script) fail() {
	s.answers <- func() (Answer, error) { return Answer{}, errors.New("away") }
}

var testQuery = Query{Kind: Key, Path: "k"}

// watched runs a watcher over a script for the length of a test.
func watched(t *testing.T, test func(s *script, w *Watcher, sub *Subscription)) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		w := New(map[string]Store{Catalog: s}, hclog.NewNullLogger())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		sub := w.Subscribe()
		sub.Want(map[Query]struct{}{testQuery: {}})
		test(s, w, sub)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func poked(s *Subscription) bool {
	synctest.Wait()
	select {
	case <-s.Changed():
		return true
	default:
		return false
	}
}

func TestUnknownUntilTheFirstAnswer(t *testing.T) {
	watched(t, func(s *script, _ *Watcher, sub *Subscription) {
		if a := sub.Snapshot()[testQuery]; a.Presence != Unknown {
			t.Errorf("before any answer it is %v", a.Presence)
		}
		s.fail()
		if !poked(sub) {
			t.Error("the first failure was not told")
		}
		if a := sub.Snapshot()[testQuery]; a.Presence != Unknown || a.Err == nil {
			t.Errorf("after a failure it is %+v: an error must not become a value", a)
		}
	})
}

func TestFailureKeepsTheLastAnswerAndIsRetriedSoon(t *testing.T) {
	watched(t, func(s *script, _ *Watcher, sub *Subscription) {
		s.say("one", 7)
		poked(sub)
		confirmed := sub.Snapshot()[testQuery].Fresh
		away := time.Now()
		for range 20 { // the backoff is long past its cap
			s.fail()
		}
		begun := time.Now()
		s.say("two", 3) // a restored store: its revisions went back
		if waited := time.Since(begun); waited > MaxBackoff {
			t.Errorf("the store came back and was asked %v later", waited)
		}
		if time.Since(away) < 15*time.Second {
			t.Errorf("20 failures took %v: too eager", time.Since(away))
		}
		synctest.Wait()
		a := sub.Snapshot()[testQuery]
		if a.Value != "two" || a.Err != nil || !a.Fresh.After(confirmed) {
			t.Errorf("after its return it is %+v", a)
		}
		// fetch 0, fetch 7, then 20 from the start, then it goes on from 3.
		var last uint64
		for len(s.fetches) > 0 {
			last = <-s.fetches
		}
		if last != 3 {
			t.Errorf("it goes on from revision %d, want 3", last)
		}
	})
}

func TestUnchangedValueIsNoChange(t *testing.T) {
	watched(t, func(s *script, _ *Watcher, sub *Subscription) {
		s.say("one", 1)
		if !poked(sub) {
			t.Error("the first answer was not told")
		}
		change := sub.Snapshot()[testQuery].Change
		s.say("one", 2)
		if poked(sub) {
			t.Error("a new revision of the same value was told")
		}
		if a := sub.Snapshot()[testQuery]; a.Change != change || a.Rev != 2 {
			t.Errorf("the same value is %+v", a)
		}
		s.say("two", 3)
		if !poked(sub) || sub.Snapshot()[testQuery].Change == change {
			t.Error("a new value was not told")
		}
	})
}

func TestStoreThatDoesNotWaitIsNotHammered(t *testing.T) {
	watched(t, func(s *script, _ *Watcher, _ *Subscription) {
		begun := time.Now()
		for range 20 {
			s.say("same", 5)
		}
		if took := time.Since(begun); took < 5*time.Second { // every other one is asked for afresh, at once
			t.Errorf("20 answers that did not wait took %v", took)
		}
	})
}

func TestOlderRevisionIsAskedForAfresh(t *testing.T) {
	watched(t, func(s *script, _ *Watcher, sub *Subscription) {
		s.say("two", 10)
		poked(sub)
		s.say("one", 5)
		if poked(sub) || sub.Snapshot()[testQuery].Value != "two" {
			t.Errorf("an answer of an older revision was believed: %+v", sub.Snapshot()[testQuery])
		}
		s.say("three", 11) // it was a stale one
		if !poked(sub) || sub.Snapshot()[testQuery].Value != "three" {
			t.Errorf("after a stale answer it is %+v", sub.Snapshot()[testQuery])
		}
		s.say("one", 5)
		s.say("one", 5) // it is said to whoever asks afresh: the store was restored
		if !poked(sub) || sub.Snapshot()[testQuery].Value != "one" {
			t.Errorf("after a restore it is %+v", sub.Snapshot()[testQuery])
		}
		var asked []uint64
		for len(s.fetches) > 0 {
			asked = append(asked, <-s.fetches)
		}
		if want := []uint64{0, 10, 0, 11, 0, 5}; !slices.Equal(asked, want) {
			t.Errorf("it asked after %v, want %v", asked, want)
		}
	})
}

func TestStoreWhoseRevisionsSwingIsNotHammered(t *testing.T) {
	watched(t, func(s *script, _ *Watcher, _ *Subscription) {
		begun := time.Now()
		for range 10 {
			s.say("same", 10)
			s.say("other", 5)
		}
		if took := time.Since(begun); took < 5*time.Second {
			t.Errorf("20 answers that did not wait took %v", took)
		}
	})
}

func TestSubscriptionsShareAWatchAndLetItGo(t *testing.T) {
	watched(t, func(s *script, w *Watcher, sub *Subscription) {
		s.say("one", 1)
		poked(sub)
		other := w.Subscribe()
		snap := other.Want(map[Query]struct{}{testQuery: {}})
		if snap[testQuery].Value != "one" {
			t.Errorf("a second subscription sees %+v at first", snap[testQuery])
		}
		if n := len(s.fetches); n != 2 {
			t.Errorf("%d fetches for two subscriptions, want 2: one answered, one waiting", n)
		}
		sub.Close()
		s.say("two", 2)
		if poked(sub) || !poked(other) {
			t.Error("a closed subscription was told, or the open one was not")
		}
		other.Close()
		synctest.Wait()
		if len(w.watches) != 0 {
			t.Errorf("%d watches stay though nobody wants them", len(w.watches))
		}
	})
}

func TestUnknownStoreIsAnError(t *testing.T) {
	watched(t, func(_ *script, w *Watcher, _ *Subscription) {
		q := Query{Store: "nowhere", Kind: Key, Path: "k"}
		sub := w.Subscribe()
		if a := sub.Want(map[Query]struct{}{q: {}})[q]; a.Err == nil {
			t.Error("a store that does not exist gave no error")
		}
		sub.Close()
	})
}

func TestAggregatedStatus(t *testing.T) {
	for _, c := range []struct {
		checks Checks
		want   string
	}{
		{nil, Passing},
		{Checks{{Status: Passing}, {Status: Warning}}, Warning},
		{Checks{{Status: Critical}, {Status: Warning}}, Critical},
		{Checks{{Status: "strange"}}, Critical},
		{Checks{{Status: Critical, CheckID: "_node_maintenance"}}, Maintenance},
		{Checks{{Status: Critical, CheckID: "_service_maintenance:web"}, {Status: Critical}}, Maintenance},
	} {
		if have := c.checks.AggregatedStatus(); have != c.want {
			t.Errorf("%+v is %s, want %s", c.checks, have, c.want)
		}
	}
}
