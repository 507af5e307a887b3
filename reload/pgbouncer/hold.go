package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// patience is for an answer to PAUSE: it comes at once if no transaction is
	// under way, and else when the last one ended, which nobody here waits for.
	patience = 2 * time.Millisecond

	glance     = 2 * time.Millisecond // between two looks at what is a matter of milliseconds
	lateAnswer = 25                   // looks without what was asked for, after which something else is asked
	abroad     = 8                    // how many sessions a Hold opens at once
)

// Hold pauses what names say. A PAUSE blocks its session as long as a
// transaction is under way, but it is in effect before, and stays so when its
// session ends. So none is waited for: SHOW DATABASES tells.
func (d *daemon) Hold(ctx context.Context, names []string) error {
	wanted, err := d.named(names)
	return errors.Join(err, d.each(ctx, func(ctx context.Context, _ int, p *post) error {
		w, ok := wanted[p]
		if !ok {
			return nil
		}
		end, err := p.begin(ctx)
		if err != nil {
			return err
		}
		defer end()
		return d.hold(ctx, p, w)
	}))
}

func (d *daemon) hold(ctx context.Context, p *post, w request) error {
	s, err := d.marked(ctx, p)
	if err != nil {
		return err
	}
	p.meet(s)
	p.mu.Lock()
	p.server = s.server
	p.mu.Unlock()
	err = p.pause(ctx, s, w.databases)
	if w.all {
		// Last, for while all is paused no PAUSE of one is taken.
		err = errors.Join(err, p.pauseAll(ctx, s))
	}
	if !p.holds() {
		p.unmark(ctx)
	}
	return err
}

// pause pauses databases and returns when all of them are seen to be.
func (p *post) pause(ctx context.Context, s *session, databases []string) error {
	if len(databases) == 0 {
		return nil
	}
	var (
		all    sync.WaitGroup
		slots  = make(chan struct{}, abroad)
		spare  = make(chan *session, abroad)
		mu     sync.Mutex
		errs   []error
		open   []*session
		wanted = map[string]bool{}
	)
	one := func(name string) (paused bool, err error) {
		var via *session
		select {
		case via = <-spare:
		default:
			if via, err = p.open(ctx, looks); err != nil {
				return false, err
			}
			mu.Lock()
			open = append(open, via)
			mu.Unlock()
		}
		answered, err := via.tell(ctx, "PAUSE "+quote(name), patience)
		if answered {
			spare <- via // as many places as slots
		}
		if says(err, alreadyPaused, "no such database") {
			return false, nil // held by a PAUSE of all, or not there any more
		}
		return err == nil, err
	}
	for _, name := range databases {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			paused, err := one(name)
			mu.Lock()
			defer mu.Unlock()
			wanted[name] = paused
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	all.Wait()
	errs = append(errs, p.awaitPaused(ctx, s, wanted))
	// Only now: a console that has not read a PAUSE yet may find the session's end first.
	for _, via := range open {
		via.drop()
	}
	return errors.Join(errs...)
}

// awaitPaused waits until SHOW DATABASES has the wanted ones as paused. It never will if all
// was paused by one PAUSE before: the answer that says so may come late.
func (p *post) awaitPaused(ctx context.Context, s *session, wanted map[string]bool) error {
	for looked := 1; ; looked++ {
		rows, err := s.run(ctx, "SHOW DATABASES")
		if err != nil {
			return err
		}
		missing := ""
		p.mu.Lock()
		for _, r := range rows {
			name := r["name"]
			switch {
			case !wanted[name]:
			case r["paused"] == "1":
				p.held[name] = true
			default:
				missing = name
			}
		}
		p.mu.Unlock()
		if missing == "" {
			return nil
		}
		if looked%lateAnswer == 0 {
			if all, err := p.ask(ctx, s); err != nil || all {
				return err
			}
		}
		if err := wait(ctx, glance); err != nil {
			return fmt.Errorf("pause database %s at console %s: %w", missing, p.console, err)
		}
	}
}

// pauseAll pauses what there is and what is yet to come.
func (p *post) pauseAll(ctx context.Context, s *session) error {
	via, err := p.open(ctx, looks)
	if err != nil {
		return err
	}
	defer via.drop()
	_, err = via.tell(ctx, "PAUSE", patience)
	if says(err, alreadyPaused) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.foreign = !p.all
		return nil
	}
	if err != nil {
		return err
	}
	for {
		paused, err := p.ask(ctx, s)
		if err != nil {
			return err
		}
		if paused {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.all, p.foreign = true, false
			return nil
		}
		if err := wait(ctx, glance); err != nil {
			return fmt.Errorf("pause console %s: %w", p.console, err)
		}
	}
}

// wait is a pause that ends with ctx.
func wait(ctx context.Context, long time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(long):
		return nil
	}
}
