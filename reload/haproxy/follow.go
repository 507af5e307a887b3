package haproxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// How long a master may refuse connections before it counts as gone, and how
// often it is asked.
const (
	reloading = 3 * time.Second
	look      = 10 * time.Millisecond
)

// Follow reloads HAProxy and, over the master socket, looks whether it did. The
// mark's State stays empty: it is where the structure that was last followed
// goes, once a moved address alone is told to the workers without a reload.
func (d *daemon) Follow(ctx context.Context, _ []reload.File, _ reload.Mark) (reload.Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if d.master.path == "" {
		return d.signal(ctx)
	}
	before, err := d.first(ctx)
	if err != nil {
		return reload.Mark{}, d.master.unreachable(err)
	}
	return d.reload(ctx, before)
}

// first asks what runs before the reload. Somebody else's reload may be under
// way, so that the socket is closed for a moment.
func (d *daemon) first(ctx context.Context) (processes, error) {
	giveUp := time.Now().Add(reloading)
	for {
		p, err := d.master.show(ctx)
		if err == nil || !passing(err) || time.Now().After(giveUp) {
			return p, err
		}
		if !pause(ctx) {
			return processes{}, err
		}
	}
}

// reload asks for a reload until one is counted that began after before was
// told, and says how it went.
func (d *daemon) reload(ctx context.Context, before processes) (reload.Mark, error) {
	asked := false
	last := errors.New("no reload is counted")
	for {
		if !asked {
			answer, err := d.master.ask(ctx, "reload")
			switch {
			case strings.Contains(answer, "Success=0"):
				return reload.Mark{}, failed(tidy(strings.Replace(answer, "Success=0", "", 1)))
			case err == nil || answer != "":
				asked = true
			case passing(err):
				last = err // a reload under way: look whether it counts, else ask again
			default:
				return reload.Mark{}, d.master.unreachable(err)
			}
		}
		now, err := d.master.show(ctx)
		switch {
		case err == nil && now.master != before.master:
			return reload.Mark{}, hint.Wrap(fmt.Errorf("reload haproxy: its master %d has become %d", before.master, now.master),
				"haproxy was restarted meanwhile; pgbaton asks it again")
		case err == nil && now.reloads > before.reloads:
			if now.failed > 0 {
				return reload.Mark{}, failed("its new worker did not start")
			}
			if pid := now.fresh(before); pid != 0 {
				return reload.Mark{Proof: reload.Followed, How: fmt.Sprintf("reload %d over %s: worker %d", now.reloads, d.master.path, pid)}, nil
			}
			last = errors.New("no new worker is there")
		case err != nil && !passing(err) && ctx.Err() == nil:
			return reload.Mark{}, d.master.unreachable(err)
		}
		if !pause(ctx) {
			return reload.Mark{}, hint.Wrap(fmt.Errorf("reload haproxy over %s: %w: %w", d.master.path, last, context.Cause(ctx)),
				"haproxy's log says more (journalctl -u haproxy)")
		}
	}
}

func failed(why string) error {
	return hint.Wrap(fmt.Errorf("reload haproxy: the reload failed, the old worker goes on: %s", why),
		"haproxy's log says why (journalctl -u haproxy); what a check cannot see is an address in use (ss -ltnp)")
}

// pause waits between two looks; it is false if ctx ended.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(look):
		return true
	}
}
