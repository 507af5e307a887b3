package pgbouncer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

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
	name := d.holds()
	s, err := p.open(ctx, name)
	if err != nil {
		return nil, err
	}
	first, err := holder(ctx, s)
	if err == nil && first != "" && !strings.HasPrefix(first, name) {
		err = p.taken(first)
	}
	if err != nil {
		s.drop()
		return nil, err
	}
	if first == "" {
		d.log.Warn("pgbouncer does not show who else holds its traffic: see to it that no other pgbaton does", "console", p.String())
	}
	p.mu.Lock()
	p.mark = s
	p.mu.Unlock()
	return s, nil
}

// holds is the application_name by which this daemon tells that it holds. To what
// others see, application_name_add_host appends.
func (d *daemon) holds() string {
	host, _ := os.Hostname()
	claim := d.claim
	if claim == "" {
		claim = fmt.Sprintf("%d-%04x", os.Getpid(), rand.N(1<<16)) //nolint:gosec // no secret
	}
	return fmt.Sprintf("%s %s:%s", holdsName, host, claim)
}

// holder is the first session that tells of a hold, "" if there is none.
func holder(ctx context.Context, s *session) (string, error) {
	rows, err := s.run(ctx, "SHOW CLIENTS")
	if err != nil {
		return "", err
	}
	for _, r := range rows {
		if r["database"] == admin && strings.HasPrefix(r["application_name"], holdsName) {
			return r["application_name"], nil
		}
	}
	return "", nil
}

// free returns an error if what is paused at the console may be another pgbaton's, as
// one is marked there, and none if it can only be an operator's.
func (d *daemon) free(ctx context.Context, p *post, s *session) error {
	p.mu.Lock()
	marked, by, known := p.mark != nil, p.other, time.Since(p.asked) < again
	p.mu.Unlock()
	if marked {
		return nil // no other can be
	}
	if !known {
		var err error
		if by, err = holder(ctx, s); err != nil {
			return err
		}
		p.mu.Lock()
		p.other, p.asked = by, time.Now()
		p.mu.Unlock()
	}
	if by == "" || d.claim != "" && strings.HasPrefix(by, d.holds()) {
		return nil
	}
	return p.taken(by)
}

// again is how long an answer of free stands: SHOW CLIENTS is as long as there are
// clients.
const again = time.Second

func (p *post) taken(by string) error {
	return hint.Wrap(fmt.Errorf("hold traffic at console %s: %w: %q", p.console, reload.ErrTaken, by),
		"let one pgbaton serve this pgbouncer; the name says its host")
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
