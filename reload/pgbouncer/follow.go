package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// A reload may be carried out a moment after it was answered.
const (
	lag  = 2 * time.Second
	look = 25 * time.Millisecond
)

// Follow tells every console to reload, and looks whether it did. One that does
// not answer keeps the others from nothing.
func (d *daemon) Follow(ctx context.Context, want []reload.File, _ reload.Mark) (reload.Mark, error) {
	t, err := d.tree(want)
	if err != nil {
		return reload.Mark{}, err
	}
	is := t.settings()
	errs := make([]error, len(d.consoles))
	told := make([]time.Time, len(d.consoles))
	names := make([]string, len(d.consoles))
	var all sync.WaitGroup
	for i, c := range d.consoles {
		names[i] = c.String()
		all.Go(func() { told[i], errs[i] = d.reload(ctx, c.console, is) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return reload.Mark{}, err
	}
	return reload.Mark{
		Proof: reload.Followed, How: "RELOAD over " + strings.Join(names, ", "), Told: slices.MaxFunc(told, time.Time.Compare),
	}, nil
}

// reload reloads one console and looks whether it did. told is when it had answered.
func (d *daemon) reload(ctx context.Context, c console, is settings) (told time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	s, err := c.open(ctx, looks)
	if err != nil {
		return told, err
	}
	defer s.close(ctx)
	if _, err := s.run(ctx, "RELOAD"); err != nil {
		return told, hint.Wrap(err, "pgbouncer's log says more")
	}
	told = time.Now()
	if err := s.follows(ctx, is); err != nil {
		return told, err
	}
	return told, s.listens(ctx, is)
}

// follows waits until the console shows the databases of the config.
func (s *session) follows(ctx context.Context, is settings) error {
	giveUp := time.Now().Add(lag)
	for {
		rows, err := s.run(ctx, "SHOW DATABASES")
		if err != nil {
			return err
		}
		differs := difference(rows, is.databases)
		if differs == "" {
			return nil
		}
		if time.Now().After(giveUp) {
			return hint.Wrap(fmt.Errorf("reload pgbouncer at %s: %s", s.at, differs),
				"see pgbouncer's log, and whether it was started with this config file")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("reload pgbouncer at %s: %s: %w", s.at, differs, context.Cause(ctx))
		case <-time.After(look):
		}
	}
}

// difference says what a SHOW DATABASES has otherwise than the config, or "".
func difference(rows []row, want map[string]database) string {
	have := map[string]database{}
	for _, r := range rows {
		have[r["name"]] = database{host: r["host"], port: r["port"], dbname: r["database"]}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		is, known := have[name]
		if !known {
			return fmt.Sprintf("database %s is not there", name)
		}
		if is != want[name] {
			return fmt.Sprintf("database %s is still at %s, not %s", name, is, want[name])
		}
	}
	return ""
}

func (d database) String() string {
	host := d.host
	if host == "" {
		host = "the unix socket"
	}
	return fmt.Sprintf("%s:%s/%s", host, d.port, d.dbname)
}

// listens finds out a changed port, which a reload ignores.
func (s *session) listens(ctx context.Context, is settings) error {
	want, set := is.pgbouncer["listen_port"]
	if !set {
		return nil
	}
	rows, err := s.run(ctx, "SHOW CONFIG")
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r["key"] == "listen_port" && r["value"] != want.value {
			return hint.Wrap(fmt.Errorf("reload pgbouncer at %s: it listens on port %s, and %s wants %s",
				s.at, r["value"], want.at, want.value), "restart pgbouncer: a reload does not move its port")
		}
	}
	return nil
}
