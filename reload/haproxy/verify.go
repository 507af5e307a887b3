package haproxy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// Verify implements reload.Verifier: the worker that takes sessions is the one that was
// seen to read the files, and its servers are where they say.
func (d *daemon) Verify(ctx context.Context, committed []reload.File, last reload.Mark) (reload.Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if d.master.path == "" {
		p, err := d.process()
		if err != nil {
			return reload.Mark{}, fmt.Errorf("haproxy: %w", err)
		}
		defer p.Close()
		return reload.Mark{Proof: reload.Sent, How: fmt.Sprintf("process %d lives; without a master_socket nobody can be asked", p.PID)}, nil
	}
	is, err := d.master.show(ctx)
	if err != nil {
		return reload.Mark{}, d.master.unreachable(err)
	}
	s := parse(committed)
	known, runs := recall(last, is)
	want := resolve(ctx, s.servers)
	var differs []string
	for pid := range is.workers {
		c, err := d.master.talk(ctx, pid)
		if err != nil {
			return reload.Mark{}, d.master.unreachable(err)
		}
		live, err := c.servers()
		c.Close()
		if err != nil {
			return reload.Mark{}, d.master.unreachable(err)
		}
		moves, _ := plan(want, live, known)
		for _, m := range moves {
			differs = append(differs, fmt.Sprintf("worker %d would have to be told: %s", pid, m.says))
		}
		for _, w := range want {
			if _, there := live[w.name]; !there {
				differs = append(differs, fmt.Sprintf("worker %d has no server %s", pid, w.name))
			}
		}
	}
	if len(differs) > 0 {
		return reload.Mark{}, errors.New("haproxy: " + strings.Join(differs, "; "))
	}
	if !runs || known.Rest != s.rest {
		return reload.Mark{}, hint.Wrap(errors.New("haproxy: its servers are as the files say, but this worker was not seen to read them: somebody else started or reloaded it, or pgbaton keeps no record here"),
			"pgbaton reloads it with the next change, or now with apply -force")
	}
	return reload.Mark{Proof: reload.Followed, How: fmt.Sprintf("show servers of worker %d over %s", known.Worker, d.master.path)}, nil
}
