package keepalived

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload"
)

// How long keepalived is watched after a reload, and how often it is looked at.
// One that cannot live with its config ends within a tenth of a second.
const (
	watch = time.Second
	look  = 20 * time.Millisecond
)

// Follow reloads keepalived and looks whether it lives on. Where nothing but
// tracked files changed, keepalived has seen that by itself.
func (d *daemon) Follow(ctx context.Context, want []reload.File, last reload.Mark) (reload.Mark, error) {
	p, err := d.find()
	if err != nil {
		return reload.Mark{}, fmt.Errorf("reload keepalived: %w", err)
	}
	defer p.Close()
	now := noteOf(p, want)
	if d.sees(now, last) {
		return reload.Mark{Proof: reload.Sent, How: sawBy(p.PID, tracked(want)), State: now.String()}, nil
	}
	if err := d.verify(ctx, want); err != nil {
		return reload.Mark{}, err
	}
	d.told = now.Structure
	if err := p.Signal(syscall.SIGHUP); err != nil {
		return reload.Mark{}, fmt.Errorf("reload keepalived: %w", err)
	}
	told := time.Now()
	for end := told.Add(watch); time.Now().Before(end); {
		if !p.Alive() {
			return reload.Mark{}, hint.Wrap(fmt.Errorf("reload keepalived: its process %d ended on the reload", p.PID),
				"its log says why (journalctl -u keepalived); start it again, and see with ip addr whether both nodes hold the address")
		}
		select {
		case <-ctx.Done():
			return reload.Mark{}, fmt.Errorf("reload keepalived: %w", context.Cause(ctx))
		case <-time.After(look):
		}
	}
	return reload.Mark{Proof: reload.Sent, How: fmt.Sprintf("SIGHUP to process %d of %s", p.PID, d.pidFile), State: now.String(), Told: told}, nil
}

// find finds the process.
func (d *daemon) find() (*proc.Running, error) {
	return proc.PIDFile{Path: d.pidFile, Names: []string{"keepalived", filepath.Base(d.binary)}}.Find()
}

// sawBy is a change of tracked files for a person.
func sawBy(pid int, files []reload.File) string {
	if len(files) == 0 {
		return fmt.Sprintf("nothing to tell process %d", pid)
	}
	var all []string
	for _, f := range files {
		all = append(all, fmt.Sprintf("%s holds %s", f.Path, strings.TrimSpace(string(f.Content))))
	}
	return fmt.Sprintf("%s: process %d watches it", strings.Join(all, ", "), pid)
}

// verify checks the files once more, as they lie there now: since their check an
// interface may have gone, or a file may have become executable, and a reload
// would end keepalived or make it drop its addresses.
func (d *daemon) verify(ctx context.Context, want []reload.File) error {
	now := make([]reload.File, len(want))
	for i, f := range want {
		info, err := os.Stat(f.Path)
		if err != nil {
			return hint.Wrap(fmt.Errorf("reload keepalived: it is left as it is: %w", err), "pgbaton tries again")
		}
		f.Mode, f.Staged = info.Mode(), f.Path
		if f.Content, err = os.ReadFile(f.Path); err != nil {
			return fmt.Errorf("reload keepalived: it is left as it is: %w", err)
		}
		now[i] = f
	}
	if err := d.Check(ctx, now); err != nil {
		// To the caller this is no refusal of the files: they may pass again.
		advice := hint.Of(err)
		if errors.Is(err, reload.ErrRefused) {
			err = errors.New(strings.TrimPrefix(err.Error(), reload.ErrRefused.Error()+": "))
		}
		return hint.Wrap(fmt.Errorf("reload keepalived: it would not survive that, so it is left as it is: %w", err), "%s; pgbaton tries again", advice)
	}
	return nil
}
