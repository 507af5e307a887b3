package baton

import (
	"context"
	"sync"

	"github.com/pgbaton/pgbaton/internal/probe"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// looks are the looks at members that are under way, and what each came to
// last.
type looks struct {
	ctx     context.Context
	cancel  context.CancelFunc
	prober  *probe.Prober
	changed chan struct{} // a level trigger: evidence has something new
	running sync.WaitGroup

	mu     sync.Mutex
	active map[look]*under
}

// look is one member that is looked at for one purpose.
type look struct {
	purpose purpose
	member  string
	address string
	api     string
}

type purpose uint8

const (
	pulse   purpose = iota // of the confirmed leader
	confirm                // a candidate
	suspect                // one that should take no writes
)

type under struct {
	cancel context.CancelFunc
	newest map[cluster.Way]cluster.Evidence
}

func newLooks(ctx context.Context, p *probe.Prober) *looks {
	l := &looks{prober: p, changed: make(chan struct{}, 1), active: map[look]*under{}}
	l.ctx, l.cancel = context.WithCancel(ctx)
	return l
}

// stop ends all looks and waits for them.
func (l *looks) stop() {
	l.cancel()
	l.running.Wait()
}

// once runs something that belongs to no look.
func (l *looks) once(f func(context.Context)) { l.running.Go(func() { f(l.ctx) }) }

// evidence is what all looks came to last.
func (l *looks) evidence() []cluster.Evidence {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []cluster.Evidence
	for _, u := range l.active {
		for _, e := range u.newest {
			list = append(list, e)
		}
	}
	return list
}

// adjust looks at whom b gives reason to look at, and at nobody else.
func (l *looks) adjust(b cluster.Baton, def Definition) {
	want := map[look]cluster.Member{}
	ask := func(p purpose, m cluster.Member) {
		want[look{purpose: p, member: m.Name, address: m.Address(), api: m.API}] = m
	}
	if def.Pulse && b.Confirmed != nil && !b.Term.Standby {
		ask(pulse, *b.Confirmed)
	}
	if def.Policy.Asks() {
		if m := b.Candidate(); m != nil {
			ask(confirm, *m)
		}
		for _, m := range b.Suspects() {
			ask(suspect, m)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, u := range l.active {
		if _, still := want[k]; !still {
			u.cancel()
			delete(l.active, k)
		}
	}
	for k, m := range want {
		if l.active[k] == nil {
			l.begin(k, m)
		}
	}
}

// begin starts a look. The caller holds the lock.
func (l *looks) begin(k look, m cluster.Member) {
	ctx, cancel := context.WithCancel(l.ctx)
	u := &under{cancel: cancel, newest: map[cluster.Way]cluster.Evidence{}}
	l.active[k] = u
	tell := func(e cluster.Evidence) { l.take(u, e) }
	l.running.Go(func() {
		switch k.purpose {
		case pulse:
			l.prober.Pulse(ctx, m, tell)
		case confirm:
			l.prober.Confirm(ctx, m, tell)
		case suspect:
			l.prober.Suspect(ctx, m, tell)
		}
	})
}

// take keeps a piece of evidence. That it is the same as before makes it
// fresher, and is no news.
func (l *looks) take(u *under, e cluster.Evidence) {
	l.mu.Lock()
	was, known := u.newest[e.Way]
	u.newest[e.Way] = e
	l.mu.Unlock()
	if known && was.Verdict == e.Verdict && was.System == e.System && was.Timeline == e.Timeline {
		return
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
}
