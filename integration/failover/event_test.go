//go:build bench

package failover

import (
	"fmt"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// event is something that happens to the leader.
type event struct {
	title string
	moves bool // another leads afterwards

	act     func(s *stage, old *servertest.PatroniMember)
	after   func(s *stage, old *servertest.PatroniMember) // before the writers are stopped; nil if there is nothing to do
	restore func(s *stage, old *servertest.PatroniMember) // nil if the cluster becomes whole by itself
}

// away is how long Patroni is gone when it is killed alone: less than its ttl.
const away = 5 * time.Second

var events = map[string]event{
	"switchover": {
		title: "Planned switchover (`patronictl switchover`)",
		moves: true,
		act:   func(s *stage, _ *servertest.PatroniMember) { s.cluster.Switchover(s.t, s.candidate(s.run)) },
	},
	"crash": {
		title:   "Crash (`kill -9` of Patroni and PostgreSQL)",
		moves:   true,
		act:     func(_ *stage, old *servertest.PatroniMember) { old.Kill() },
		restore: start,
	},
	"hang": {
		title:   "The old leader hangs (SIGSTOP of Patroni and PostgreSQL)",
		moves:   true,
		act:     func(s *stage, old *servertest.PatroniMember) { old.Freeze(s.t) },
		after:   func(_ *stage, old *servertest.PatroniMember) { old.ThawPostgres() },
		restore: func(s *stage, old *servertest.PatroniMember) { old.Thaw(s.t) },
	},
	"restart": {
		title: "Restart in place (`patronictl restart` of the leader)",
		act:   func(s *stage, old *servertest.PatroniMember) { s.cluster.RestartPostgres(s.t, old) },
	},
	"patroni-killed": {
		title: fmt.Sprintf("Patroni alone killed, and back after %v", away),
		act: func(s *stage, old *servertest.PatroniMember) {
			old.KillPatroni()
			pause(s.t.Context(), away)
			old.Start(s.t)
			s.cluster.AwaitReady(s.t)
		},
	},
	"patroni-gone": {
		title:   "Patroni alone killed for good, PostgreSQL runs on",
		moves:   true,
		act:     func(_ *stage, old *servertest.PatroniMember) { old.KillPatroni() },
		restore: start,
	},
}

// candidate is a replica that may lead next, another one for another n: where
// replication is synchronous, the one that it waits for.
func (s *stage) candidate(n int) *servertest.PatroniMember {
	s.t.Helper()
	if !s.plan.sync {
		return s.cluster.Replicas(s.t)[n%2]
	}
	return s.cluster.SyncStandby(s.t)
}

func start(s *stage, old *servertest.PatroniMember) { old.Start(s.t) }

const (
	calm   = 3 * time.Second  // before the event, without an error
	settle = 20 * time.Second // after the cluster is whole, unless all are back long before
	still  = 5 * time.Second  // all are back for so long
	thawed = time.Second      // that a hung server is let go on for before its Patroni is
)

// play lets one event happen while every contestant watches, and adds what they
// made of it to the result.
func (s *stage) play(t *testing.T, e event, r *result) {
	t.Helper()
	s.cluster.AwaitReady(s.t)
	old := s.cluster.Leader(t)
	s.run++
	all := s.enterAll(t)

	w := window{begin: time.Now()}
	e.act(s, old)
	leader := s.finish(t, e, old, &w)
	s.settle(t, all, w)
	w.end, w.port = time.Now(), leader.Port
	if e.after != nil {
		e.after(s, old)
		pause(t.Context(), thawed)
	}
	var onOld map[string]map[row]bool
	if e.moves {
		var err error
		if onOld, err = s.rowsOfOld(old, s.run); err != nil {
			t.Errorf("what the old leader took: %v", err)
		}
	}
	for _, c := range all {
		for _, f := range c.fleets() {
			f.stop()
		}
	}
	there, err := s.rowsOf(leader, s.run)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		o := measure(c.bench.diaries, w)
		o.missing = lost(c.bench.diaries, there[c.name])
		o.onOld = late(onOld[c.name], there[c.name], c.bench.diaries, w.took)
		o.beside(c.second.journal(), c.other.journal(), w)
		r.outcomes[c.name] = append(r.outcomes[c.name], o)
		progress("    %-20s stall %s, key → write %s, errors %s, stuck %d", c.name, seconds(o.fleet.length),
			firstWrites([]outcome{o}, e.moves), errorKinds([]outcome{o}), o.stuck)
	}
	if e.moves {
		r.recovery = append(r.recovery, w.took.Sub(w.key))
	}
	if e.restore != nil {
		e.restore(s, old)
	}
	s.cluster.AwaitReady(s.t)
}

// enterAll starts every contestant anew and waits until all of them write, and
// have for a while.
func (s *stage) enterAll(t *testing.T) []*contestant {
	t.Helper()
	var all []*contestant
	for _, name := range s.plan.contestants {
		all = append(all, s.enter(t, name))
	}
	for _, c := range all {
		servertest.Eventually(t, "all writers of "+c.name+" write", func() error {
			for _, f := range c.fleets() {
				for id, d := range f.diaries {
					if acks, failures := d.copied(); len(acks) < 3 {
						return fmt.Errorf("writer %d: %d rows, failures %v", id, len(acks), failures)
					}
				}
			}
			return nil
		})
	}
	begin := time.Now()
	pause(t.Context(), calm)
	for _, c := range all {
		for _, f := range c.fleets() {
			if n := failuresSince(f.diaries, begin); n > 0 {
				t.Errorf("%s: %d errors before anything happened", c.name, n)
			}
		}
	}
	return all
}

// finish waits until the event is over for the cluster: who leads then?
func (s *stage) finish(t *testing.T, e event, old *servertest.PatroniMember, w *window) *servertest.PatroniMember {
	t.Helper()
	if !e.moves {
		w.took = time.Now()
		if p := s.seen.since(w.begin); p != nil {
			w.took = p.at
		}
		return old
	}
	var next *primary
	limit := time.Duration(3*s.plan.ttl)*time.Second + 30*time.Second
	if !await(t, limit, func() bool {
		if next = s.seen.since(w.begin); next == nil {
			return false
		}
		w.key, w.took = s.seen.named(w.begin, next.member.Name), next.at
		return !w.key.IsZero()
	}) {
		t.Fatalf("no new leader within %v", limit)
	}
	if w.took.Before(w.key) {
		w.key = w.took // a machine under load may tell of the key late: it came before
	}
	progress("    %s leads: key after %s, writes %s later", next.member.Name, seconds(w.key.Sub(w.begin)), seconds(w.took.Sub(w.key)))
	return next.member
}

// settle returns when all writers have been back for a while, or at the latest
// when the time is up.
func (s *stage) settle(t *testing.T, all []*contestant, w window) {
	t.Helper()
	back := time.Time{}
	await(t, settle-time.Since(w.took), func() bool {
		for _, c := range all {
			for _, d := range c.bench.diaries {
				if last := d.last(); !last.After(w.took) || time.Since(last) > max(time.Second, 4*s.plan.pace) {
					back = time.Time{}
					return false
				}
			}
		}
		if back.IsZero() {
			back = time.Now()
		}
		return time.Since(back) >= still
	})
}
