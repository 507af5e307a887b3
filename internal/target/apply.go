package target

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/render"
)

// outcome is what an action came to.
type outcome struct {
	action    Action
	hash      string
	err       error
	committed bool // the files are on disk
	mark      reload.Mark
	led       map[string]Led   // whom the files show
	cut       string           // how what hung on a leader of before was cut; "" if nothing did
	uncut     error            // why it could not be
	left      []reload.Address // where they led
	idle      bool             // nothing had to be done
	unsynced  error            // the folders are not on disk yet
	check     time.Duration
	commit    time.Duration
	follow    time.Duration
	followed  time.Time // when the daemon had followed; zero if it did not come to that

	wanted  Wanted
	changed []history.File // what was swapped in
}

// coded is the error of an outcome with a code, if it has none.
func coded(out outcome) error {
	switch {
	case explain.Of(out.err) != "":
		return out.err
	case out.committed:
		return explain.Mark(out.err, explain.NotFollowed)
	}
	return explain.Mark(out.err, explain.NotApplied)
}

// perform runs one action. It is the only place that touches disk and daemon.
func (l *Loop) perform(ctx context.Context, do Action, w Wanted) (out outcome) {
	out = outcome{action: do, hash: w.Hash, led: w.Led, wanted: w}
	defer func() { out.err = coded(out) }()
	set, err := render.Stage(w.Files)
	if err != nil {
		out.err = err
		return out
	}
	defer set.Discard()
	if do == Rehearse {
		out.err = l.spec.Daemon.Check(ctx, reloadFiles(set))
		return out
	}
	// A file that was changed by hand since it was committed is put right first.
	out.committed = do == Follow && !set.Changed()
	if !out.committed {
		if !set.Changed() && l.record.Followed == w.Hash {
			out.committed, out.idle, out.mark = true, true, l.record.Mark
			return out
		}
		if out.err = l.guard(w, set); out.err != nil {
			return out
		}
		if begun := time.Now(); !l.proved(w.Hash) {
			if err := l.spec.Daemon.Check(ctx, reloadFiles(set)); err != nil {
				out.err = fmt.Errorf("check: %w", err)
				return out
			}
			out.check = time.Since(begun)
		}
		changed := l.compares(set)
		begun := time.Now()
		if out.err = l.commit(ctx, set, w.Led); out.err != nil {
			return out
		}
		out.commit, out.committed, out.changed = time.Since(begun), true, changed
	}
	begun := time.Now()
	mark, err := l.spec.Daemon.Follow(ctx, reloadFiles(set), l.record.Mark)
	out.followed = time.Now()
	out.follow = out.followed.Sub(begun)
	if err == nil {
		out.left = l.leaves(w)
		out.cut, out.uncut = l.cut(ctx, out.left)
		err = ctx.Err()
	}
	// The daemon need not wait for the disk: it follows a whole file either
	// way. But nothing is recorded before the disk has it.
	out.unsynced = set.Sync()
	l.keeps(set)
	if err != nil {
		out.err = fmt.Errorf("reload: %w", err)
	}
	out.mark = mark
	return out
}

// shows notes whom files show that are about to be swapped in, where a kill leaves word of
// it: a daemon that starts reads them, whoever is there to see it. It does not wait for the
// disk, and without the note the files count all the same.
func (l *Loop) shows(led map[string]Led) {
	if maps.Equal(l.record.Led, led) || slices.ContainsFunc(l.record.Shown, func(other map[string]Led) bool { return maps.Equal(other, led) }) {
		return
	}
	l.record.Shown = append(l.record.Shown, led)
	if err := l.records.Write(l.spec.ID(), l.record); err != nil {
		l.log.Warn("a kill now would leave no word of whom the files show", "error", err)
	}
}

// leaves are the addresses where something may hang now. Those of earlier leaders
// count as long as clients are held: what would hurt who waits is not cut before.
func (l *Loop) leaves(w Wanted) []reload.Address {
	if l.keeper == nil || len(l.keeper.holding()) == 0 {
		l.behind = nil
	}
	l.behind = l.left(w)
	return l.behind
}

// left are the addresses of leaders that lead no more: of whom the daemon was last
// seen to follow, of whom files have shown since, and of who led before and may take
// writes still. It may have read those files though nobody saw it, as a daemon that
// starts does.
func (l *Loop) left(w Wanted) (left []reload.Address) {
	leads := func(name string, a reload.Address) bool {
		is, known := w.Led[name]
		return !known || is.Host == a.Host && is.Port == a.Port
	}
	add := func(name string, a reload.Address) {
		if !leads(name, a) && !slices.Contains(left, a) {
			left = append(left, a)
		}
	}
	for _, before := range append([]map[string]Led{l.record.Led}, l.record.Shown...) {
		for name, old := range before {
			if old.Leader != "" {
				add(name, reload.Address{Host: old.Host, Port: old.Port})
			}
		}
	}
	for name, b := range w.Batons {
		if b.Former != nil {
			for _, a := range addresses(nil, *b.Former) {
				add(name, a)
			}
		}
	}
	for _, a := range l.behind {
		back := false
		for _, is := range w.Led {
			back = back || is.Host == a.Host && is.Port == a.Port
		}
		if !back && !slices.Contains(left, a) {
			left = append(left, a)
		}
	}
	return left
}

// cut ends what hangs there, if the daemon can.
func (l *Loop) cut(ctx context.Context, left []reload.Address) (how string, err error) {
	cutter, can := reload.As[reload.Cutter](l.spec.Daemon)
	if !can || len(left) == 0 {
		return "", nil
	}
	return cutter.Cut(ctx, left)
}

// cutAgain tries what failed a few times more, while clients go on with the new
// leader.
func (l *Loop) cutAgain(ctx context.Context, left []reload.Address) {
	for tries := 1; tries < 6; tries++ {
		select {
		case <-ctx.Done():
			return
		case <-after(Tries{Failures: tries, Last: time.Now()}.next()):
		}
		how, err := l.cut(ctx, left)
		if err == nil {
			l.log.Info("cut what hung on the leader of before", "how", how)
			return
		}
		l.log.Error("sessions may hang on the leader of before", "code", explain.Uncut, "error", err, "hint", hint.Of(err))
	}
}

// commit swaps the staged files in. Several are recorded first, so that a kill
// between two renames is rolled forward at the next start.
func (l *Loop) commit(ctx context.Context, set *render.Set, led map[string]Led) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// Whatever the daemon follows, it is not this any more.
	l.record.Followed = ""
	l.shows(led)
	pending := set.Pending()
	if len(pending) > 1 {
		l.record.Pending = pending
		if err := l.records.Save(l.record); err != nil {
			return err
		}
	}
	if err := set.Rename(); err != nil {
		return err
	}
	l.record.Pending = nil
	l.wrote(set)
	return nil
}

func reloadFiles(set *render.Set) []reload.File {
	files := make([]reload.File, len(set.Files))
	for i, f := range set.Files {
		files[i] = reload.File{
			Path: f.Path, Staged: f.Lies(), Content: f.Content, Mode: f.Mode, UID: f.UID, GID: f.GID,
		}
	}
	return files
}

// refused says whether a check or a guard said no.
func refused(err error) bool { return errors.Is(err, reload.ErrRefused) || errors.Is(err, ErrGuarded) }
