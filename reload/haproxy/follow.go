package haproxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// Follow brings HAProxy to the committed files. Servers that only have another
// address are moved at once, in the workers as they run; anything else takes a
// reload, after those moves.
func (d *daemon) Follow(ctx context.Context, want []reload.File, last reload.Mark) (reload.Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if d.master.path == "" {
		return d.signal(ctx)
	}
	before, err := d.first(ctx)
	if err != nil {
		return reload.Mark{}, d.master.unreachable(err)
	}
	s := parse(want)
	known, runs := recall(last, before)
	moved, all, err := d.move(ctx, before, s.servers, known)
	if err != nil {
		d.log.Warn("haproxy's servers could not be moved in the worker that runs: it is reloaded", "error", err)
	}
	if runs && known.Rest == s.rest && all && err == nil {
		if mark, ok := d.stayed(ctx, before, s, moved); ok {
			return mark, nil
		}
	}
	if moved != "" {
		d.log.Info("haproxy's servers are moved, a reload follows", "moves", moved)
	}
	if err := d.free(ctx, before, s.binds); err != nil {
		return reload.Mark{}, err
	}
	mark, after, err := d.reload(ctx, before)
	if err != nil {
		return reload.Mark{}, err
	}
	mark.Told = time.Now()
	if moved != "" {
		mark.How = moved + ", then " + mark.How
	}
	fresh := noteOf(after, s)
	mark.State = fresh.String()
	return mark, errors.Join(d.holdAgain(ctx), d.settle(ctx, after, s.servers, fresh))
}

// move tells the workers that take sessions what their servers are to be. It
// says what it did, and whether they have all of it now. Names come last: to
// look one up may take a while, and the leader's address must not wait for it.
func (d *daemon) move(ctx context.Context, p processes, servers []server, known note) (moved string, all bool, err error) {
	all = true
	var did []string
	for _, some := range [][]server{only(servers, server.literal), only(servers, server.named)} {
		if len(some) == 0 {
			continue
		}
		want, says := resolve(ctx, some), ""
		for pid := range p.workers {
			m, every, err := d.moveIn(ctx, pid, want, known)
			if err != nil {
				return strings.Join(did, ", "), false, err
			}
			says, all = sayAll(m), all && every
		}
		if says != "" {
			did = append(did, says)
		}
	}
	return strings.Join(did, ", "), all, nil
}

func (d *daemon) moveIn(ctx context.Context, worker int, want []wanted, known note) (moves []move, all bool, err error) {
	c, err := d.master.talk(ctx, worker)
	if err != nil {
		return nil, false, err
	}
	defer c.Close()
	d.moving.Lock()
	defer d.moving.Unlock()
	live, err := c.servers()
	if err != nil {
		return nil, false, err
	}
	moves, all = plan(want, live, known)
	if len(moves) == 0 {
		return nil, all, nil
	}
	return moves, all, c.tell(moves, want, known)
}

// stayed is the mark of a worker that was told everything, if it is still the
// one that takes sessions.
func (d *daemon) stayed(ctx context.Context, before processes, s structure, moved string) (reload.Mark, bool) {
	told := time.Now()
	after, err := d.master.show(ctx)
	if err != nil || after.reloads != before.reloads || after.master != before.master || !maps.Equal(after.workers, before.workers) {
		return reload.Mark{}, false
	}
	if moved == "" {
		moved = "nothing to change"
	}
	pid, _, _ := after.current()
	return reload.Mark{
		Proof: reload.Followed, How: fmt.Sprintf("%s over %s: worker %d", moved, d.master.path, pid), State: noteOf(after, s).String(), Told: told,
	}, true
}

// settle looks whether a fresh worker has the addresses of its config. A
// server-state file gives it those of before.
func (d *daemon) settle(ctx context.Context, p processes, servers []server, known note) error {
	literal := only(servers, server.literal)
	moved, _, err := d.move(ctx, p, literal, note{Servers: known.Servers})
	for err != nil && passing(err) && pause(ctx) {
		if p, err = d.first(ctx); err == nil {
			moved, _, err = d.move(ctx, p, literal, note{Servers: known.Servers})
		}
	}
	if err != nil {
		return hint.Wrap(fmt.Errorf("look at haproxy's servers after its reload: %w", err), "pgbaton tries again")
	}
	if moved != "" {
		d.log.Warn("haproxy came out of its reload with other servers than its config has", "put_right", moved)
	}
	return nil
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
func (d *daemon) reload(ctx context.Context, before processes) (reload.Mark, processes, error) {
	asked := false
	last := errors.New("no reload is counted")
	for {
		if !asked {
			answer, err := d.master.ask(ctx, "reload")
			switch {
			case strings.Contains(answer, "Success=0"):
				return reload.Mark{}, processes{}, failed(tidy(strings.Replace(answer, "Success=0", "", 1)))
			case err == nil || answer != "":
				asked = true
			case passing(err):
				last = err // a reload under way: look whether it counts, else ask again
			default:
				return reload.Mark{}, processes{}, d.master.unreachable(err)
			}
		}
		now, err := d.master.show(ctx)
		switch {
		case err == nil && now.master != before.master:
			return reload.Mark{}, processes{}, hint.Wrap(fmt.Errorf("reload haproxy: its master %d has become %d", before.master, now.master),
				"haproxy was restarted meanwhile; pgbaton asks it again")
		case err == nil && now.reloads > before.reloads:
			if now.failed > 0 {
				return reload.Mark{}, processes{}, failed("its new worker did not start")
			}
			if pid := now.fresh(before); pid != 0 {
				return reload.Mark{Proof: reload.Followed, How: fmt.Sprintf("reload %d over %s: worker %d", now.reloads, d.master.path, pid)}, now, nil
			}
			last = errors.New("no new worker is there")
		case err != nil && !passing(err) && ctx.Err() == nil:
			return reload.Mark{}, processes{}, d.master.unreachable(err)
		}
		if !pause(ctx) {
			return reload.Mark{}, processes{}, hint.Wrap(fmt.Errorf("reload haproxy over %s: %w: %w", d.master.path, last, context.Cause(ctx)),
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
