package baton

import (
	"context"
	"time"

	"github.com/pgbaton/pgbaton/internal/probe"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// round puts some probes to one member, each when it is due, over one session.
type round struct {
	health *health
	ward   *ward
	mine   []turn
}

// turn is a probe, and when it is due.
type turn struct {
	index int // among the cluster's probes
	due   time.Time
}

// afterLeader is how long after the leader the others are asked where they are: so that
// they are compared with where it is now.
const afterLeader = 10 * time.Millisecond

// tryLogin is how long a server that refused a login is left in peace: it logs every one.
const tryLogin = time.Minute

func newRound(h *health, w *ward, kinds ...cluster.ProbeKind) *round {
	r := &round{health: h, ward: w}
	for i, p := range h.probes {
		for _, kind := range kinds {
			if p.Kind == kind {
				r.mine = append(r.mine, turn{index: i})
			}
		}
	}
	return r
}

func (r *round) run(ctx context.Context) {
	session := r.health.prober.Session(r.ward.member)
	defer session.Close()
	for ctx.Err() == nil {
		next := &r.mine[0]
		for i := range r.mine {
			if r.mine[i].due.Before(next.due) {
				next = &r.mine[i]
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next.due)):
		}
		r.ask(ctx, session, next.index)
		next.due = r.next(next.index, time.Now())
	}
}

// next is when a probe is due after now. All members are asked at the same time, by the
// same beat.
func (r *round) next(i int, now time.Time) time.Time {
	p := r.health.probes[i]
	if p.Kind != cluster.ProbeTCP && r.health.closed(r.ward) {
		return now.Add(tryLogin)
	}
	shift := time.Duration(0)
	if p.Kind == cluster.ProbeLag && !r.health.leads(r.ward.member.Name) {
		shift = afterLeader
	}
	gone := now.Sub(r.health.began) - shift
	return r.health.began.Add((gone/p.Interval+1)*p.Interval + shift)
}

func (h *health) leads(member string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leader == member
}

// closed says whether a member let nobody in when it was asked last.
func (h *health) closed(w *ward) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return w.shut || w.keyed
}

func (r *round) ask(ctx context.Context, session *probe.Session, i int) {
	p := r.health.probes[i]
	var err error
	switch p.Kind {
	case cluster.ProbeTCP:
		err = probe.Connects(ctx, r.ward.member, p.Timeout)
	case cluster.ProbeSQL:
		err = session.Ping(ctx, p.Timeout)
	case cluster.ProbeLag:
		var at probe.Position
		if at, err = session.Position(ctx, p.Timeout); ctx.Err() == nil {
			r.health.located(r.ward, i, at, err)
		}
		return
	case cluster.ProbeQuery:
		var is string
		if is, err = session.Value(ctx, p.Timeout, p.Query); err == nil {
			err = p.Want.Unmet(is)
		}
	}
	if ctx.Err() == nil {
		r.health.answered(r.ward, i, err)
	}
}
