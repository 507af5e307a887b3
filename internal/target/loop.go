package target

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/bits"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/watcher"
)

// Loop keeps one target in sync.
type Loop struct {
	spec    Spec
	source  *Source
	records Records
	log     hclog.Logger
	changed func() // called after the state changed

	// The rest belongs to Run, and to the one action that it has running.
	record Record
	behind []reload.Address // of earlier leaders, since clients were held last
	done   Done
	tries  Tries
	told   string // the trouble that was logged last

	keeper *keeper        // nil if the target does not hold
	hooks  sync.WaitGroup // commands after a change of leader

	passed  passed   // files that a rehearsal proved valid
	drifted drifting // what others did to the files

	operator operator // what an operator wants
	force    bool     // whatever a freeze or a guard says

	superseded bool // an action was cancelled since the last that came to its end

	mu    sync.Mutex
	state State
}

// NewLoop makes a loop; changed is called whenever its State changed.
func NewLoop(spec Spec, sub *watcher.Subscription, records Records, log hclog.Logger, changed func()) *Loop {
	return &Loop{
		spec: spec, source: NewSource(spec, sub), records: records,
		log: log.With("target", spec.ID()), changed: changed, state: State{ID: spec.ID(), Since: time.Now()},
	}
}

// Run keeps the target in sync until ctx ends.
func (l *Loop) Run(ctx context.Context) error { return l.run(ctx, false) }

// Force makes the loop apply what is wanted, whatever a freeze or a guard says. It
// is called before Once.
func (l *Loop) Force() { l.force = true }

// Once brings the target in sync and returns, or returns the first error. It
// waits for what is missing as long as ctx lasts.
func (l *Loop) Once(ctx context.Context) error { return l.run(ctx, true) }

func (l *Loop) run(ctx context.Context, once bool) error {
	defer l.source.Close()
	defer l.closeDaemon()
	lock, err := l.lock(ctx, once)
	if err != nil || lock == nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	l.start()
	if !once {
		if err := Operator(l.records.Folder).Make(); err != nil {
			l.log.Warn("operators can't freeze the target", "error", err)
		}
		end := l.hold(ctx)
		defer end()
	}
	settle := l.spec.Settle
	if once {
		settle = Settle{}
	}
	var running *action
	defer func() { running.stop() }()
	for {
		now := time.Now()
		l.listen(now)
		w := l.source.Update(ctx, now)
		w.Frozen, w.Forced = l.operator.stands(), l.operator.forced
		if !once {
			seen := l.watch(w)
			if running == nil {
				l.drift(w, seen, now)
			}
		}
		l.tell(w)
		if l.keeper != nil {
			w.Unsure = l.keeper.order(w, l.inSync(w) || l.drifted.repairing) && !l.moved(w)
		}
		if once && w.Err != nil {
			return w.Err
		}
		if once && w.Frozen && w.Hash != "" && len(w.Waiting) == 0 {
			return l.asFrozen(w)
		}
		if running != nil && l.supersedes(w, running, settle, now) {
			l.finish(ctx, running.stop(), true)
			running = nil
		}
		var again time.Time
		if running == nil {
			var do Action
			do, again = Decide(w, settle, l.done, l.tries, now)
			if w.Frozen {
				again = l.operator.freeze.again(now)
			}
			if do == Rest && l.inSync(w) {
				l.source.Rested(w.Hash)
				l.obeyed(w)
			}
			if do != Rest {
				running = l.begin(ctx, do, w)
			} else if once && len(w.Waiting) == 0 && l.inSync(w) {
				return nil
			} else if !once {
				running = l.rehearse(ctx, now)
			}
		}
		select {
		case <-ctx.Done():
			if once {
				return l.giveUp(ctx, w)
			}
			return nil
		case <-l.source.Changed():
		case <-after(again):
		case out := <-running.result():
			running = nil
			l.finish(ctx, out, false)
			if once && out.err != nil {
				return out.err
			}
		}
	}
}

// hold starts the keeper, if the target holds; end waits until all is released.
func (l *Loop) hold(ctx context.Context) (end func()) {
	l.keeper = newKeeper(l.spec, l.records.Folder, l.log, l.source.sub.Poke)
	if l.keeper == nil {
		return l.hooks.Wait
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.keeper.run(ctx)
	}()
	return func() {
		<-done
		l.hooks.Wait()
	}
}

// closeDaemon ends what the daemon keeps open between calls.
func (l *Loop) closeDaemon() {
	if c, open := reload.As[io.Closer](l.spec.Daemon); open {
		_ = c.Close()
	}
}

// lock takes the target for this process. Another pgbaton that has it may be on
// its way out, so it is tried again, unless it is for once.
func (l *Loop) lock(ctx context.Context, once bool) (*os.File, error) {
	for tries := 1; ; tries++ {
		lock, err := l.records.Lock(l.spec.ID())
		if err == nil || once {
			return lock, err
		}
		l.trouble("target does not run yet", err)
		l.set(func(s *State) { s.Err, s.Barred = err, true })
		select {
		case <-ctx.Done():
			return nil, nil
		case <-after(Tries{Failures: tries, Last: time.Now()}.next()):
		}
	}
}

func (l *Loop) giveUp(ctx context.Context, w Wanted) error {
	if len(w.Waiting) > 0 || w.Hash == "" {
		return &WaitingError{l.State()}
	}
	return fmt.Errorf("%s: %w", l.spec.ID(), context.Cause(ctx))
}

// start takes up what the last process left.
func (l *Loop) start() {
	paths := make([]string, len(l.spec.Templates))
	for i, t := range l.spec.Templates {
		paths[i] = t.Destination.Path
	}
	record, err := l.records.Load(l.spec.ID(), paths)
	if err != nil {
		l.log.Warn("record lost, the daemon is made to follow again", "code", explain.RecordLost, "error", err)
	}
	if len(record.Pending) > 0 {
		l.log.Info("rolling forward an interrupted change", "files", len(record.Pending))
		if err := render.RollForward(record.Pending); err != nil {
			l.log.Error("rolling forward", "error", err)
		}
		record.Pending = nil
	}
	l.record = record
	l.done.Followed = record.Followed
}

// inSync says whether the disk holds what is wanted and the daemon was seen to
// follow it.
func (l *Loop) inSync(w Wanted) bool {
	return w.Hash != "" && l.done.Committed == w.Hash && l.done.Followed == w.Hash
}

// moved says whether a leader that is not in doubt is another than the one which
// the daemon was seen to follow.
func (l *Loop) moved(w Wanted) bool {
	for name, is := range w.Led {
		was := l.record.Led[name]
		if b := w.Batons[name]; !b.Hold() && (is.Leader != was.Leader || is.Host != was.Host || is.Port != was.Port) {
			return true
		}
	}
	return false
}

// supersedes says whether a running action is to be cancelled for what is
// wanted now. A new leader always wins, and what brings one is cancelled for
// nothing else; anything else wins once, until an action came to its end: else
// values that change faster than the daemon checks them would keep it from ever
// following.
func (l *Loop) supersedes(w Wanted, running *action, settle Settle, now time.Time) bool {
	if running.hash == w.Hash {
		return false
	}
	if running.do == Rehearse {
		do, _ := Decide(w, settle, l.done, l.tries, now)
		return do != Rest
	}
	if !maps.Equal(running.leaders, w.Leaders) {
		return true
	}
	return !l.superseded && !running.leads
}

// action is a running action.
type action struct {
	do      Action
	hash    string
	leaders map[string]string
	leads   bool // it brings a leader that the daemon does not follow yet
	cancel  context.CancelFunc
	out     chan outcome
}

func (l *Loop) begin(ctx context.Context, do Action, w Wanted) *action {
	ctx, cancel := context.WithCancel(ctx)
	a := &action{do: do, hash: w.Hash, leaders: w.Leaders, leads: l.moved(w), cancel: cancel, out: make(chan outcome, 1)}
	go func() {
		defer cancel()
		a.out <- l.perform(ctx, do, w)
	}()
	return a
}

// result is nil, and so never ready, without an action.
func (a *action) result() <-chan outcome {
	if a == nil {
		return nil
	}
	return a.out
}

// stop cancels a running action and waits for it.
func (a *action) stop() outcome {
	if a == nil {
		return outcome{}
	}
	a.cancel()
	return <-a.out
}

// finish takes up what an action came to.
func (l *Loop) finish(ctx context.Context, out outcome, superseded bool) {
	if out.action == Rehearse {
		if !superseded {
			l.passed = passed{hash: out.hash, at: time.Now(), good: out.err == nil}
		}
		return
	}
	if out.committed {
		l.done.Committed = out.hash
	}
	l.note(out, superseded)
	l.drifted.repairing = false
	l.done.Followed = l.record.Followed
	l.superseded = superseded
	switch {
	case out.err == nil:
		before := l.record.Led
		l.record.Followed, l.record.Mark, l.record.Led = out.hash, out.mark, out.led
		l.record.Shown = nil
		l.done.Followed = out.hash
		l.tries, l.told = Tries{}, ""
		l.source.Rested(out.hash)
		if !out.idle {
			if err := l.remember(out.unsynced); err != nil {
				l.log.Error("the daemon follows, but a restart will make it follow again", "error", err)
			}
			l.log.Info("applied", "proof", out.mark.Proof.String(), "how", out.mark.How,
				"check", out.check.Round(10*time.Microsecond).String(), "follow", out.follow.Round(10*time.Microsecond).String())
		}
		if out.cut != "" {
			l.log.Info("cut what hung on the leader of before", "how", out.cut)
		}
		if out.uncut != nil {
			l.log.Error("sessions may hang on the leader of before", "code", explain.Uncut, "error", out.uncut, "hint", hint.Of(out.uncut))
			l.hooks.Go(func() { l.cutAgain(ctx, out.left) })
		}
		l.leaderChanged(ctx, before, out.led)
	case superseded:
		l.log.Debug("superseded", "action", out.action.String(), "error", out.err)
	default:
		if l.tries.Hash != out.hash {
			l.tries = Tries{Hash: out.hash}
		}
		l.source.Tried(out.hash)
		l.tries.Failures++
		l.tries.Last = time.Now()
		l.tries.Refused = refused(out.err)
		if bits.OnesCount(uint(l.tries.Failures)) == 1 {
			l.told = "" // it goes on: said again at the 2nd, 4th, 8th try
		}
		args := []any{"try", l.tries.Failures, "again", time.Until(l.tries.next()).Round(10 * time.Millisecond).String()}
		if out.committed {
			l.trouble("the files are in place, but the daemon does not follow", out.err, args...)
		} else {
			l.trouble("not applied, the last good file stays", out.err, args...)
		}
	}
	l.set(func(s *State) {
		if !superseded {
			s.Err = out.err
		}
	})
}

// remember saves the record, unless the files may be gone after a power loss.
func (l *Loop) remember(unsynced error) error {
	if unsynced != nil {
		return unsynced
	}
	return l.records.Save(l.record)
}

// after is a timer for at; nil, and so never ready, for the zero time. It may be
// early, for whoever waits looks at the clock again: a timer knows nothing of one
// that is set, or that went on while the machine was asleep.
func after(at time.Time) <-chan time.Time {
	if at.IsZero() {
		return nil
	}
	return time.After(min(time.Until(at), lookAtClock))
}

// lookAtClock is how late an hour by the clock may be noticed, if that was set.
const lookAtClock = 10 * time.Second
