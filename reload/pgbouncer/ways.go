package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// way is one of the ways to cut connections that hang.
type way struct {
	name   string
	cut    func(c *cut, ctx context.Context, hung []row) error
	did    string        // for a person, with how many
	within time.Duration // after which they are gone if it worked; 0 if it waited itself
	hurts  bool          // those who wait, too
}

// every is all ways, the mildest first.
var every = []way{
	{"destroy", (*cut).destroy, "destroyed %s to", 300 * time.Millisecond, false},
	{"kill_client", (*cut).killClients, "killed the clients of %s to", 300 * time.Millisecond, false},
	{"query_timeout", (*cut).timeOut, "timed out %s to", 0, true},
	{"kill", (*cut).killDatabases, "killed every client of the databases of %s to", 300 * time.Millisecond, true},
}

// destroy closes pgbouncer's sockets from below.
func (c *cut) destroy(_ context.Context, hung []row) error {
	var errs []error
	for _, r := range hung {
		local, err := endpoint(r["local_addr"], r["local_port"])
		if err != nil {
			errs = append(errs, fmt.Errorf("destroy socket to %s: %w", r["addr"], errCannot))
			continue
		}
		remote, err := endpoint(r["addr"], r["port"])
		if err == nil {
			err = destroySocket(local, remote)
		}
		if err != nil {
			// No right to, a kernel without, or a socket of another network namespace.
			errs = append(errs, fmt.Errorf("destroy socket to %s: %w: %w", remote, errCannot, err))
		}
	}
	return errors.Join(errs...)
}

// killClients ends the clients that hang, one by one: pgbouncer from 1.24 on.
func (c *cut) killClients(ctx context.Context, hung []row) error {
	clients, err := c.run(ctx, "SHOW CLIENTS")
	if err != nil {
		return err
	}
	links := map[string]bool{}
	for _, r := range hung {
		links[r["link"]] = true
	}
	for _, r := range clients {
		if !links[r["ptr"]] {
			continue
		}
		if r["id"] == "" {
			return fmt.Errorf("KILL_CLIENT: %w: SHOW CLIENTS has no id", errCannot)
		}
		_, err := c.run(ctx, "KILL_CLIENT "+r["id"])
		switch {
		case says(err, "not found"): // it left meanwhile
		case says(err, ""):
			return fmt.Errorf("%w: %w", errCannot, err)
		case err != nil:
			return err
		}
	}
	return nil
}

// timeOut has pgbouncer end the queries that run for the longest time. The
// setting is for all databases, so all must have led to the same place, as those
// do that now do.
func (c *cut) timeOut(ctx context.Context, hung []row) error {
	databases, err := c.run(ctx, "SHOW DATABASES")
	if err != nil {
		return err
	}
	to := map[string]bool{}
	for _, r := range databases {
		if r["name"] == admin {
			continue
		}
		if leads(r["host"], r["port"], c.left) {
			return fmt.Errorf("SET query_timeout: %w: database %s stays where it was", errCannot, r["name"])
		}
		to[r["host"]+" "+r["port"]] = true
	}
	if len(to) != 1 {
		return fmt.Errorf("SET query_timeout: %w: not every database has moved", errCannot)
	}
	was, err := c.setting(ctx, "query_timeout")
	if err != nil {
		return err
	}
	limit, err := c.limit(ctx, hung)
	if err != nil {
		return err
	}
	if _, err = c.run(ctx, fmt.Sprintf("SET query_timeout=%d", limit)); err != nil {
		return err
	}
	_, err = c.gone(ctx, hung, 2*time.Second)
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), restore)
	defer cancel()
	_, undone := c.run(undo, "SET query_timeout='"+or(was, "0")+"'")
	return errors.Join(err, undone)
}

// limit is a query_timeout in seconds that ends what hangs and as little else as
// can be: just below the age of the youngest that hangs, at least 1. Ages are
// counted on pgbouncer's own clock, whose latest reading is our own request.
func (c *cut) limit(ctx context.Context, hung []row) (int, error) {
	clients, err := c.run(ctx, "SHOW CLIENTS")
	if err != nil {
		return 0, err
	}
	links := map[string]bool{}
	for _, r := range hung {
		links[r["link"]] = true
	}
	var now, youngest time.Time
	for _, r := range clients {
		asked, err := time.Parse("2006-01-02 15:04:05 MST", r["request_time"])
		if err != nil {
			return 1, nil //nolint:nilerr // a version that writes it otherwise: then what is least sure to miss
		}
		if asked.After(now) {
			now = asked
		}
		if links[r["ptr"]] && asked.After(youngest) {
			youngest = asked
		}
	}
	return max(1, int(now.Sub(youngest)/time.Second)-1), nil
}

// killDatabases drops every client of the databases. KILL leaves a database
// paused: it is resumed, unless it was so before.
func (c *cut) killDatabases(ctx context.Context, hung []row) error {
	databases, err := c.run(ctx, "SHOW DATABASES")
	if err != nil {
		return err
	}
	paused := map[string]bool{}
	for _, r := range databases {
		paused[r["name"]] = r["paused"] == "1"
	}
	var errs []error
	killed := map[string]bool{}
	for _, r := range hung {
		name := r["database"]
		if killed[name] {
			continue
		}
		killed[name] = true
		if _, err := c.run(ctx, "KILL "+quote(name)); err != nil {
			if says(err, alreadyPaused) {
				err = hint.Wrap(err, "all is paused: RESUME it first")
			}
			errs = append(errs, err)
			continue
		}
		if !paused[name] {
			// A KILL that is not followed by RESUME keeps everyone out.
			undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), restore)
			errs = append(errs, c.resume(undo, c.session, "RESUME "+quote(name)))
			cancel()
		}
	}
	return errors.Join(errs...)
}
