package pgbouncer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// holdsName begins the application_name of the session by which a pgbaton tells
// others that it holds traffic at a console.
const holdsName = "pgbaton hold"

// Claim is whom others see as the holder. Without it that is the process.
func (d *daemon) Claim(name string) { d.claim = name }

// marked returns a session that tells others that this daemon holds traffic
// there, unless another does already. It ends with its process.
//
// SHOW CLIENTS lists the sessions of the console in the order in which they
// logged in, so each sees the same one first, even of two that came in the same
// second and so have the same connect_time.
func (d *daemon) marked(ctx context.Context, p *post) (*session, error) {
	p.mu.Lock()
	s := p.mark
	p.mu.Unlock()
	if s != nil {
		if _, err := s.run(ctx, "SHOW VERSION"); err == nil {
			return s, nil // it was the first, so it still is
		}
		p.unmark(ctx)
	}
	host, _ := os.Hostname()
	claim := d.claim
	if claim == "" {
		claim = fmt.Sprintf("%d-%04x", os.Getpid(), rand.N(1<<16)) //nolint:gosec // no secret
	}
	name := fmt.Sprintf("%s %s:%s", holdsName, host, claim)
	s, err := p.open(ctx, name)
	if err != nil {
		return nil, err
	}
	rows, err := s.run(ctx, "SHOW CLIENTS")
	if err != nil {
		s.drop()
		return nil, err
	}
	first := ""
	for _, r := range rows {
		if r["database"] == admin && strings.HasPrefix(r["application_name"], holdsName) {
			first = r["application_name"]
			break
		}
	}
	switch {
	case first == "":
		d.log.Warn("pgbouncer does not show who else holds its traffic: see to it that no other pgbaton does", "console", p.String())
	case !strings.HasPrefix(first, name): // application_name_add_host appends to it
		s.drop()
		return nil, hint.Wrap(fmt.Errorf("hold traffic at console %s: %w: %q", p.console, reload.ErrTaken, first),
			"let one pgbaton serve this pgbouncer; the name says its host")
	}
	p.mu.Lock()
	p.mark = s
	p.mu.Unlock()
	return s, nil
}

// unmark ends the session by which this daemon told that it holds.
func (p *post) unmark(ctx context.Context) {
	p.mu.Lock()
	s := p.mark
	p.mark = nil
	p.mu.Unlock()
	if s != nil {
		s.close(ctx)
	}
}
