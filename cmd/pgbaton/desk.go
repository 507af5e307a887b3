package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgbaton/pgbaton/internal/control"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/target"
	"github.com/pgbaton/pgbaton/reload"
)

// desk is where operators' words come in through the control socket. It leaves them
// where the targets' loops find them: in the files that outlive the process.
type desk struct{ *standing }

// hearing is how long an answer waits for a loop to have heard a word.
const hearing = 2 * time.Second

// freezeFrom is a freeze that begins now; a limit of 0 is none.
func freezeFrom(now time.Time, limit time.Duration, reason, by string) target.Freeze {
	now = now.UTC().Truncate(time.Second)
	f := target.Freeze{Version: target.OperatorVersion, Since: now, Reason: reason, By: by}
	if limit > 0 {
		f.Until = now.Add(limit)
	}
	return f
}

// Freeze implements control.Daemon.
func (d *desk) Freeze(ctx context.Context, w control.Word) (control.Reply, error) {
	_, folder, err := d.loop(w.Target)
	if err != nil {
		return control.Reply{}, err
	}
	f := freezeFrom(time.Now(), control.Duration(w.For), w.Reason, w.By)
	if err := target.Operator(folder).Save(target.FrozenPrefix+w.Target, f); err != nil {
		return control.Reply{}, err
	}
	d.heard(ctx, w.Target, func(s target.State) bool { return s.Freeze != nil && *s.Freeze == f })
	return control.Reply{Done: true, Text: "frozen " + f.String()}, nil
}

// Thaw implements control.Daemon.
func (d *desk) Thaw(ctx context.Context, w control.Word) (control.Reply, error) {
	_, folder, err := d.loop(w.Target)
	if err != nil {
		return control.Reply{}, err
	}
	done, err := thaw(target.Operator(folder), w.Target)
	if err != nil || !done {
		return control.Reply{Text: "not frozen"}, err
	}
	d.heard(ctx, w.Target, func(s target.State) bool { return s.Freeze == nil })
	return control.Reply{Done: true, Text: "thawed"}, nil
}

// thaw takes a freeze away, if there is one.
func thaw(words state.Folder, id string) (done bool, err error) {
	if !words.Has(target.FrozenPrefix + id) {
		return false, nil
	}
	return true, words.Remove(target.FrozenPrefix + id)
}

// Apply implements control.Daemon. A word that was not obeyed in time is taken back: it
// must not surprise anyone later.
func (d *desk) Apply(ctx context.Context, w control.Word) (control.Reply, error) {
	_, folder, err := d.loop(w.Target)
	if err != nil {
		return control.Reply{}, err
	}
	words, name, until := target.Operator(folder), target.ForcePrefix+w.Target, time.Now().Add(control.Duration(w.Timeout))
	if err := words.Save(name, target.Force{Version: target.OperatorVersion, Until: until.UTC(), By: w.By}); err != nil {
		return control.Reply{}, err
	}
	why := d.await(ctx, w.Target, until, func(s target.State) error {
		switch {
		case !words.Has(name):
			return errObeyed
		case s.Forced && s.Failures > 0 && errors.Is(s.Err, reload.ErrRefused):
			return hint.Wrap(control.Because(control.ErrRefused, s.Err.Error()), "%s", hint.Of(s.Err))
		}
		return nil
	})
	if errors.Is(why, errObeyed) {
		return control.Reply{Done: true, Text: "applied"}, nil
	}
	return control.Reply{}, errors.Join(why, words.Remove(name))
}

// errObeyed ends a wait for a word to be obeyed.
var errObeyed = errors.New("obeyed")

// heard waits until a loop has heard a word, so that whoever was answered may count on
// it. One that does not run yet hears it when it does.
func (d *desk) heard(ctx context.Context, id string, has func(target.State) bool) {
	_ = d.await(ctx, id, time.Now().Add(hearing), func(s target.State) error {
		if has(s) {
			return errObeyed
		}
		return nil
	})
}

// await looks at how a target stands until over says that it is enough, and why. Its
// loop may be another one meanwhile, of a config that was taken up.
func (d *desk) await(ctx context.Context, id string, until time.Time, over func(target.State) error) error {
	for {
		loop, _, err := d.loop(id)
		if err != nil {
			return err
		}
		s := loop.State()
		if err := over(s); err != nil {
			return err
		}
		if time.Now().After(until) {
			return late(s)
		}
		select {
		case <-ctx.Done():
			return control.ErrStopping
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// late says what a target still does when it was given up.
func late(s target.State) error {
	text := control.ErrTimeout.Error()
	switch {
	case s.Err != nil:
		text = fmt.Sprintf("%s: %v", text, s.Err)
	case s.Waiting != "":
		text += ": waiting for " + s.Waiting
	}
	return hint.Wrap(control.Because(control.ErrTimeout, text), "%s", cmp.Or(hint.Of(s.Err), "pgbaton status shows what it does"))
}
