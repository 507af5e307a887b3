package exec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload"
)

// Config says what to run.
type Config struct {
	// Command is a program with its arguments; no shell reads it. It has no
	// default.
	Command []string `hcl:"command"`

	// Timeout ends the command. Empty: "30s".
	Timeout string `hcl:"timeout,optional" default:"\"30s\""`

	// Env is what the command gets of pgbaton's environment, and more.
	Env proc.Environment
}

type daemon struct {
	log     hclog.Logger
	command []string
	env     proc.Environment
	timeout time.Duration
}

// Daemon returns the daemon that c describes. It runs nothing.
func (c *Config) Daemon(log hclog.Logger) (reload.Daemon, error) {
	if len(c.Command) == 0 || c.Command[0] == "" {
		return nil, hint.Wrap(errors.New("read command: it is empty"), `write command = ["systemctl", "reload", "NAME"], say`)
	}
	timeout, err := reload.Timeout("timeout", c.Timeout, proc.DefaultTimeout)
	if err != nil {
		return nil, err
	}
	return &daemon{log: log, command: c.Command, env: c.Env, timeout: timeout}, nil
}

// Check has nothing to say.
func (d *daemon) Check(context.Context, []reload.File) error { return nil }

// Follow runs the command. It finds the main file in PGBATON_DESTINATION.
func (d *daemon) Follow(ctx context.Context, want []reload.File, _ reload.Mark) (reload.Mark, error) {
	env := d.env
	if len(want) > 0 {
		env.Custom = append(slices.Clone(env.Custom), "PGBATON_DESTINATION="+want[0].Path)
	}
	out, err := proc.Run(ctx, proc.Command{Args: d.command, Env: env, Timeout: d.timeout})
	switch {
	case err == nil:
		d.log.Debug("command succeeded", "command", d.command[0], "output", out)
		return reload.Mark{Proof: reload.Followed, How: fmt.Sprintf("%s exited with 0", d.command[0])}, nil
	case errors.Is(err, proc.ErrTimeout):
		err = hint.Wrap(err, "timeout sets how long it may take; all that it started was killed")
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		err = hint.Wrap(err, "install %s or correct command", d.command[0])
	case proc.SaidNo(err):
		err = hint.Wrap(err, "run it by hand as pgbaton's user")
	}
	return reload.Mark{}, fmt.Errorf("make daemon follow: %w", err)
}
