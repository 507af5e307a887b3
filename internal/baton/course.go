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
	looks := newLooks(ctx, c.prober)
	defer looks.stop()
	health := newHealth(ctx, c.prober, c.def.Probes, c.log)
	defer health.stop()
	c.mu.Lock()
	c.health = health
	c.mu.Unlock()

	var seen cluster.Cluster
	var change uint64 // of the keys that seen was decoded from
	known, asked, settled := false, false, false
	for {
		snapshot := c.read(sub)
		keys := sum(snapshot)
		news := false
		if keys.Presence != watcher.Unknown && (keys.Change != change || !known) {
			seen = c.def.Source.Decode(seen, snapshot)
			seen.Name = c.def.Name
			change, news = keys.Change, true
		}
		now := time.Now()
		prev, next := c.baton, c.baton
		var answers time.Time // when the members have had time to say how they are
		if keys.Presence != watcher.Unknown {
			next = cluster.Next(prev, seen, c.def.Policy, looks.evidence(), now)
			health.adjust(next, news, now)
			next.Health = health.verdicts(now)
			if answers = health.pending(now); next.Phase != cluster.Steady || settled {
				answers = time.Time{} // whoever leads is not kept waiting
			}
		}
		switch {
		case !answers.IsZero(): // a config that serves is not changed for what nobody knows
			looks.adjust(next, c.def)
		case keys.Presence != watcher.Unknown:
			c.publish(next, keys)
			settled = settled || next.Confirmed != nil
			looks.adjust(next, c.def)
			c.news(prev, next, known, now)
			if next.Term != prev.Term {
				c.keep(next)
			}
			if known = true; !asked && c.def.Rehearse && next.Confirmed != nil {
				asked = true
				looks.once(func(ctx context.Context) { c.usable(ctx, *next.Confirmed) })
			}
		case keys.Err != nil:
			c.publish(next, keys)
		}
		select {
		case <-ctx.Done():
			return
		case <-sub.Changed():
		case <-looks.changed:
		case <-health.changed:
		case <-after(answers):
		case <-after(next.Wake(now)):
		case <-after(c.lookAgain(next)):
		}
	}
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
