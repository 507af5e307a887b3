package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pgbaton/pgbaton/reload"
)

// Traffic names the databases that lead to the leader and flow, as
// "CONSOLE/DATABASE". "CONSOLE" alone is among them if all that pgbouncer serves
// leads there, and a database that it has not met yet would too: then a PAUSE
// of the whole has to keep that one waiting.
func (d *daemon) Traffic(ctx context.Context, leader []reload.Address) (reload.Traffic, error) {
	return d.survey(ctx, leader, true)
}

// Ready implements reload.Readier. Whether all is paused an older pgbouncer tells only by
// an error in its log, and it is asked this all the time.
func (d *daemon) Ready(ctx context.Context, leader []reload.Address) error {
	_, err := d.survey(ctx, leader, false)
	return err
}

// survey looks at all consoles. whole is whether it asks if all is paused at once.
func (d *daemon) survey(ctx context.Context, leader []reload.Address, whole bool) (reload.Traffic, error) {
	each := make([]reload.Traffic, len(d.consoles))
	// One console that hangs is not waited for long: what flows at the others
	// goes on failing meanwhile.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var first sync.Once
	err := d.each(ctx, func(ctx context.Context, i int, p *post) error {
		err := p.with(ctx, func(s *session) (err error) {
			each[i], err = d.look(ctx, p, s, leader, whole)
			return err
		})
		if err == nil {
			first.Do(func() { time.AfterFunc(laggard, func() { cancel(errLaggard) }) })
		} else if errors.Is(context.Cause(ctx), errLaggard) {
			err = fmt.Errorf("look at console %s: %w", p.console, errLaggard)
		}
		return err
	})
	var sum reload.Traffic
	for _, t := range each {
		sum.Flowing = append(sum.Flowing, t.Flowing...)
		if fuller(t, sum) {
			sum.Clients, sum.Limit = t.Clients, t.Limit
		}
	}
	return sum, err
}

// laggard is how long after the first console the others have to answer.
const laggard = 200 * time.Millisecond

var errLaggard = errors.New("it does not answer, and others do")

// fuller says whether a is nearer to its limit than b.
func fuller(a, b reload.Traffic) bool {
	if a.Limit == 0 || b.Limit == 0 {
		return a.Limit > 0 || b.Limit == 0 && a.Clients > b.Clients
	}
	return a.Clients*b.Limit > b.Clients*a.Limit
}

func (d *daemon) look(ctx context.Context, p *post, s *session, leader []reload.Address, asks bool) (reload.Traffic, error) {
	var t reload.Traffic
	p.meet(s)
	databases, err := s.run(ctx, "SHOW DATABASES")
	if err != nil {
		return t, err
	}
	lists, err := s.run(ctx, "SHOW LISTS")
	if err != nil {
		return t, err
	}
	settings, err := s.run(ctx, "SHOW CONFIG")
	if err != nil {
		return t, err
	}
	is := config(settings)
	for _, r := range lists {
		if r["list"] == "used_clients" {
			t.Clients, _ = strconv.Atoi(r["items"])
		}
	}
	t.Limit, _ = strconv.Atoi(is["max_client_conn"])

	flowing, whole, foreign := p.flowing(databases, leader)
	if whole && !p.holdsAll() {
		whole = d.fallback(is["conffile"], databases, leader)
	}
	if len(flowing) == 0 && !whole {
		if foreign {
			return t, d.free(ctx, p, s)
		}
		return t, nil
	}
	// What another pgbaton is about to hold is none of ours, not even for a moment.
	if _, err := d.marked(ctx, p); err != nil {
		return t, err
	}
	if asks {
		if paused, err := p.paused(ctx, s); err != nil || paused {
			return t, err
		}
	}
	if whole {
		flowing = append(flowing, "")
	}
	for _, database := range flowing {
		t.Flowing = append(t.Flowing, p.name(database))
	}
	return t, nil
}

// flowing is what of a SHOW DATABASES leads to the leader and is not paused,
// whether that is all except what is held from here, and whether something of it
// is paused by somebody else.
func (p *post) flowing(rows []row, leader []reload.Address) (flowing []string, whole, foreign bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	whole = true
	for _, r := range rows {
		name := r["name"]
		paused := r["paused"] == "1"
		if !paused && p.held[name] {
			delete(p.held, name) // a restart, or somebody's RESUME
			p.doubt = true       // of all, perhaps
		}
		switch {
		case name == admin, r["disabled"] == "1":
		case !leads(r["host"], r["port"], leader):
			whole = false
		case !paused:
			flowing = append(flowing, name)
		case !p.held[name]:
			whole, foreign = false, true
		}
	}
	return flowing, whole, foreign
}

// paused says whether everything is, by one PAUSE or SUSPEND of the whole, which
// SHOW DATABASES does not show.
func (p *post) paused(ctx context.Context, s *session) (bool, error) {
	paused, err := p.ask(ctx, s)
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = p.all && paused
	return paused, nil
}

func (p *post) ask(ctx context.Context, s *session) (bool, error) {
	if !s.noState {
		rows, err := s.run(ctx, "SHOW STATE")
		if err == nil {
			for _, r := range rows {
				if r["key"] == "active" {
					return r["value"] == "no", nil
				}
			}
		} else if !says(err, "") {
			return false, err
		}
		s.noState = true
	}
	p.mu.Lock()
	known := p.all && s.asked && !p.doubt
	p.doubt = false
	p.mu.Unlock()
	if known {
		return true, nil // each question leaves two lines in pgbouncer's log
	}
	// The admin database cannot be paused, but an older pgbouncer first says
	// whether all is.
	_, err := s.run(ctx, "PAUSE "+admin)
	s.asked = err == nil || says(err, "")
	switch {
	case says(err, alreadyPaused):
		return true, nil
	case says(err, "cannot pause admin db"):
		return false, nil
	}
	return false, err
}

const alreadyPaused = "already suspended/paused"

// fallback says whether the entry `*` leads to the leader. It is in the config
// alone; one that is not what pgbouncer shows tells nothing.
func (d *daemon) fallback(conffile string, databases []row, leader []reload.Address) bool {
	if d.configFile != "" {
		conffile = d.configFile
	}
	if !filepath.IsAbs(conffile) {
		return false
	}
	t, err := readTree(conffile, nil)
	if err != nil {
		return false
	}
	is := t.settings()
	return is.fallback && difference(databases, is.databases) == "" && leads(is.other.host, is.other.port, leader)
}

// leads says whether a database at host:port leads to one of the addresses.
func leads(host, port string, to []reload.Address) bool {
	n, err := strconv.Atoi(port)
	if err != nil {
		return false
	}
	for _, a := range to {
		if a.Port == n && sameHost(host, a.Host) {
			return true
		}
	}
	return false
}

func sameHost(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	if strings.EqualFold(a, b) {
		return true
	}
	x, err := netip.ParseAddr(a)
	if err != nil {
		return false
	}
	y, err := netip.ParseAddr(b)
	return err == nil && x.Unmap() == y.Unmap()
}
