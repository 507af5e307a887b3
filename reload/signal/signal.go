package signal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload"
)

// Config says whom to signal, and how.
type Config struct {
	// PIDFile is where the daemon leaves its process ID in the first line.
	// It has no default.
	PIDFile string `hcl:"pid_file"`

	// Signal is a name, with or without SIG in front, or a number. Empty: HUP.
	Signal string `hcl:"signal,optional" default:"\"HUP\""`

	// Process is the name that the daemon has in /proc/PID/comm. Empty: any,
	// as long as the PID file is not much older than the process.
	Process string `hcl:"process,optional" default:"any"`
}

type daemon struct {
	pidFile proc.PIDFile
	signal  syscall.Signal
}

// Daemon returns the daemon that c describes. It touches none.
func (c *Config) Daemon(hclog.Logger) (reload.Daemon, error) {
	if c.PIDFile == "" {
		return nil, hint.Wrap(errors.New("read pid_file: it is not set"), "name the file where the daemon leaves its process ID")
	}
	if !filepath.IsAbs(c.PIDFile) {
		return nil, fmt.Errorf("read pid_file: %q is no absolute path", c.PIDFile)
	}
	sig, err := parse(c.Signal)
	if err != nil {
		return nil, err
	}
	d := &daemon{pidFile: proc.PIDFile{Path: c.PIDFile}, signal: sig}
	if c.Process != "" {
		d.pidFile.Names = []string{c.Process}
	}
	return d, nil
}

// parse reads the name or the number of a signal.
func parse(text string) (syscall.Signal, error) {
	if text == "" {
		return syscall.SIGHUP, nil
	}
	if n, err := strconv.Atoi(text); err == nil {
		if sig := syscall.Signal(n); unix.SignalName(sig) != "" {
			return sig, nil
		}
	}
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	return 0, hint.Wrap(fmt.Errorf("read signal: there is no %q", text), `write a name such as "HUP" or "USR1"`)
}

// Check has nothing to say.
func (d *daemon) Check(context.Context, []reload.File) error { return nil }

// Follow sends the signal.
func (d *daemon) Follow(context.Context, []reload.File, reload.Mark) (reload.Mark, error) {
	p, err := d.pidFile.Find()
	if err != nil {
		return reload.Mark{}, fmt.Errorf("signal daemon: %w", err)
	}
	defer p.Close()
	if err := p.Signal(d.signal); err != nil {
		return reload.Mark{}, fmt.Errorf("signal daemon: %w", err)
	}
	return reload.Mark{
		Proof: reload.Sent,
		How:   fmt.Sprintf("%s to process %d of %s", unix.SignalName(d.signal), p.PID, d.pidFile.Path),
	}, nil
}

// Verify implements reload.Verifier: the process lives. Whether it heard the signal
// nobody can tell.
func (d *daemon) Verify(context.Context, []reload.File, reload.Mark) (reload.Mark, error) {
	p, err := d.pidFile.Find()
	if err != nil {
		return reload.Mark{}, fmt.Errorf("signal's daemon: %w", err)
	}
	defer p.Close()
	return reload.Mark{Proof: reload.Sent, How: fmt.Sprintf("process %d of %s lives; nobody can be asked", p.PID, d.pidFile.Path)}, nil
}
