package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// looks names the sessions that hold nothing.
const looks = "pgbaton"

// admin is the database that a console itself is.
const admin = "pgbouncer"

// post is a console with what is kept of it between calls. What is kept only
// saves work, or spares an operator's PAUSE: a process that starts without it
// still releases what the last one held.
type post struct {
	console
	turn chan struct{} // one Hold or Release at a time; it holds one token

	mu      sync.Mutex
	idle    *session        // left open for the next who asks
	mark    *session        // tells other pgbatons that this one holds
	held    map[string]bool // the databases paused from here
	all     bool            // all are, by one PAUSE from here
	server  int32           // the pgbouncer that was told so; 0 is unknown
	doubt   bool            // whether all still are has to be asked
	foreign bool            // all are, by somebody else's
	retry   string          // server_login_retry as it was before it was set to 0
	later   *cut            // what to cut as soon as nothing is held
	other   string          // who else told of a hold when it was asked last
	asked   time.Time       // when that was
}

func newPost(at console) *post {
	return &post{console: at, turn: make(chan struct{}, 1), held: map[string]bool{}}
}

// with runs f over the session left open, or a new one. What broke meanwhile is
// noticed only in use, so f may be run twice.
func (p *post) with(ctx context.Context, f func(*session) error) error {
	if s := p.take(); s != nil {
		err := f(s)
		if !s.broken() {
			p.leave(ctx, s)
			return err
		}
		if ctx.Err() != nil {
			return err
		}
	}
	s, err := p.open(ctx, looks)
	if err != nil {
		return err
	}
	err = f(s)
	if !s.broken() {
		p.leave(ctx, s)
	}
	return err
}

func (p *post) take() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.idle
	p.idle = nil
	return s
}

func (p *post) leave(ctx context.Context, s *session) {
	p.mu.Lock()
	spare := p.idle
	p.idle = s
	p.mu.Unlock()
	if spare != nil {
		spare.close(ctx)
	}
}

// begin waits for the turn to hold or release.
func (p *post) begin(ctx context.Context) (end func(), err error) {
	select {
	case p.turn <- struct{}{}:
		return func() { <-p.turn }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for console %s: %w", p.console, context.Cause(ctx))
	}
}

// holds says whether anything is held from here.
func (p *post) holds() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all || len(p.held) > 0
}

// holdsAll says whether all is held from here by one PAUSE.
func (p *post) holdsAll() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}

// meet looks whether a session leads to the pgbouncer that was told to pause. Another one
// knows nothing of that: what is paused there is not paused from here.
func (p *post) meet(s *session) {
	p.mu.Lock()
	another := p.server != 0 && s.server != 0 && p.server != s.server
	p.mu.Unlock()
	if another {
		p.forget()
	}
}

// name is what a database, or with "" all of a console, is called outside.
func (p *post) name(database string) string {
	if database == "" {
		return p.String()
	}
	return p.String() + "/" + database
}

// named sorts names by the consoles they belong to.
func (d *daemon) named(names []string) (map[*post]request, error) {
	wanted := map[*post]request{}
	var errs []error
	for _, name := range names {
		var at *post
		database := ""
		for _, p := range d.consoles {
			rest, ok := strings.CutPrefix(name, p.String())
			if !ok || rest != "" && rest[0] != '/' || at != nil && len(at.String()) > len(p.String()) {
				continue
			}
			at, database = p, strings.TrimPrefix(rest, "/")
		}
		if at == nil {
			errs = append(errs, hint.Wrap(fmt.Errorf("find console of %q: it is not configured", name),
				"RESUME it by hand if it is paused"))
			continue
		}
		w := wanted[at]
		if database == "" {
			w.all = true
		} else {
			w.databases = append(w.databases, database)
		}
		wanted[at] = w
	}
	return wanted, errors.Join(errs...)
}

// request is what to hold or release at one console.
type request struct {
	databases []string
	all       bool
}

// each runs f for every console at once, each within the daemon's timeout.
func (d *daemon) each(ctx context.Context, f func(context.Context, int, *post) error) error {
	errs := make([]error, len(d.consoles))
	var all sync.WaitGroup
	for i, p := range d.consoles {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, d.timeout)
			defer cancel()
			errs[i] = f(ctx, i, p)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// Close ends the sessions that are kept open. What is held stays held, but
// another pgbaton may then hold there.
func (d *daemon) Close() error {
	for _, p := range d.consoles {
		p.mu.Lock()
		open := []*session{p.idle, p.mark}
		p.idle, p.mark = nil, nil
		p.mu.Unlock()
		for _, s := range open {
			if s != nil {
				s.drop()
			}
		}
	}
	return nil
}
