package target

import (
	"maps"
	"slices"

	"github.com/pgbaton/pgbaton/internal/hint"
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
}

// WaitingError tells what a target was still waiting for.
type WaitingError struct{ State State }

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
		s.Frozen = ""
		if l.operator.frozen {
			s.Frozen = l.operator.freeze.String()
		}
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

// trouble logs an error with its hint, unless it is the one logged last.
func (l *Loop) trouble(what string, err error, args ...any) {
	text := err.Error()
	if text == l.told {
		return
	}
	l.told = text
	args = append([]any{"error", err}, args...)
	if h := hint.Of(err); h != "" {
		args = append(args, "hint", h)
	}
	l.log.Error(what, args...)
}

func (l *Loop) set(change func(*State)) {
	l.mu.Lock()
	before := l.state
	change(&l.state)
	same := before.InSync == l.state.InSync && before.Drifted == l.state.Drifted && maps.Equal(before.Leaders, l.state.Leaders) && before.Waiting == l.state.Waiting && before.Frozen == l.state.Frozen && errorText(before.Err) == errorText(l.state.Err)
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
