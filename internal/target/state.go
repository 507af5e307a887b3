package target

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/render/funcs"
)

// State is how a target stands, for those who look from outside.
type State struct {
	ID       string
	InSync   bool
	Followed string            // hash of what the daemon was seen to follow; "" is none
	Waiting  string            // what it waits for; "" if nothing
	Err      error             // the trouble it has; nil if none
	Drifted  bool              // it would be in sync but for files that somebody else changed, and that are left so
	Frozen   string            // by whom, how long and why nothing of it is changed; "" if it is not frozen
	Leaders  map[string]string // by cluster: the confirmed leader that it should show

	Since     time.Time       // when Standing became what it is
	Synced    time.Time       // when it was first in sync; zero if it never was
	Wanted    string          // hash of what it should be; "" is not known yet
	Committed string          // hash of what this process left on disk; "" is unknown
	Mark      reload.Mark     // of Followed
	Waits     []funcs.Waiting // what Waiting says
	Shows     map[string]Led  // by cluster: the leader that its files should show
	Led       map[string]Led  // by cluster: the leader that its daemon was last made to follow
	Failures  int             // in a row, with the wanted files
	Again     time.Time       // when it is tried again at the latest; zero if it is not
	Freeze    *Freeze         // what Frozen says; nil without one
	Barred    bool            // it does not run yet: Err keeps it from its lock
	Forced    bool            // an operator's Force is being followed
	Drift     []string        // what somebody else changed, and what is left so
	Holds     []Hold          // what is held, by cluster
}

// Standing is how a target stands in one word.
type Standing string

// The standings.
const (
	InSync  Standing = "in_sync"
	Pending Standing = "pending" // it is being applied, settles, or waits until a hold is over
	Waiting Standing = "waiting"
	Failing Standing = "failing"
	Frozen  Standing = "frozen" // and not in sync
	Drifted Standing = "drifted"
)

// Standing is the state in one word.
func (s State) Standing() Standing {
	switch {
	case s.InSync:
		return InSync
	case s.Frozen != "":
		return Frozen
	case s.Drifted:
		return Drifted
	case s.Err != nil:
		return Failing
	case s.Waiting != "":
		return Waiting
	}
	return Pending
}

// WaitingError tells what a target was still waiting for.
type WaitingError struct{ State State }

// Code is explain's.
func (e *WaitingError) Code() string { return explain.Waiting }

func (e *WaitingError) Error() string { return e.State.ID + ": waiting for " + e.State.Waiting }

// State returns how the target stands.
func (l *Loop) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// tell reports what the wanted files wait for, once for each reason.
func (l *Loop) tell(w Wanted) {
	waiting := w.WaitingFor()
	if waiting != "" && waiting != l.State().Waiting && !slices.ContainsFunc(w.Waiting, funcs.Waiting.Pending) {
		l.log.Info("waiting", "for", waiting)
	}
	if w.Err != nil {
		l.trouble("template refused, the last good file stays", w.Err)
	}
	l.set(func(s *State) {
		s.Waiting, s.Leaders = waiting, w.Leaders
		s.Followed = l.done.Followed
		l.details(s, w)
		drift := l.driftError()
		settled := l.inSync(w) && waiting == "" && w.Err == nil
		s.InSync, s.Drifted = settled && drift == nil, settled && drift != nil
		if w.Err != nil {
			s.Err = w.Err
		} else if drift != nil {
			s.Err = drift
		} else if s.InSync {
			s.Err = nil
		}
	})
}

// details are what of the state no loop depends on.
func (l *Loop) details(s *State, w Wanted) {
	s.Barred = false
	s.Wanted, s.Committed, s.Mark = w.Hash, l.done.Committed, l.record.Mark
	s.Waits, s.Shows, s.Led, s.Forced = w.Waiting, w.Led, l.record.Led, l.operator.forced
	s.Frozen, s.Freeze = "", nil
	if l.operator.frozen {
		freeze := l.operator.freeze
		s.Frozen, s.Freeze = freeze.String(), &freeze
	}
	s.Failures, s.Again = 0, time.Time{}
	if l.tries.Hash == w.Hash && l.tries.Failures > 0 {
		s.Failures, s.Again = l.tries.Failures, l.tries.next()
	}
	s.Drift, s.Holds = nil, nil
	for _, d := range l.drifted.left {
		s.Drift = append(s.Drift, d.String())
	}
	if l.keeper != nil {
		s.Holds = slices.SortedFunc(maps.Values(l.keeper.holding()), func(a, b Hold) int { return strings.Compare(a.Cluster, b.Cluster) })
	}
}

// trouble logs an error with its hint, unless it is the one logged last.
func (l *Loop) trouble(what string, err error, args ...any) {
	text := err.Error()
	if text == l.told {
		return
	}
	l.told = text
	args = append([]any{"error", err}, args...)
	if code := explain.Of(err); code != "" {
		args = append(args, "code", code)
	}
	if h := hint.Of(err); h != "" {
		args = append(args, "hint", h)
	}
	l.log.Error(what, args...)
}

func (l *Loop) set(change func(*State)) {
	l.mu.Lock()
	before := l.state
	change(&l.state)
	if now := time.Now(); before.Standing() != l.state.Standing() {
		l.state.Since = now
		if l.state.InSync && l.state.Synced.IsZero() {
			l.state.Synced = now
		}
	}
	same := before.InSync == l.state.InSync && before.Committed == l.state.Committed && before.Drifted == l.state.Drifted && maps.Equal(before.Leaders, l.state.Leaders) && before.Waiting == l.state.Waiting && before.Frozen == l.state.Frozen && errorText(before.Err) == errorText(l.state.Err)
	l.mu.Unlock()
	if !same && l.changed != nil {
		l.changed()
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
