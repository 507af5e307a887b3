package haproxy

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload"
)

// How long a master may take to start a worker after a signal, and how often it
// gets one.
const (
	starting = 2 * time.Second
	signals  = 2
)

// signal reloads by PID file. A master that is just starting loses the signal
// without a trace, so a new child of it is waited for. That proves no more than
// that the signal came through: later versions fork first and read the config
// then.
func (d *daemon) signal(ctx context.Context) (reload.Mark, error) {
	p, err := d.process()
	if err != nil {
		return reload.Mark{}, fmt.Errorf("reload haproxy: %w", err)
	}
	defer p.Close()
	mark := reload.Mark{Proof: reload.Sent, How: fmt.Sprintf("SIGUSR2 to process %d of %s", p.PID, d.pidFile)}
	before, cannotLook := p.Children()
	for range signals {
		if err := p.Signal(syscall.SIGUSR2); err != nil {
			return reload.Mark{}, fmt.Errorf("reload haproxy: %w", err)
		}
		if mark.Told = time.Now(); cannotLook != nil {
			return mark, nil
		}
		for end := time.Now().Add(starting); time.Now().Before(end); {
			if !p.Alive() {
				return reload.Mark{}, hint.Wrap(fmt.Errorf("reload haproxy: its process %d ended on SIGUSR2", p.PID),
					"start haproxy with -W: only a master reloads on SIGUSR2")
			}
			if grown(p, before) {
				return mark, nil
			}
			if !pause(ctx) {
				return reload.Mark{}, fmt.Errorf("reload haproxy: %w", context.Cause(ctx))
			}
		}
	}
	return reload.Mark{}, hint.Wrap(errors.New("reload haproxy: its master starts no new worker"),
		"haproxy's log says why (journalctl -u haproxy); what a check cannot see is an address in use (ss -ltnp)")
}

// process is the master that the PID file names.
func (d *daemon) process() (*proc.Running, error) {
	return proc.PIDFile{Path: d.pidFile, Names: []string{filepath.Base(d.binary)}}.Find()
}

// grown says whether the process has a child that it had not.
func grown(p *proc.Running, before []int) bool {
	now, err := p.Children()
	return err == nil && slices.ContainsFunc(now, func(pid int) bool { return !slices.Contains(before, pid) })
}
