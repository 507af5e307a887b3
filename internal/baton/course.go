package baton

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/probe"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// course follows the leadership of one cluster.
type course struct {
	def    Definition
	prober *probe.Prober
	memory state.Folder
	log    hclog.Logger

	refused string // why a leader is refused, as it was told; run's own

	// The rest is written by run alone, under mu.
	mu      sync.Mutex
	health  *health // nil until it runs
	baton   cluster.Baton
	answer  watcher.Answer // its Rev is 0 until there is something to say
	changed chan struct{}  // closed when answer is another
}

// run follows the keys, the members and the clock until ctx ends.
func (c *course) run(ctx context.Context, sub *watcher.Subscription) {
	defer sub.Close()
	w := walk{course: c, looks: newLooks(ctx, c.prober), health: newHealth(ctx, c.prober, c.def.Probes, c.log)}
	defer w.looks.stop()
	defer w.health.stop()
	c.mu.Lock()
	c.health = w.health
	c.mu.Unlock()
	for {
		snapshot := c.read(sub)
		again := w.step(snapshot, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-sub.Changed():
		case <-w.looks.changed:
		case <-w.health.changed:
		case <-after(again):
		}
	}
}

// walk is a run of a course: what it has seen so far, and what it has others look at.
type walk struct {
	*course
	looks  *looks
	health *health

	seen    cluster.Cluster
	change  uint64 // of the keys that seen was decoded from
	known   bool   // the keys were read
	settled bool   // somebody who leads was published
	tried   bool   // the ways to confirm a leader were
}

// step takes up what is known now. It says when to look again at the latest; zero is
// never.
func (w *walk) step(snapshot watcher.Snapshot, now time.Time) (again time.Time) {
	keys := sum(snapshot)
	prev := w.baton
	if keys.Presence == watcher.Unknown {
		if keys.Err != nil {
			w.publish(prev, keys)
		}
		return earliest(prev.Wake(now), w.lookAgain(prev))
	}
	news := keys.Change != w.change || !w.known
	if news {
		w.seen = w.def.Source.Decode(w.seen, snapshot)
		w.seen.Name, w.change = w.def.Name, keys.Change
	}
	next := cluster.Next(prev, w.seen, w.def.Policy, w.looks.evidence(), now)
	w.health.adjust(next, news, now)
	next.Health = w.health.verdicts()
	// A config that serves is not changed for what nobody can know yet; one that leads to
	// another leader does not serve.
	same := prev.Term.Leader == "" || prev.Term.Leader == next.Term.Leader
	if until := w.health.pending(now); next.Phase == cluster.Steady && same && !w.settled && !until.IsZero() {
		return until
	}
	w.publish(next, keys)
	w.looks.adjust(next, w.def)
	w.news(prev, next, w.known, now)
	w.known, w.settled = true, w.settled || next.Confirmed != nil
	if next.Term != prev.Term {
		w.keep(next)
	}
	if !w.tried && w.def.Rehearse && next.Confirmed != nil {
		w.tried = true
		w.looks.once(func(ctx context.Context) { w.usable(ctx, *next.Confirmed) })
	}
	return earliest(next.Wake(now), w.lookAgain(next))
}

// earliest is the first of two times; zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// secondLook is how long a leader has to be refused before that is said: whoever asks its
// server in the next moment may learn that it does lead, as after a restore of the store.
const secondLook = time.Second

// lookAgain is when a refusal is to be told; zero if there is none to tell.
func (c *course) lookAgain(b cluster.Baton) time.Time {
	if b.Refused == "" || b.Refused == c.refused {
		return time.Time{}
	}
	return b.Doubted.Add(secondLook)
}

// read is what is known of all that the source wants, which may be more with each
// answer.
func (c *course) read(sub *watcher.Subscription) watcher.Snapshot {
	var snapshot watcher.Snapshot
	for {
		want := map[watcher.Query]struct{}{}
		for _, q := range c.def.Source.Queries(snapshot) {
			want[q] = struct{}{}
		}
		same := len(want) == len(snapshot)
		for q := range want {
			_, has := snapshot[q]
			same = same && has
		}
		if same {
			return snapshot
		}
		snapshot = sub.Want(want)
	}
}

// sum is what is known of all: nothing until all is, and as fresh as the oldest.
func sum(snapshot watcher.Snapshot) watcher.Answer {
	all := watcher.Answer{Presence: watcher.Present}
	for _, a := range snapshot {
		if a.Presence == watcher.Unknown {
			all.Presence = watcher.Unknown
		}
		all.Change = max(all.Change, a.Change)
		if all.Fresh.IsZero() || a.Fresh.Before(all.Fresh) {
			all.Fresh = a.Fresh
		}
		if a.Err != nil {
			all.Err = a.Err
		}
	}
	return all
}

// publish makes b what the cluster's query is answered with, as fresh as the
// keys are.
func (c *course) publish(b cluster.Baton, keys watcher.Answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.baton = b
	rev := c.answer.Rev + 1
	c.answer = watcher.Answer{Presence: watcher.Present, Value: b, Rev: rev, Fresh: keys.Fresh, Err: keys.Err}
	if keys.Presence == watcher.Unknown {
		c.answer.Presence, c.answer.Value = watcher.Unknown, nil
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// usable warns at the start of ways to confirm a leader that will not work when
// they are needed.
func (c *course) usable(ctx context.Context, leader cluster.Member) {
	failing := c.prober.Failing(ctx, leader)
	for _, way := range c.def.Policy.Confirm {
		if err := failing[way]; err != nil && !errors.Is(err, context.Canceled) {
			c.log.Warn("this way to confirm a leader does not work", "code", explain.WayFails, "way", string(way), "error", err, "hint", hint.Of(err))
		}
	}
}

// news logs what an operator would ask about, and no heartbeat.
func (c *course) news(prev, next cluster.Baton, known bool, now time.Time) {
	if next.Confirmed != nil && (next.Term.Leader != prev.Term.Leader || !known) {
		c.log.Info("leader confirmed", "leader", next.Term.Leader, "address", next.Confirmed.Address(), "timeline", next.Term.Timeline, "by", string(next.By))
	}
	if next.Phase != prev.Phase {
		c.log.Info("phase", "is", string(next.Phase), "was", string(prev.Phase))
	}
	switch {
	case next.Refused == "":
		c.refused = ""
	case next.Refused != c.refused && !next.Doubted.After(now.Add(-secondLook)):
		c.refused = next.Refused
		c.log.Error("leader refused", "code", explain.LeaderRefused, "reason", next.Refused)
	}
	switch {
	case next.Alarm != "" && prev.Alarm == "":
		c.log.Error("two members take writes", "code", explain.TwoWriters, "alarm", next.Alarm, "hint", "stop PostgreSQL on the member that does not lead, then let it rejoin the cluster")
	case next.Alarm == "" && prev.Alarm != "":
		c.log.Info("one member takes writes again", "leader", next.Term.Leader)
	}
	for _, p := range next.Seen.Problems {
		if !known || !slices.Contains(prev.Seen.Problems, p) {
			c.log.Warn("bad key", "code", explain.BadKey, "problem", p)
		}
	}
}

// after is a timer for at; nil, and so never ready, for the zero time. It may be
// early, for whoever waits looks at the clock again: a timer knows nothing of one
// that is set, or that went on while the machine was asleep.
func after(at time.Time) <-chan time.Time {
	if at.IsZero() {
		return nil
	}
	return time.After(min(time.Until(at), lookAtClock))
}

// lookAtClock is how late an hour by the clock may be noticed, if that was set.
const lookAtClock = time.Second
