package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// Verify implements reload.Verifier: every console shows the databases of the files, and
// the port.
func (d *daemon) Verify(ctx context.Context, committed []reload.File, _ reload.Mark) (reload.Mark, error) {
	t, err := d.tree(committed)
	if err != nil {
		return reload.Mark{}, err
	}
	is := t.settings()
	var errs []error
	var names, paused []string
	for _, c := range d.consoles {
		names = append(names, c.String())
		waiting, err := d.verify(ctx, c.console, is)
		errs, paused = append(errs, err), append(paused, waiting...)
	}
	how := "SHOW DATABASES over " + strings.Join(names, ", ")
	if len(paused) > 0 {
		how += "; their clients wait, for somebody's RESUME: " + strings.Join(paused, ", ")
	}
	return reload.Mark{Proof: reload.Followed, How: how}, errors.Join(errs...)
}

// verify looks at one console. paused are the databases whose clients wait.
func (d *daemon) verify(ctx context.Context, c console, is settings) (paused []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	s, err := c.open(ctx, looks)
	if err != nil {
		return nil, err
	}
	defer s.close(ctx)
	rows, err := s.run(ctx, "SHOW DATABASES")
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r["paused"] == "1" {
			paused = append(paused, r["name"])
		}
	}
	differs := difference(rows, is.databases)
	if differs == "" {
		differs = strays(rows, is)
	}
	if differs != "" {
		return nil, hint.Wrap(fmt.Errorf("pgbouncer at %s: %s", s.at, differs), "see its log, and whether it was started with this config file")
	}
	if err := s.listens(ctx, is); err != nil {
		return nil, err
	}
	return paused, s.moved(ctx, rows)
}

// strays says what of the databases that the fallback made leads elsewhere than it, or "".
func strays(rows []row, is settings) string {
	for _, r := range rows {
		_, named := is.databases[r["name"]]
		if have := (database{host: r["host"], port: r["port"]}); is.fallback && !named && r["name"] != admin && have != (database{host: is.other.host, port: is.other.port}) {
			return fmt.Sprintf("database %s is still at %s:%s, not %s:%s", r["name"], have.host, have.port, is.other.host, is.other.port)
		}
	}
	return ""
}

// moved says whether server connections are left that a change has yet to close, and that
// lead where their databases led before. A database that is known by a name, or by several
// hosts, is told by its port alone.
func (s *session) moved(ctx context.Context, databases []row) error {
	rows, err := s.run(ctx, "SHOW SERVERS")
	if err != nil {
		return err
	}
	leads := map[string]row{}
	for _, d := range databases {
		leads[d["name"]] = d
	}
	left := map[string]int{}
	for _, r := range rows {
		d := leads[r["database"]]
		_, err := netip.ParseAddr(d["host"])
		if r["close_needed"] == "1" && (r["port"] != d["port"] || err == nil && !sameHost(r["addr"], d["host"])) {
			left[r["database"]+" at "+r["addr"]+":"+r["port"]]++
		}
	}
	if len(left) == 0 {
		return nil
	}
	first := slices.Min(slices.Collect(maps.Keys(left)))
	return hint.Wrap(fmt.Errorf("pgbouncer at %s: %d connections of database %s are still open, and lead where it led before", s.at, left[first], first),
		"a session pool keeps them until its clients leave: server_fast_close = 1")
}
