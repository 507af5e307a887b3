package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// Cut ends what is still linked to a client at a server left: the client waits
// for an answer that does not come, and no RELOAD frees it. What is not linked
// pgbouncer closes itself, and gives to nobody.
//
// A database that is meant to lead there still, as one for reading may, is
// spared. Ways that would hurt those who wait are not taken while traffic is
// held: Release takes them, and the answer says so.
func (d *daemon) Cut(ctx context.Context, left []reload.Address) (string, error) {
	hows := make([]string, len(d.consoles))
	err := d.each(ctx, func(ctx context.Context, i int, p *post) error {
		err := p.with(ctx, func(s *session) (err error) {
			hows[i], err = d.cutHere(ctx, p, s, left)
			return err
		})
		if absent := new(absentError); errors.As(err, &absent) {
			return nil // with it all that hung has gone
		}
		return err
	})
	hows = slices.DeleteFunc(hows, func(how string) bool { return how == "" })
	return strings.Join(hows, "; "), err
}

func (d *daemon) cutHere(ctx context.Context, p *post, s *session, left []reload.Address) (string, error) {
	// First of all, for it lets the new server be tried at once.
	if err := p.hurry(ctx, s); err != nil {
		return "", err
	}
	p.mu.Lock()
	p.later = nil
	p.mu.Unlock()
	from, unknown := s.resolve(ctx, left)
	c := &cut{post: p, session: s, from: from, left: left, spare: p.holds()}
	how, err := c.all(ctx, d.ways)
	if errors.Is(err, errSpared) {
		p.mu.Lock()
		p.later = c
		p.mu.Unlock()
		how = join(how, err.Error())
		err = nil
	}
	return how, errors.Join(err, unknown, p.settle(ctx, s, nil, restore))
}

// cutLater does what Cut did not while traffic was held.
func (d *daemon) cutLater(ctx context.Context, p *post, s *session) error {
	p.mu.Lock()
	c := p.later
	p.later = nil
	p.mu.Unlock()
	if c == nil {
		return nil
	}
	c = &cut{post: p, session: s, from: c.from, left: c.left, spare: p.holds()}
	if err := p.awaitServed(ctx, s, nil, soon); err != nil {
		return err
	}
	how, err := c.all(ctx, d.ways)
	if errors.Is(err, errSpared) { // only a part was released
		p.mu.Lock()
		p.later = c
		p.mu.Unlock()
		return nil
	}
	if how != "" {
		d.log.Info("cut what hung", "console", p.String(), "how", how)
	}
	return err
}

// cut is one Cut at one console.
type cut struct {
	*post
	*session
	from  []netip.AddrPort // where what hangs leads to
	left  []reload.Address // the same as configs name it
	spare bool             // those who wait must not be hurt
}

// errSpared says that only such a way was left as would hurt those who wait.
var errSpared = errors.New("to be cut once traffic is released")

// errCannot is in the chain of the error of a way that does not work here, so
// that the next one is tried.
var errCannot = errors.New("not possible here")

// all cuts what hangs, one way after the other.
func (c *cut) all(ctx context.Context, ways []way) (string, error) {
	how := ""
	var failed []error
	for _, w := range ways {
		hung, err := c.hung(ctx)
		if err != nil {
			return how, err
		}
		if len(hung) == 0 {
			return how, nil
		}
		if w.hurts && c.spare {
			return how, fmt.Errorf("%s: %w", c.count(hung, "left hanging %s to"), errSpared)
		}
		err = w.cut(c, ctx, hung)
		if err != nil && !errors.Is(err, errCannot) {
			return how, err
		}
		if err != nil {
			failed = append(failed, err)
		}
		within := w.within
		if err != nil {
			within = often // some may have gone all the same
		}
		rest, err := c.gone(ctx, hung, within)
		if err != nil {
			return how, err
		}
		if done := without(hung, rest); len(done) > 0 {
			how = join(how, c.count(done, w.did))
		}
	}
	hung, err := c.hung(ctx)
	if err != nil || len(hung) == 0 {
		return how, err
	}
	return how, hint.Wrap(fmt.Errorf("cut at console %s: %s: %w", c.console, c.count(hung, "still hanging %s to"), errors.Join(failed...)),
		"give pgbaton the capability CAP_NET_ADMIN; KILL and RESUME the databases by hand")
}

// hung is what SHOW SERVERS has of connections to the servers left that a
// client waits for.
func (c *cut) hung(ctx context.Context) ([]row, error) {
	servers, err := c.run(ctx, "SHOW SERVERS")
	if err != nil {
		return nil, err
	}
	there := slices.DeleteFunc(servers, func(r row) bool { return r["link"] == "" || !c.leadsBack(r) })
	if len(there) == 0 {
		return nil, nil
	}
	databases, err := c.run(ctx, "SHOW DATABASES")
	if err != nil {
		return nil, err
	}
	stays := map[string]bool{}
	for _, r := range databases {
		stays[r["name"]] = leads(r["host"], r["port"], c.left)
	}
	return slices.DeleteFunc(there, func(r row) bool { return r["close_needed"] != "1" && stays[r["database"]] }), nil
}

// gone waits until none of these connections is there any more, or long enough,
// and returns those that are.
func (c *cut) gone(ctx context.Context, hung []row, within time.Duration) ([]row, error) {
	for giveUp := time.Now().Add(within); ; {
		now, err := c.hung(ctx)
		if err != nil {
			return nil, err
		}
		rest := without(hung, without(hung, now))
		if len(rest) == 0 || time.Now().After(giveUp) {
			return rest, nil
		}
		if err := wait(ctx, glance); err != nil {
			return nil, fmt.Errorf("cut at console %s: %w", c.console, err)
		}
	}
}

// without is all without some.
func without(all, some []row) []row {
	key := func(r row) string { return r["ptr"] + " " + r["local_addr"] + " " + r["local_port"] }
	drop := map[string]bool{}
	for _, r := range some {
		drop[key(r)] = true
	}
	return slices.DeleteFunc(slices.Clone(all), func(r row) bool { return drop[key(r)] })
}

// count says for a person how many connections to where: "destroyed 3
// connections to 127.0.0.1:5432".
func (c *cut) count(rows []row, what string) string {
	to := map[string]bool{}
	for _, r := range rows {
		to[net.JoinHostPort(r["addr"], r["port"])] = true
	}
	names := make([]string, 0, len(to))
	for name := range to {
		names = append(names, name)
	}
	slices.Sort(names)
	many := fmt.Sprintf("%d connections", len(rows))
	if len(rows) == 1 {
		many = "1 connection"
	}
	return fmt.Sprintf(what, many) + " " + strings.Join(names, ", ")
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ", " + b
}
