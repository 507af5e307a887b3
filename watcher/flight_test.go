package watcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// narrow is a store of keys that lets few queries wait. It counts how many do.
type narrow struct {
	budget int

	mu      sync.Mutex
	rev     uint64
	values  map[string]string
	denied  map[Query]bool  // may not be read
	hidden  map[string]bool // withheld from whoever reads a prefix
	waiting map[Query]int
	most    int // that waited at the same time
	changed chan struct{}
}

func newNarrow(budget, n int) *narrow {
	s := &narrow{
		budget: budget, rev: 1, values: map[string]string{}, denied: map[Query]bool{}, hidden: map[string]bool{},
		waiting: map[Query]int{}, changed: make(chan struct{}),
	}
	for i := range n {
		s.values[fmt.Sprintf("s/%02d/leader", i)] = "pg1"
	}
	return s
}

func (s *narrow) Budget() int { return s.budget }

// counts says how many wait, and how many did at the same time at most.
func (s *narrow) counts() (waiting, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting), s.most
}

func (s *narrow) put(path, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[path] = value
	s.rev++
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *narrow) Fetch(ctx context.Context, q Query, after uint64) (Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.denied[q] {
		return Answer{}, fmt.Errorf("read %s: %w", q, ErrDenied)
	}
	for s.rev == after {
		changed := s.changed
		s.waiting[q]++
		s.most = max(s.most, len(s.waiting))
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if s.waiting[q]--; s.waiting[q] == 0 {
			delete(s.waiting, q)
		}
		if ctx.Err() != nil {
			return Answer{}, ctx.Err()
		}
	}
	answer := Answer{Rev: s.rev}
	var seen []Pair
	for _, path := range slices.Sorted(maps.Keys(s.values)) {
		if s.hidden[path] {
			answer.Partial = true
			continue
		}
		seen = append(seen, Pair{Path: path, Key: path, Value: s.values[path]})
	}
	answer.Presence, answer.Value = q.part(seen)
	return answer, nil
}

// fleet wants the leaders of n clusters.
func fleet(n int) map[Query]struct{} {
	queries := map[Query]struct{}{}
	for i := range n {
		queries[Query{Kind: Prefix, Path: fmt.Sprintf("s/%02d/", i)}] = struct{}{}
	}
	return queries
}

func leaders(snap Snapshot) (known map[string]int) {
	known = map[string]int{}
	for _, a := range snap {
		if pairs, _ := a.Value.([]Pair); len(pairs) == 1 && a.Err == nil {
			known[pairs[0].Value]++
		}
	}
	return known
}

// limited runs a watcher over a narrow store.
func limited(t *testing.T, s *narrow, test func(sub *Subscription)) {
	synctest.Test(t, func(t *testing.T) {
		s.changed = make(chan struct{}) // of this bubble
		w := New(map[string]Store{Catalog: s}, hclog.NewNullLogger())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		test(w.Subscribe())
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestMoreQueriesThanMayWait(t *testing.T) {
	s := newNarrow(10, 40)
	limited(t, s, func(sub *Subscription) {
		sub.Want(fleet(40))
		synctest.Wait()
		if known := leaders(sub.Snapshot()); known["pg1"] != 40 {
			t.Errorf("at once %v are known, want 40", known)
		}
		if waiting, _ := s.counts(); waiting > 0 {
			t.Errorf("%d wait before all that is wanted is known to be", waiting)
		}
		time.Sleep(settleAfter)
		synctest.Wait()
		if waiting, most := s.counts(); waiting == 0 || most > 10 {
			t.Errorf("%d wait, at most %d did, want 10 at most", waiting, most)
		}
		for i := range 40 {
			s.put(fmt.Sprintf("s/%02d/leader", i), "pg2")
			synctest.Wait()
			if known := leaders(sub.Snapshot()); known["pg2"] != i+1 || known["pg1"] != 39-i {
				t.Fatalf("after %d changes it is %v", i+1, known)
			}
		}
	})
}

func TestQueriesComeAndGo(t *testing.T) {
	s := newNarrow(10, 40)
	limited(t, s, func(sub *Subscription) {
		for _, n := range []int{5, 40, 12, 3, 40, 0, 11} {
			sub.Want(fleet(n))
			value := fmt.Sprint("with ", n)
			for i := range n {
				s.put(fmt.Sprintf("s/%02d/leader", i), value) // while the plan is made
			}
			time.Sleep(settleWithin)
			synctest.Wait()
			if known := leaders(sub.Snapshot()); known[value] != n {
				t.Errorf("of %d it is %v", n, known)
			}
			if waiting, _ := s.counts(); waiting > 10 || (waiting == 0) != (n == 0) {
				t.Errorf("of %d, %d wait", n, waiting)
			}
		}
	})
}

// TestWhatMayNotBeReadAsAWhole: rights for each cluster alone, and none for what
// is wider.
func TestWhatMayNotBeReadAsAWhole(t *testing.T) {
	s := newNarrow(4, 12)
	for _, path := range []string{"s/", "s/0", "s/1"} {
		s.denied[Query{Kind: Prefix, Path: path}] = true
	}
	limited(t, s, func(sub *Subscription) {
		sub.Want(fleet(12))
		time.Sleep(10 * settleWithin)
		for i := range 12 {
			s.put(fmt.Sprintf("s/%02d/leader", i), "pg2")
		}
		time.Sleep(2 * turn)
		synctest.Wait()
		if known := leaders(sub.Snapshot()); known["pg2"] != 12 {
			t.Errorf("it is %v, want all 12 followed", known)
		}
		if _, most := s.counts(); most > 4 {
			t.Errorf("%d waited, want 4 at most", most)
		}

		// The rights come back: nobody has to be asked in turn any more.
		s.mu.Lock()
		clear(s.denied)
		s.mu.Unlock()
		time.Sleep(reuniteAfter + settleWithin)
		synctest.Wait()
		for i := range 12 {
			s.put(fmt.Sprintf("s/%02d/leader", i), "pg3")
			synctest.Wait()
		}
		if known := leaders(sub.Snapshot()); known["pg3"] != 12 {
			t.Errorf("with the rights back it is %v at once, want all 12", known)
		}
	})
}

// TestWithheldIsNotAbsent: what a wider prefix leaves out may be there.
func TestWithheldIsNotAbsent(t *testing.T) {
	s := newNarrow(4, 12)
	limited(t, s, func(sub *Subscription) {
		sub.Want(fleet(12))
		time.Sleep(settleWithin)
		synctest.Wait()
		s.mu.Lock()
		s.hidden["s/07/leader"] = true
		for i := range 12 {
			s.denied[Query{Kind: Prefix, Path: fmt.Sprintf("s/%02d/", i)}] = i == 7
		}
		s.mu.Unlock()
		s.put("s/01/leader", "pg2")
		time.Sleep(settleWithin)
		synctest.Wait()
		a := sub.Snapshot()[Query{Kind: Prefix, Path: "s/07/"}]
		if pairs, _ := a.Value.([]Pair); len(pairs) != 1 || !errors.Is(a.Err, ErrDenied) {
			t.Errorf("what may not be read any more is %+v, want the last answer and the error", a)
		}
		if known := leaders(sub.Snapshot()); known["pg1"] != 10 || known["pg2"] != 1 {
			t.Errorf("the others are %v", known)
		}
	})
}
