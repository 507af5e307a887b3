package haproxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// How often Cut looks for sessions that are between two attempts to connect, and
// how long it waits for them: HAProxy's pause is a second, and without `option
// redispatch 1` the next attempt goes to the old address.
const (
	again     = 100 * time.Millisecond
	redialing = 1500 * time.Millisecond
)

// Cut ends the sessions to the servers at the addresses left, in all workers:
// those of before a reload as well, which check nobody. A session is spared if
// its own slot still has that address, as that of a leader which has become a
// replica and serves reads.
//
// Without a master socket nothing can be cut, and that is no error: a target
// that could never be in sync would be worse than a session that has to notice
// by itself.
func (d *daemon) Cut(ctx context.Context, left []reload.Address) (string, error) {
	if d.master.path == "" || len(left) == 0 {
		return "", nil
	}
	return d.cut(ctx, left, redialing)
}

// Evict ends the sessions to the leader of before, whose slot is held by now.
// Those that wait for the next one are none of them.
func (d *reachable) Evict(ctx context.Context, leader []reload.Address) (string, error) {
	return d.cut(ctx, leader, 0)
}

// cut ends sessions to the servers at the addresses left until there are none.
// Those that are between two attempts to connect are waited for, but not for
// longer than patience.
func (d *daemon) cut(ctx context.Context, left []reload.Address, patience time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	c := cut{daemon: d, ended: map[int]int{}, left: d.leftAt(ctx, left)}
	last := errors.New("not all were looked at")
	for begun := time.Now(); ; {
		hangs, waits, err := c.round(ctx)
		wait := look // what was ended is gone in a moment, and so is a reload under way
		switch {
		case err == nil && hangs == 0 && (waits == 0 || time.Since(begun) > patience):
			return c.how(), nil
		case err == nil && hangs == 0:
			wait = again
		case err == nil:
			last = fmt.Errorf("%d are left", hangs)
		case passing(err):
			last = err
		case ctx.Err() == nil:
			return c.how(), d.master.unreachable(fmt.Errorf("cut sessions: %w", err))
		}
		select {
		case <-ctx.Done():
			return c.how(), hint.Wrap(fmt.Errorf("cut haproxy's sessions: %w: %w", last, context.Cause(ctx)),
				"haproxy may be overloaded, or reload all the time; the sessions end when their server does")
		case <-time.After(wait):
		}
	}
}

// cut is one Cut under way.
type cut struct {
	daemon *daemon
	left   []netip.AddrPort
	today  map[string]netip.AddrPort // where each server of today is
	ended  map[int]int               // worker → how many sessions
}

// round ends what hangs in all workers. It says how many did, and how many
// sessions are about to connect anew.
func (c *cut) round(ctx context.Context) (hangs, waits int, err error) {
	p, err := c.daemon.first(ctx)
	if err != nil {
		return 0, 0, err
	}
	if c.today, err = c.daemon.today(ctx, p); err != nil {
		return 0, 0, err
	}
	for pid := range p.workers {
		h, w, err := c.worker(ctx, pid, true)
		if err != nil {
			return 0, 0, err
		}
		hangs, waits = hangs+h, waits+w
	}
	for _, pid := range p.old {
		h, w, err := c.worker(ctx, pid, false)
		if err != nil && c.daemon.runs(ctx, pid) {
			return 0, 0, err
		}
		hangs, waits = hangs+h, waits+w
	}
	return hangs, waits, nil
}

// worker ends what hangs in one. One that grows gets new clients all the time,
// so that each session is looked at once more.
func (c *cut) worker(ctx context.Context, pid int, grows bool) (hangs, waits int, err error) {
	talk, err := c.daemon.master.talk(ctx, pid)
	if err != nil {
		return 0, 0, err
	}
	defer talk.Close()
	var found []session
	err = talk.sessions(func(s session) {
		switch {
		case c.hangs(s):
			found = append(found, s)
		case s.again && !s.addr.IsValid():
			waits++
		}
	})
	if err != nil {
		return 0, 0, fmt.Errorf("list those of worker %d: %w", pid, err)
	}
	for _, s := range found {
		if grows {
			same, err := talk.is(s)
			if err != nil {
				return 0, 0, err
			}
			if !same {
				continue
			}
		}
		answer, err := talk.ask("shutdown session " + s.pointer)
		if err != nil {
			return 0, 0, err
		}
		if answer == "" {
			c.ended[pid]++
		} else if !strings.Contains(answer, "No such session") {
			return 0, 0, fmt.Errorf("end one of worker %d: %s", pid, tidy(answer))
		}
	}
	return len(found), waits, nil
}

// hangs says whether a session leads to a server that was left.
func (c *cut) hangs(s session) bool {
	return s.addr.IsValid() && slices.Contains(c.left, s.addr) && c.today[s.server] != s.addr
}

// how is what was cut, for a person.
func (c *cut) how() string {
	var all []string
	for pid, n := range c.ended {
		all = append(all, fmt.Sprintf("%d sessions of worker %d", n, pid))
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return "ended " + strings.Join(all, ", ")
}

// today are the addresses of the servers that new sessions get.
func (d *daemon) today(ctx context.Context, p processes) (map[string]netip.AddrPort, error) {
	today := map[string]netip.AddrPort{}
	for pid := range p.workers {
		c, err := d.master.talk(ctx, pid)
		if err != nil {
			return nil, err
		}
		live, err := c.servers()
		c.Close()
		if err != nil {
			return nil, err
		}
		for name, s := range live {
			today[name] = s.at()
		}
	}
	if len(today) == 0 {
		return nil, errors.New("haproxy has no servers")
	}
	return today, nil
}

// leftAt looks up the names of servers that were left.
func (d *daemon) leftAt(ctx context.Context, left []reload.Address) []netip.AddrPort {
	var all []netip.AddrPort
	for _, l := range left {
		found := d.lookUp(ctx, []reload.Address{l})
		if len(found) == 0 {
			d.log.Warn("haproxy's sessions to a server can't be found: its name leads nowhere", "server", l)
		}
		all = append(all, found...)
	}
	return all
}

// runs says whether a worker is still there: an old one ends with its last
// session.
func (d *daemon) runs(ctx context.Context, worker int) bool {
	p, err := d.master.show(ctx)
	_, takes := p.workers[worker]
	return err != nil || takes || slices.Contains(p.old, worker)
}
