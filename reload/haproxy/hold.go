package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgbaton/pgbaton/reload"
)

// reachable is an HAProxy with a master socket: one whose clients can be held.
type reachable struct{ *daemon }

// Traffic names the slots that lead to the leader, as
// "BACKEND/SERVER=ADDRESS,check". A server in maintenance gets no clients. One
// with others beside it in its backend is no slot: those are there to take its
// clients over.
//
// What is held leads nowhere, so a slot of which several pgbatons take care is
// held by the first, and released by it.
func (d *reachable) Traffic(ctx context.Context, leader []reload.Address) (reload.Traffic, error) {
	var t reload.Traffic
	at := d.lookUp(ctx, leader)
	err := d.inWorkers(ctx, func(c *conversation, live map[string]liveServer) error {
		for _, s := range slots(live) {
			if slices.Contains(at, s.addr) && !slices.Contains(t.Flowing, s.String()) {
				t.Flowing = append(t.Flowing, s.String())
			}
		}
		info, err := c.ask("show info")
		if err != nil {
			return err
		}
		t.Clients += number(info, "CurrConns: ")
		t.Limit = number(info, "Maxconn: ")
		return nil
	})
	slices.Sort(t.Flowing)
	return t, err
}

// Hold makes new sessions wait: their server leads where connects are refused,
// and they are tried again as often as its backend's `retries` says. Sessions
// that are there already cannot be held; they end with their server.
func (d *reachable) Hold(ctx context.Context, names []string) error {
	wanted, err := parseSlots(names)
	return errors.Join(err, d.inWorkers(ctx, func(c *conversation, live map[string]liveServer) error {
		var held []slot
		for _, s := range wanted {
			if l := live[s.server]; l.at() == s.addr || l.held() { // else it leads elsewhere by now
				held = append(held, s)
				d.held[s.server] = s.addr
				if err := c.command(s.hold()); err != nil {
					return err
				}
			}
		}
		now, err := c.servers()
		if err != nil {
			return err
		}
		var errs []error
		for _, s := range held {
			switch l := now[s.server]; {
			case !l.held():
				errs = append(errs, fmt.Errorf("%s still leads to %s", s.server, l.at()))
			case !l.up:
				errs = append(errs, fmt.Errorf("%s is down, so its clients are refused", s.server))
			}
		}
		return errors.Join(errs...)
	}))
}

// Release lets them go on: to the leader of before, unless a Follow has moved
// them to the next. Sessions that wait in a worker of before a reload are ended:
// it takes no commands any more.
func (d *reachable) Release(ctx context.Context, names []string) error {
	wanted, err := parseSlots(names)
	// First, so that no reload under way holds it again.
	d.moving.Lock()
	for _, s := range wanted {
		delete(d.held, s.server)
	}
	d.moving.Unlock()
	told := d.inWorkers(ctx, func(c *conversation, live map[string]liveServer) error {
		var errs []error
		for _, s := range wanted {
			if l, there := live[s.server]; there {
				errs = append(errs, c.command(s.release(l)))
			}
		}
		return errors.Join(errs...)
	})
	if errors.Is(told, fs.ErrNotExist) || errors.Is(told, syscall.ECONNREFUSED) {
		return err // where nobody listens, nobody is held
	}
	return errors.Join(err, told, d.endStranded(ctx))
}

// holdAgain holds in a fresh worker, which knows nothing of it, what this process
// holds at this moment.
func (d *daemon) holdAgain(ctx context.Context) error {
	d.moving.Lock()
	none := len(d.held) == 0
	d.moving.Unlock()
	if none {
		return nil
	}
	return d.inWorkers(ctx, func(c *conversation, live map[string]liveServer) error {
		for _, s := range slots(live) {
			if d.held[s.server] == s.addr { // it leads where it did when it was held
				if err := c.command(s.hold()); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// parseSlots makes one slot of all names of a server. If it was held at several
// addresses, the last of them counts.
func parseSlots(names []string) ([]slot, error) {
	var all []slot
	var errs []error
	for _, name := range names {
		s, err := parseSlot(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if i := slices.IndexFunc(all, func(o slot) bool { return o.server == s.server }); i >= 0 {
			all[i] = slot{s.server, s.addr, s.check || all[i].check, s.agent || all[i].agent}
			continue
		}
		all = append(all, s)
	}
	return all, errors.Join(errs...)
}

// inWorkers talks to each worker that takes sessions.
func (d *daemon) inWorkers(ctx context.Context, talk func(*conversation, map[string]liveServer) error) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	p, err := d.first(ctx)
	if err != nil {
		return d.master.unreachable(err)
	}
	one := func(worker int) error {
		c, err := d.master.talk(ctx, worker)
		if err != nil {
			return d.master.unreachable(err)
		}
		defer c.Close()
		d.moving.Lock()
		defer d.moving.Unlock()
		live, err := c.servers()
		if err != nil {
			return fmt.Errorf("ask haproxy's worker %d: %w", worker, err)
		}
		if err := talk(c, live); err != nil {
			return fmt.Errorf("tell haproxy's worker %d: %w", worker, err)
		}
		return nil
	}
	var errs []error
	for worker := range p.workers {
		errs = append(errs, one(worker))
	}
	return errors.Join(errs...)
}

// command tells a worker one thing after the other. What it answers in words is
// no error by itself: callers look.
func (c *conversation) command(commands []string) error {
	for _, command := range commands {
		if _, err := c.ask(command); err != nil {
			return err
		}
	}
	return nil
}

// endStranded ends the sessions of old workers that wait for a server which is
// held there, and always will be.
func (d *daemon) endStranded(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	p, err := d.first(ctx)
	if err != nil {
		return d.master.unreachable(err)
	}
	for _, pid := range p.old {
		for giveUp := time.Now().Add(reloading); ; {
			err := d.endWaiting(ctx, pid)
			if err == nil || !d.runs(ctx, pid) {
				break
			}
			// One that ends meanwhile is listed for a moment more.
			if !passing(err) || time.Now().After(giveUp) || !pause(ctx) {
				return fmt.Errorf("end sessions that wait in haproxy's old worker %d: %w", pid, err)
			}
		}
	}
	return nil
}

func (d *daemon) endWaiting(ctx context.Context, worker int) error {
	c, err := d.master.talk(ctx, worker)
	if err != nil {
		return err
	}
	defer c.Close()
	live, err := c.servers()
	if err != nil {
		return err
	}
	var found []session
	if err := c.sessions(func(s session) {
		if l, there := live[s.server]; there && l.held() && (s.again || s.addr == nowhere) {
			found = append(found, s)
		}
	}); err != nil {
		return err
	}
	for _, s := range found {
		if _, err := c.ask("shutdown session " + s.pointer); err != nil {
			return err
		}
	}
	return nil
}

// number is that after a label at the beginning of a line; 0 if there is none.
func number(text, label string) int {
	for line := range strings.Lines(text) {
		if rest, is := strings.CutPrefix(line, label); is {
			n, _ := strconv.Atoi(strings.TrimSpace(rest))
			return n
		}
	}
	return 0
}
