package reload

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
)

// Checked is a daemon whose files have to pass a command too, after the
// daemon's own check. It has its daemon embedded, so Follow is the daemon's;
// what a daemon may be able to do beside is looked for in Unwrap's result.
type Checked struct {
	Daemon
	command []string
	timeout time.Duration
	keeps   proc.Confinement
}

// WithCheck adds a check command to a daemon. In each argument `{file}` stands
// for where the target's first file is staged, and `{file:NAME}` for where the
// file lies whose destination ends in that base name. The command also finds
// both in its environment, as PGBATON_FILE (staged) and PGBATON_DESTINATION, of
// the first file. Exit code 0 passes, any other refuses. A timeout of zero is
// proc.DefaultTimeout.
func WithCheck(d Daemon, command []string, timeout time.Duration, k Keeps) Daemon {
	return &Checked{Daemon: d, command: command, timeout: timeout, keeps: k.Confinement(false)}
}

// Unwrap returns the daemon that the check was added to.
func (c *Checked) Unwrap() Daemon { return c.Daemon }

// Check runs the daemon's own check, then the command.
func (c *Checked) Check(ctx context.Context, staged []File) error {
	if err := c.Daemon.Check(ctx, staged); err != nil {
		return err
	}
	if len(c.command) == 0 || len(staged) == 0 {
		return nil
	}
	args := make([]string, len(c.command))
	for i, arg := range c.command {
		arg, err := placeholders(arg, staged)
		if err != nil {
			return err
		}
		args[i] = arg
	}
	_, err := RunCheck(ctx, proc.Command{
		Args:     args,
		Env:      proc.Environment{Custom: []string{"PGBATON_FILE=" + staged[0].Staged, "PGBATON_DESTINATION=" + staged[0].Path}},
		Timeout:  c.timeout,
		Confined: &c.keeps,
	}, staged, "check")
	if errors.Is(err, ErrRefused) && !c.keeps.Network {
		return hint.Wrap(err, "correct the template; if the command wants the network or pgbaton's environment, see check_network and check_env")
	}
	return err
}

// placeholders puts staged paths into one argument. An unknown name is an
// error: a check that reads the wrong file is worse than none.
func placeholders(arg string, staged []File) (string, error) {
	const mark = "{file:"
	pairs := []string{"{file}", staged[0].Staged}
	for _, f := range staged {
		pairs = append(pairs, mark+filepath.Base(f.Path)+"}", f.Staged)
	}
	for rest := arg; ; {
		_, after, found := strings.Cut(rest, mark)
		name, tail, closed := strings.Cut(after, "}")
		if !found || !closed {
			return strings.NewReplacer(pairs...).Replace(arg), nil
		}
		known := false
		for _, f := range staged {
			known = known || filepath.Base(f.Path) == name
		}
		if !known {
			return "", fmt.Errorf("fill in check command: %s%s} names no file of this target", mark, name)
		}
		rest = tail
	}
}
