package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// Confirm asks a candidate whether it takes writes, in every way at once and
// more and more slowly, until ctx ends, and tells each answer.
func (p *Prober) Confirm(ctx context.Context, m cluster.Member, tell func(cluster.Evidence)) {
	var both sync.WaitGroup
	var answered atomic.Int64 // when SQL did last, in nanoseconds since 1970
	if slices.Contains(p.ways, cluster.WaySQL) {
		both.Go(func() {
			p.confirmSQL(ctx, m, func(e cluster.Evidence) {
				answered.Store(time.Now().UnixNano())
				tell(e)
			})
		})
	}
	if slices.Contains(p.ways, cluster.WayAPI) {
		both.Go(func() {
			begun := time.Now()
			for pause := firstLook; ctx.Err() == nil; pause = longer(pause) {
				if e, err := p.askAPI(ctx, m); err == nil {
					tell(e)
				}
				// A server with a backlog of five is spared while another way answers.
				d := pause
				if time.Since(time.Unix(0, answered.Load())) < patience || time.Since(begun) > patient {
					d = patience
				}
				if wait(ctx, d) != nil {
					return
				}
			}
		})
	}
	both.Wait()
}

// confirmSQL asks over one connection, as long as it lasts.
func (p *Prober) confirmSQL(ctx context.Context, m cluster.Member, tell func(cluster.Evidence)) {
	pause := firstLook
	for ctx.Err() == nil {
		conn, err := p.login(ctx, m)
		if err == nil {
			for err == nil && ctx.Err() == nil {
				var e cluster.Evidence
				if e, err = conn.glance(ctx); err == nil {
					tell(e)
					err = wait(ctx, pause)
					pause = min(pause*5/4, lastLook) // it is cheap over an open connection
				}
			}
			conn.close()
		} else if j := judge(err); j == refused || j == full {
			pause = lastLook * 4
		}
		if wait(ctx, pause) != nil {
			return
		}
		pause = longer(pause)
	}
}

// Suspect asks now and then, until ctx ends, a member that should take no writes.
func (p *Prober) Suspect(ctx context.Context, m cluster.Member, tell func(cluster.Evidence)) {
	for pause := beat; ; pause = min(2*pause, renew/2) {
		if e, err := p.Ask(ctx, m); err == nil {
			tell(e)
			if e.Verdict == cluster.Writable {
				pause = beat
			}
		}
		if wait(ctx, pause) != nil {
			return
		}
	}
}

// Ask asks a member once, in one way after the other until one says something.
func (p *Prober) Ask(ctx context.Context, m cluster.Member) (cluster.Evidence, error) {
	errs := []error{fmt.Errorf("ask %s: no way says whether it takes writes", m.Name)}
	for _, way := range p.ways {
		e, err := p.askBy(ctx, way, m)
		if err == nil && e.Verdict != cluster.Unclear {
			return e, nil
		}
		errs = append(errs, err)
	}
	return cluster.Evidence{Member: m.Name}, errors.Join(errs...)
}

// Failing asks a member once in every way, and returns those that say nothing,
// with the reason.
func (p *Prober) Failing(ctx context.Context, m cluster.Member) map[cluster.Way]error {
	failing := map[cluster.Way]error{}
	for _, way := range p.ways {
		e, err := p.askBy(ctx, way, m)
		if err == nil && e.Verdict == cluster.Unclear {
			err = fmt.Errorf("ask %s: it does not say whether it takes writes", m.Name)
		}
		if err != nil {
			failing[way] = err
		}
	}
	return failing
}

func (p *Prober) askBy(ctx context.Context, way cluster.Way, m cluster.Member) (cluster.Evidence, error) {
	if way == cluster.WayAPI {
		return p.askAPI(ctx, m)
	}
	conn, err := p.login(ctx, m)
	if err != nil {
		if judge(err) == refused && hint.Of(err) == "" {
			err = hint.Wrap(err, "set user and password_file in the cluster's sql block, and let this host in by pg_hba.conf; or leave sql out of confirm")
		}
		return cluster.Evidence{Member: m.Name}, err
	}
	defer conn.close()
	return conn.ask(ctx, patience)
}
