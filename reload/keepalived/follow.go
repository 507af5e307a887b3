package keepalived

import (
	"context"
	"fmt"
	"path/filepath"
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

// Follow reloads keepalived and looks whether it lives on.
func (d *daemon) Follow(ctx context.Context, _ []reload.File, _ reload.Mark) (reload.Mark, error) {
	p, err := proc.PIDFile{Path: d.pidFile, Names: []string{"keepalived", filepath.Base(d.binary)}}.Find()
	if err != nil {
		return reload.Mark{}, fmt.Errorf("reload keepalived: %w", err)
	}
	defer p.Close()
	if err := p.Signal(syscall.SIGHUP); err != nil {
		return reload.Mark{}, fmt.Errorf("reload keepalived: %w", err)
	}
	for end := time.Now().Add(watch); time.Now().Before(end); {
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
	return reload.Mark{Proof: reload.Sent, How: fmt.Sprintf("SIGHUP to process %d of %s", p.PID, d.pidFile)}, nil
}
