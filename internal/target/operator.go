package target

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/watcher"
)

// What an operator wants of a target is a file with the target's ID behind one of
// these. So it outlives pgbaton, and takes none that runs.
const (
	FrozenPrefix = "frozen."
	ForcePrefix  = "force."
)

// Operator is the folder of what operators want, in a state folder. It is one of
// its own, so that it changes when they want something else, and at no other time.
// What root writes there a daemon of another user can read, and take away.
func Operator(f state.Folder) state.Folder {
	return state.Folder{Dir: filepath.Join(f.Dir, "operator"), Open: true}
}

// OperatorVersion is raised when an older word of an operator can't be understood
// any more.
const OperatorVersion = 1

// Freeze is an operator's word that nothing of a target is to be changed: no file,
// no reload, no hold.
type Freeze struct {
	Version int       `json:"version"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"` // zero: until it is thawed
	Reason  string    `json:"reason"`
	By      string    `json:"by"` // the operator's user name
}

// Over says whether a freeze has ended by itself.
func (f Freeze) Over(now time.Time) bool { return !f.Until.IsZero() && !now.Before(f.Until) }

func (f Freeze) String() string {
	s := "by " + f.By
	if !f.Since.IsZero() {
		s += " since " + f.Since.Format(time.DateTime)
	}
	if !f.Until.IsZero() {
		s += " until " + f.Until.Format(time.DateTime)
	}
	if f.Reason != "" {
		s += ": " + f.Reason
	}
	return s
}

// Force is an operator's word that what is wanted now is to be applied, whatever a
// freeze or a guard says. It is gone once that was done, and counts no longer than
// somebody waits for it.
type Force struct {
	Version int       `json:"version"`
	Until   time.Time `json:"until"`
	By      string    `json:"by"`
}

// ErrFrozen is in the chain of a target's error while an operator keeps it from
// changing.
var ErrFrozen = errors.New("frozen")

// LoadFreeze reads from Operator's folder whether a target is frozen. A file that
// can't be read freezes it: whoever wrote it did not want a change.
func LoadFreeze(folder state.Folder, id string, now time.Time) (f Freeze, frozen bool) {
	found, err := folder.Load(FrozenPrefix+id, &f)
	switch {
	case err != nil:
		f = Freeze{Reason: err.Error(), By: unreadable}
		if h := hint.Of(err); h != "" {
			f.Reason += ": " + h
		}
		return f, true
	case !found || f.Over(now):
		return Freeze{}, false
	}
	return f, true
}

// unreadable is who freezes a target in the place of an operator whose file can't
// be read.
const unreadable = "a file that can't be read"

// again is when to look at the freeze anew, at the latest; zero for when it changes.
func (f Freeze) again(now time.Time) time.Time {
	if f.By == unreadable && f.Version == 0 {
		return now.Add(time.Second) // that may have been for the moment
	}
	return f.Until
}

// operator is what an operator wants of the target now.
type operator struct {
	freeze Freeze
	frozen bool
	forced bool
}

// word is the query that tells of a new word of an operator, to any target: of what
// changes in their folder, hence its last two characters.
func (l *Loop) word() watcher.Query {
	return watcher.Query{Store: watcher.Local, Kind: watcher.Stat, Path: Operator(l.records.Folder).Dir + "/."}
}

// listen reads what an operator wants now, and logs what is new.
func (l *Loop) listen(now time.Time) {
	was, folder := l.operator, Operator(l.records.Folder)
	l.operator.freeze, l.operator.frozen = LoadFreeze(folder, l.spec.ID(), now)
	var f Force
	found, err := folder.Load(ForcePrefix+l.spec.ID(), &f)
	l.operator.forced = l.force || found && err == nil && now.Before(f.Until)
	switch is := l.operator; {
	case is.frozen && (!was.frozen || is.freeze != was.freeze):
		l.log.Warn("frozen: nothing is changed until it is thawed", "by", is.freeze.By, "reason", is.freeze.Reason, "until", is.freeze.Until)
	case was.frozen && !is.frozen:
		l.log.Info("thawed")
		l.drifted.seen = nil // what was left meanwhile is looked at again
	}
	if l.operator.forced && !was.forced {
		l.log.Warn("what is wanted is applied whatever a freeze or a guard says, as an operator asks")
		l.tries, l.drifted.seen = Tries{}, nil // at once
	}
}

// stands says whether the operator's freeze keeps the target from changing.
func (o operator) stands() bool { return o.frozen && !o.forced }

// err is the freeze as the target's trouble; nil without one.
func (o operator) err() error {
	if !o.frozen {
		return nil
	}
	return explain.Mark(hint.Wrap(fmt.Errorf("%w %s", ErrFrozen, o.freeze), "pgbaton thaw, or pgbaton apply -force for once"), explain.Frozen)
}

// obeyed forgets a Force that has been followed: everything is as it is wanted.
func (l *Loop) obeyed(w Wanted) {
	if !l.operator.forced || l.force || w.Err != nil || len(w.Waiting) > 0 {
		return
	}
	l.operator.forced = false
	if err := Operator(l.records.Folder).Remove(ForcePrefix + l.spec.ID()); err != nil {
		l.log.Error("apply -force stays in force", "error", err, "hint", "remove the file by hand")
	}
}
