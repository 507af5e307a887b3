package pgbouncer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"
)

const (
	served  = 2 * time.Second        // how long what waited may take to find a server
	restore = time.Second            // how long it may take to put a setting back, even after the caller is gone
	often   = 10 * time.Millisecond  // between two looks at what takes a while
	soon    = 300 * time.Millisecond // what waits for a server that hangs is not waited for longer
)

// Release resumes what names say, at every console that can be reached. One
// where nobody listens holds nothing.
func (d *daemon) Release(ctx context.Context, names []string) error {
	wanted, err := d.named(names)
	return errors.Join(err, d.each(ctx, func(ctx context.Context, _ int, p *post) error {
		w, ok := wanted[p]
		if !ok {
			if !p.holds() {
				p.unmark(ctx)
			}
			return nil
		}
		end, err := p.begin(ctx)
		if err != nil {
			return err
		}
		defer end()
		err = p.with(ctx, func(s *session) error { return d.release(ctx, p, s, w) })
		if absent := new(absentError); errors.As(err, &absent) {
			p.forget()
			err = nil
		}
		if !p.holds() {
			p.unmark(ctx)
		}
		return err
	}))
}

func (d *daemon) release(ctx context.Context, p *post, s *session, w request) error {
	err := p.hurry(ctx, s)
	if s.broken() {
		return err
	}
	errs := []error{err}
	w = p.ours(s, w)
	if w.all && !p.isForeign() {
		err := p.resume(ctx, s, "RESUME")
		if err == nil {
			p.mu.Lock()
			p.all = false
			p.mu.Unlock()
		}
		errs = append(errs, err)
	}
	moved := map[string]bool{}
	for _, database := range w.databases {
		moved[database] = true
		err := p.resume(ctx, s, "RESUME "+quote(database))
		if err == nil {
			p.mu.Lock()
			delete(p.held, database)
			p.mu.Unlock()
		}
		errs = append(errs, err)
	}
	if w.all {
		moved = nil
	}
	errs = append(errs, d.cutLater(ctx, p, s))
	return errors.Join(append(errs, p.settle(ctx, s, moved, served))...)
}

// ours is w without what was paused from here at a pgbouncer that is another one now: if
// it is paused, then by somebody else. What the process before this one held stays in it.
func (p *post) ours(s *session, w request) request {
	p.mu.Lock()
	all, held := p.all, maps.Clone(p.held)
	p.mu.Unlock()
	p.meet(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	w.all = w.all && all == p.all
	w.databases = slices.DeleteFunc(slices.Clone(w.databases), func(name string) bool { return held[name] && !p.held[name] })
	return w
}

// resume lets clients go on; that there is nothing to resume is fine.
func (p *post) resume(ctx context.Context, s *session, command string) error {
	// Each time, for somebody's RELOAD may have undone it.
	if _, err := s.run(ctx, noRetry); err != nil {
		return err
	}
	_, err := s.run(ctx, command)
	if says(err, "not paused", "no such database") {
		return nil
	}
	return err
}

// noRetry is needed where a server failed before: pgbouncer would let its
// clients wait up to 15 s before it tries the next one.
const noRetry = "SET server_login_retry=0"

// hurry sets server_login_retry to 0 and keeps what it was.
func (p *post) hurry(ctx context.Context, s *session) error {
	was, err := s.setting(ctx, "server_login_retry")
	if err != nil {
		return err
	}
	// What is 0 may have been left by a pgbaton that ended before its time.
	if n, err := strconv.ParseFloat(was, 64); err != nil || n > 0 {
		p.mu.Lock()
		p.retry = was
		p.mu.Unlock()
	}
	_, err = s.run(ctx, noRetry)
	return err
}

// settle waits until what waited for these databases, or with nil for any, has
// servers, and undoes hurry.
func (p *post) settle(ctx context.Context, s *session, moved map[string]bool, long time.Duration) error {
	err := p.awaitServed(ctx, s, moved, long)
	// With the caller gone the setting is put back all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restore)
	defer cancel()
	p.mu.Lock()
	was := p.retry
	p.mu.Unlock()
	command := "RELOAD" // the config knows what this process does not
	if was != "" {
		command = "SET server_login_retry='" + was + "'"
	}
	if s.broken() {
		return err
	}
	_, undone := s.run(ctx, command)
	return errors.Join(err, undone)
}

// awaitServed waits until no client waits for the first server of its pool, or
// long enough.
func (p *post) awaitServed(ctx context.Context, s *session, moved map[string]bool, long time.Duration) error {
	for giveUp := time.Now().Add(long); !p.holdsAll(); {
		waits, err := s.waits(ctx, moved)
		if err != nil || !waits || time.Now().After(giveUp) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil // resumed is resumed
		case <-time.After(often):
		}
	}
	return nil
}

// waits says whether clients of these databases wait that are not held, in a
// pool without servers.
func (s *session) waits(ctx context.Context, moved map[string]bool) (bool, error) {
	databases, err := s.run(ctx, "SHOW DATABASES")
	if err != nil {
		return false, err
	}
	pools, err := s.run(ctx, "SHOW POOLS")
	if err != nil {
		return false, err
	}
	paused := map[string]bool{admin: true}
	for _, r := range databases {
		paused[r["name"]] = paused[r["name"]] || r["paused"] == "1"
	}
	for _, r := range pools {
		servers := 0
		for _, state := range []string{"sv_active", "sv_idle", "sv_used", "sv_tested"} {
			n, _ := strconv.Atoi(r[state])
			servers += n
		}
		ours := moved == nil || moved[r["database"]]
		if ours && r["cl_waiting"] != "0" && servers == 0 && !paused[r["database"]] {
			return true, nil
		}
	}
	return false, nil
}

func (p *post) isForeign() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.foreign
}

// forget is for a pgbouncer that is not there any more, and all it held.
func (p *post) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all, p.foreign, p.later, p.server = false, false, nil, 0
	clear(p.held)
}
