package keepalived

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// Verify implements reload.Verifier: the process lives, and was told since its files are
// what they are. It can't be asked what it runs with.
func (d *daemon) Verify(_ context.Context, committed []reload.File, last reload.Mark) (reload.Mark, error) {
	p, err := d.find()
	if err != nil {
		return reload.Mark{}, fmt.Errorf("keepalived: %w", err)
	}
	defer p.Close()
	if noteOf(p, committed).String() != last.State {
		return reload.Mark{}, hint.Wrap(errors.New("keepalived: this process was not seen to read these files: it was started anew since, or pgbaton keeps no record here"),
			"pgbaton reloads it with the next change, or now with apply -force")
	}
	return reload.Mark{Proof: reload.Sent, How: fmt.Sprintf("process %d lives, and was told", p.PID)}, nil
}
