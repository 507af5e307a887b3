package watcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
)

// Watcher keeps the answers to all wanted queries up to date. Queries that
// several subscriptions want share one watch; one that nobody wants any more
// is let go.
type Watcher struct {
	boards map[string]*board // by the store's name
	log    hclog.Logger

	mu      sync.Mutex
	ctx     context.Context // set by Run; nil before
	watches map[Query]*entry
	changes uint64
	running sync.WaitGroup
}

type entry struct {
	answer Answer
	subs   map[*Subscription]struct{}
	flight *flight // the one watch whose answers count; nil until it runs
	told   bool    // whether it was logged that the store does not answer
}

// New returns a watcher over named stores. Nothing is fetched before Run.
func New(stores map[string]Store, log hclog.Logger) *Watcher {
	w := &Watcher{boards: map[string]*board{}, log: log, watches: map[Query]*entry{}}
	for name, s := range stores {
		w.boards[name] = newBoard(s)
	}
	return w
}

// Run watches until ctx ends, and returns once every watch has ended.
func (w *Watcher) Run(ctx context.Context) error {
	w.mu.Lock()
	w.ctx = ctx
	for q, e := range w.watches {
		w.start(q, e)
	}
	w.mu.Unlock()
	<-ctx.Done()
	// Whoever was about to start a watch has done so, or sees that it is over.
	w.mu.Lock()
	w.mu.Unlock() //nolint:staticcheck // a barrier
	w.running.Wait()
	return nil
}

// Subscribe returns a subscription that wants nothing yet.
func (w *Watcher) Subscribe() *Subscription {
	return &Subscription{watcher: w, changed: make(chan struct{}, 1), wants: map[Query]struct{}{}}
}

// start begins to watch q if Run has begun. The caller holds the lock.
func (w *Watcher) start(q Query, e *entry) {
	if w.ctx == nil || w.ctx.Err() != nil || e.flight != nil {
		return
	}
	b := w.boards[q.Store]
	if b == nil {
		e.answer.Err = fmt.Errorf("watch %s: there is no store named %q", q, q.Store)
		e.notify()
		return
	}
	w.launch(b, Watch{q, []Query{q}}, b.budget == 0)
	if b.budget > 0 {
		w.unsettled(b)
	}
}

// take takes one answer to q, or a failure, and says whether it was news. The
// caller holds the lock.
func (w *Watcher) take(q Query, e *entry, a Answer, err error) (changed bool) {
	now := time.Now()
	if err != nil {
		news := e.answer.Err == nil
		e.answer.Err = err
		if !e.told {
			w.away(q, e, err)
		}
		if news {
			e.notify()
		}
		return false
	}
	wasAway := e.answer.Err != nil
	if wasAway && a.Err == nil {
		w.back(q, e, now)
	}
	// The newer value is kept even if it is no change: what its equality leaves
	// out (a heartbeat's figures) may be of use to whoever looks.
	changed = a.Presence != e.answer.Presence || !same(a.Value, e.answer.Value)
	a.Change, a.Since = e.answer.Change, e.answer.Since
	if a.Err == nil {
		a.Fresh = now
	}
	if changed {
		w.changes++
		a.Change, a.Since = w.changes, now
	}
	e.answer = a
	if changed || wasAway != (a.Err != nil) {
		e.notify()
	}
	return changed
}

// away logs that q can't be confirmed, unless another query of its store says the
// same already: hundreds may fail for one reason.
func (w *Watcher) away(q Query, e *entry, err error) {
	reason := cause(err)
	for other, o := range w.watches {
		if o.told && other.Store == q.Store && cause(o.answer.Err) == reason {
			return
		}
	}
	e.told = true
	args := []any{"code", explain.StoreStale, "query", q.String(), "error", err}
	if h := hint.Of(err); h != "" {
		args = append(args, "hint", h)
	}
	w.log.Warn("store does not answer, keeping what it said last", args...)
}

// back logs that q is confirmed again, if it was logged that it wasn't.
func (w *Watcher) back(q Query, e *entry, now time.Time) {
	if !e.told {
		return
	}
	e.told = false
	since := cmp.Or(e.answer.Fresh, e.answer.Since)
	w.log.Info("store answers again", "query", q.String(), "away", now.Sub(since).Round(time.Millisecond).String())
}

// cause is the end of an error's chain, which names no query.
func cause(err error) string {
	for err != nil {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
	return ""
}

// Samer is a value that knows which of its differences count.
type Samer interface{ Same(other any) bool }

func same(a, b any) bool {
	if s, ok := a.(Samer); ok {
		return s.Same(b)
	}
	if pairs, ok := a.([]Pair); ok {
		others, ok := b.([]Pair)
		return ok && slices.Equal(pairs, others)
	}
	return reflect.DeepEqual(a, b)
}

// notify tells e's subscriptions to look again. The caller holds the lock.
func (e *entry) notify() {
	for s := range e.subs {
		s.Poke()
	}
}

// Subscription is one reader's set of queries.
type Subscription struct {
	watcher *Watcher
	changed chan struct{}
	wants   map[Query]struct{} // guarded by the watcher's lock
}

// Changed is a level trigger with one slot: a receive means "look again".
func (s *Subscription) Changed() <-chan struct{} { return s.changed }

// Poke sets the trigger, as a change does.
func (s *Subscription) Poke() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Want replaces the set of wanted queries and returns what is known of them
// now. Those that are new to everyone are Unknown.
func (s *Subscription) Want(queries map[Query]struct{}) Snapshot {
	w := s.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	for q := range queries {
		if _, ok := s.wants[q]; ok {
			continue
		}
		e := w.watches[q]
		if e == nil {
			e = &entry{subs: map[*Subscription]struct{}{}, answer: Answer{Since: time.Now()}}
			w.watches[q] = e
			w.start(q, e)
		}
		e.subs[s] = struct{}{}
		s.wants[q] = struct{}{}
	}
	for q := range s.wants {
		if _, ok := queries[q]; !ok {
			s.drop(q)
		}
	}
	return s.snapshot()
}

// Snapshot returns the answers to the wanted queries as they stand.
func (s *Subscription) Snapshot() Snapshot {
	s.watcher.mu.Lock()
	defer s.watcher.mu.Unlock()
	return s.snapshot()
}

// Close wants nothing any more.
func (s *Subscription) Close() { s.Want(nil) }

func (s *Subscription) snapshot() Snapshot {
	out := make(Snapshot, len(s.wants))
	for q := range s.wants {
		out[q] = s.watcher.watches[q].answer
	}
	return out
}

func (s *Subscription) drop(q Query) {
	delete(s.wants, q)
	e := s.watcher.watches[q]
	delete(e.subs, s)
	if len(e.subs) > 0 {
		return
	}
	delete(s.watcher.watches, q)
	if e.flight != nil {
		s.watcher.land(q, e.flight)
	}
}
