package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/internal/target"
)

// minder starts the child process of a config once every target is in sync, and
// tells it when they changed.
type minder struct {
	exec   *config.Exec
	child  *proc.Child
	log    hclog.Logger
	synced chan string // what is followed, all of it; the newest counts
	over   chan error  // told once, when the child is over
	end    context.CancelFunc
	ended  chan struct{}
}

// childOf makes the child of a config; nil if there is none.
func childOf(e *config.Exec) *proc.Child {
	if e == nil {
		return nil
	}
	return &proc.Child{
		Args: e.Command, Group: e.Command[0] == "sh", // a shell keeps signals to itself
		ReloadSignal: e.ReloadSignal, KillSignal: e.KillSignal, KillTimeout: e.KillTimeout, Splay: e.Splay,
		Env: proc.Environment(e.Environment),
	}
}

// mind begins to mind a child, once the one before it has ended; nil if there is
// neither.
func mind(ctx context.Context, e *config.Exec, log hclog.Logger, before *minder) *minder {
	if e == nil && before == nil {
		return nil
	}
	ctx, end := context.WithCancel(ctx)
	m := &minder{exec: e, child: childOf(e), log: log, synced: make(chan string, 1), over: make(chan error, 1), end: end, ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		before.stop()
		if m.child != nil {
			m.run(ctx)
		}
	}()
	return m
}

// sync tells how the targets stand.
func (m *minder) sync(loops []*target.Loop) {
	if m == nil || m.child == nil {
		return
	}
	var followed strings.Builder
	for _, l := range loops {
		s := l.State()
		if !s.InSync && !s.Drifted {
			return // later
		}
		_, _ = fmt.Fprintf(&followed, "%s=%s ", s.ID, s.Followed)
	}
	select {
	case <-m.synced:
	default:
	}
	m.synced <- followed.String()
}

// Over is told when the child is over; never without one.
func (m *minder) Over() <-chan error {
	if m == nil {
		return nil
	}
	return m.over
}

func (m *minder) run(ctx context.Context) {
	// It has its own time limit, and SIGKILL after that. One that is over has none.
	defer func() {
		if err := m.child.Stop(context.WithoutCancel(ctx)); err != nil {
			m.log.Error("the child process can't be ended", "error", err)
		}
	}()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-m.child.Ended():
			m.over <- err
			return
		case now := <-m.synced:
			if now == last {
				continue
			}
			if err := m.tell(ctx, last == ""); err != nil {
				m.over <- err
				return
			}
			last = now
		}
	}
}

// tell starts the child, or tells it of changes unless it is over.
func (m *minder) tell(ctx context.Context, first bool) error {
	if first {
		err := m.child.Start()
		if err == nil {
			m.log.Info("child process started", "command", m.child.Args[0])
		}
		return err
	}
	begun := time.Now()
	err := m.child.Reload(ctx)
	if err == nil {
		m.log.Info("child process told of changes", "took", time.Since(begun).Round(time.Millisecond).String())
	}
	return err
}

// pass passes a signal on.
func (m *minder) pass(s os.Signal) {
	if sig, is := s.(syscall.Signal); is && m != nil && m.child != nil {
		if err := m.child.Signal(sig); err != nil {
			m.log.Error("signal not passed on", "error", err)
		}
	}
}

// stop ends the child and waits for it.
func (m *minder) stop() {
	if m != nil {
		m.end()
		<-m.ended
	}
}

// childError is what pgbaton ends with when its child did: the same exit code.
func childError(err error) error {
	if err == nil {
		return nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return &exitError{exit.ExitCode(), explain.Mark(fmt.Errorf("child process: %w", err), explain.ChildFails)}
	}
	return explain.Mark(fmt.Errorf("child process: %w", err), explain.ChildFails)
}
