// Package proc runs other people's commands so that none outlives its turn:
// each in a process group of its own, killed whole at its time limit or when
// its context ends.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// DefaultTimeout ends a command that sets no time limit of its own.
const DefaultTimeout = 30 * time.Second

// maxOutput is how much of a command's output is kept, in bytes; its end tells
// more than its beginning.
const maxOutput = 64 << 10

// Command is one program to run. Zero fields take the defaults beside them.
type Command struct {
	Args       []string            // program and arguments; at least one
	Env        Environment         // what it gets of pgbaton's own environment, and more
	Dir        string              // working directory; "" is pgbaton's own
	Timeout    time.Duration       // 0 is DefaultTimeout
	Credential *syscall.Credential // nil keeps pgbaton's own user
	Stdout     io.Writer           // takes its standard output; nil: it is kept with the errors

	// Confined says that it is a check: nothing of it stays in the background or
	// outlives pgbaton, and it has no more than stands there. Nil: it is none.
	Confined *Confinement
}

// ErrTimeout is in the chain of Run's error if the time limit ended the command.
var ErrTimeout = errors.New("timed out")

// Error tells of a command that ran and failed.
type Error struct {
	Program string
	Code    int    // exit code, -1 if a signal ended it or it never started
	Output  string // the end of stdout and stderr, as they came
	Err     error
}

func (e *Error) Error() string {
	out := strings.TrimSpace(e.Output)
	if out == "" {
		return fmt.Sprintf("run %s: %v", e.Program, e.Err)
	}
	return fmt.Sprintf("run %s: %v: %s", e.Program, e.Err, out)
}

func (e *Error) Unwrap() error { return e.Err }

// SaidNo says whether err is Run's and tells of a command that ran to its own
// end and exited with something other than 0: it gave an answer. One that never
// started, crashed or was killed gave none.
func SaidNo(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() > 0
}

// Run runs c and returns what it printed. When ctx or the time limit ends, the
// whole process group gets SIGKILL, children that went to the background
// included.
func Run(ctx context.Context, c Command) (string, error) {
	if len(c.Args) == 0 {
		return "", errors.New("run command: it is empty")
	}
	limit := c.Timeout
	if limit <= 0 {
		limit = DefaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, ErrTimeout)
	defer cancel()

	if c.Confined != nil {
		return onThread(func() (string, error) { return c.run(ctx, limit) })
	}
	return c.run(ctx, limit)
}

// create makes what is to be started.
func (c Command) create(ctx context.Context, out *tail) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	env := c.Env
	if c.Confined != nil {
		env = c.Confined.confined(env)
	}
	cmd.Env = env.of(inherited())
	cmd.Dir = c.Dir
	cmd.Stdout, cmd.Stderr = out, out
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.Credential}
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	// A child that left the group could hold the output open for ever.
	cmd.WaitDelay = time.Second
	return cmd
}

func (c Command) start(ctx context.Context, out *tail) (*exec.Cmd, error) {
	create := func() *exec.Cmd { return c.create(ctx, out) }
	if c.Confined != nil {
		return c.Confined.start(create)
	}
	cmd := create()
	return cmd, startAsItWas(cmd)
}

// run runs it, with a time limit in ctx that is named in its error.
func (c Command) run(ctx context.Context, limit time.Duration) (string, error) {
	var out tail
	cmd, err := c.start(ctx, &out)
	if err == nil {
		err = cmd.Wait()
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it exited with 0; a child of its keeps the output open
	}
	if cmd != nil && cmd.Process != nil && (err != nil || c.Confined != nil) {
		// The command may be gone and its children not. Their group's number
		// is not given out again while one of them lives.
		_ = killGroup(cmd.Process)
	}
	if err == nil {
		return out.String(), nil
	}
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, ErrTimeout) {
			err = fmt.Errorf("%w after %v", ErrTimeout, limit)
		} else {
			err = cause
		}
	}
	code := -1
	if cmd != nil && cmd.ProcessState != nil {
		code = cmd.ProcessState.ExitCode()
	}
	return out.String(), &Error{Program: c.Args[0], Code: code, Output: out.String(), Err: err}
}

// killGroup kills a process and what it started, unless that left its group.
func killGroup(p *os.Process) error {
	err := syscall.Kill(-p.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// inherited is pgbaton's environment without what its own service manager told
// it alone: a child that has NOTIFY_SOCKET could report itself ready, or
// reloading, in pgbaton's name.
func inherited() []string {
	private := []string{"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "MAINPID"}
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(private, name)
	})
}

// tail keeps the last maxOutput bytes written to it.
type tail struct{ buf bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if over := t.buf.Len() - maxOutput; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string { return t.buf.String() }
