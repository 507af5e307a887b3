package proc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Child is a program that runs as long as pgbaton does, in a process group of its
// own. Zero fields take the defaults beside them.
type Child struct {
	Args         []string       // program and arguments; at least one
	Env          Environment    // what it gets of pgbaton's own, and more
	Group        bool           // signals go to its whole group: a shell keeps them to itself
	ReloadSignal syscall.Signal // 0: a reload is a stop and a start
	KillSignal   syscall.Signal // 0 is SIGTERM
	KillTimeout  time.Duration  // how long it may take to end, then comes SIGKILL; 0 is 30 s
	Splay        time.Duration  // a stop or a reload waits for a random part of this

	mu      sync.Mutex
	cmd     *exec.Cmd
	done    chan struct{} // closed when the one that runs has ended
	restart bool          // it ends to begin anew
	ended   chan error    // what the last one ended with
}

// Environment is what a program gets of pgbaton's own.
type Environment struct {
	Pristine bool     // nothing of it
	Allow    []string // names, with * for anything; none is all
	Deny     []string // likewise, and these win
	Custom   []string // NAME=VALUE, in any case
}

// defaultKill is how long a child may take to end.
const defaultKill = 30 * time.Second

// Start starts the child. Ended tells when it is over.
func (c *Child) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = make(chan error, 1)
	}
	cmd := exec.Command(c.Args[0], c.Args[1:]...) //nolint:noctx // it lives as long as pgbaton
	cmd.Env = c.Env.of(inherited())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: c.Group}
	if err := startAsItWas(cmd); err != nil {
		return fmt.Errorf("start %s: %w", c.Args[0], err)
	}
	done := make(chan struct{})
	c.cmd, c.done, c.restart = cmd, done, false
	go func() {
		err := cmd.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		close(done)
		if !c.restart {
			c.ended <- err
		}
	}()
	return nil
}

// Ended is told once the child is over, by itself or by Stop, with what it ended
// with; nil is an exit code of 0.
func (c *Child) Ended() <-chan error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = make(chan error, 1)
	}
	return c.ended
}

// Reload makes the child take up what changed: by its signal, or by another start.
// One that is over is left alone, and nothing is begun once ctx has ended.
func (c *Child) Reload(ctx context.Context) error {
	if !c.splay(ctx) {
		return nil // it is about to be stopped
	}
	if c.ReloadSignal != 0 {
		return c.Signal(c.ReloadSignal)
	}
	c.mu.Lock()
	done := c.done
	select {
	case <-done:
		c.mu.Unlock()
		return nil // it is over by itself, as Ended tells
	default:
	}
	c.restart = true
	c.mu.Unlock()
	if err := c.kill(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	return c.Start()
}

// Stop ends the child and returns when it has ended.
func (c *Child) Stop(ctx context.Context) error {
	c.splay(ctx)
	return c.kill(ctx)
}

// Signal sends it a signal. One that has ended is no error.
func (c *Child) Signal(sig syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return nil
	}
	pid := c.cmd.Process.Pid
	select {
	case <-c.done:
		return nil
	default:
	}
	if c.Group {
		pid = -pid
	}
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send signal %v to %s: %w", sig, c.Args[0], err)
	}
	return nil
}

func (c *Child) kill(ctx context.Context) error {
	c.mu.Lock()
	done := c.done
	c.mu.Unlock()
	if done == nil {
		return nil
	}
	sig := c.KillSignal
	if sig == 0 {
		sig = syscall.SIGTERM
	}
	if err := c.Signal(sig); err != nil {
		return err
	}
	limit := c.KillTimeout
	if limit <= 0 {
		limit = defaultKill
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	case <-time.After(limit):
	}
	err := c.Signal(syscall.SIGKILL)
	<-done
	return err
}

// splay waits a while; it is false if ctx has ended.
func (c *Child) splay(ctx context.Context) bool {
	if c.Splay > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(rand.N(c.Splay)): //nolint:gosec // no secret
		}
	}
	return ctx.Err() == nil
}

// of is what a program gets of an environment.
func (e Environment) of(all []string) []string {
	var kept []string
	matches := func(patterns []string, name string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { matched, _ := path.Match(p, name); return matched })
	}
	for _, entry := range all {
		name, _, _ := strings.Cut(entry, "=")
		if !e.Pristine && (len(e.Allow) == 0 || matches(e.Allow, name)) && !matches(e.Deny, name) {
			kept = append(kept, entry)
		}
	}
	return append(kept, e.Custom...)
}
