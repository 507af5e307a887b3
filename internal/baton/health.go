package baton

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/probe"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// health keeps asking every member of one cluster what its probes ask. It is beside what
// follows the leadership, which never waits for it.
type health struct {
	ctx     context.Context //nolint:containedctx // ends with stop
	cancel  context.CancelFunc
	prober  *probe.Prober
	probes  []probe.Probe
	log     hclog.Logger
	began   time.Time
	changed chan struct{} // a level trigger: a verdict is another one
	running sync.WaitGroup

	mu     sync.Mutex
	first  time.Time        // when there were members first; zero before
	wards  map[string]*ward // by the member's name
	left   map[string]*ward // those whose keys went, as they were then
	leader string           // who leads
	trail  cluster.Trail
	whose  string        // who led when the trail was noted last
	ahead  time.Duration // the leader's clock less ours
	asked  time.Time     // when the leader itself last told where it is
}

// ward is a member that is looked after.
type ward struct {
	member cluster.Member
	cancel context.CancelFunc
	checks []cluster.Check // as the probes
	behind cluster.Behind
	last   probe.Position // where it was last
	key    uint64         // where it was by its key, in bytes of WAL; 0 if that does not tell
	keyed  bool           // it lets nobody in: its key has to do
	early  bool           // it was there from the start: nobody has taken it out for want of an answer
	gone   time.Time      // when its key went
	shut   bool           // that it lets nobody in was told
}

func newHealth(ctx context.Context, p *probe.Prober, probes []probe.Probe, log hclog.Logger) *health {
	h := &health{prober: p, probes: probes, log: log, began: time.Now(), changed: make(chan struct{}, 1), wards: map[string]*ward{}, left: map[string]*ward{}}
	h.ctx, h.cancel = context.WithCancel(ctx)
	return h
}

// stop ends all questions and waits for them.
func (h *health) stop() {
	h.cancel()
	h.running.Wait()
}

// adjust looks after the members that b has, and nobody else. news says that their keys
// are others than before.
func (h *health) adjust(b cluster.Baton, news bool, now time.Time) {
	if len(h.probes) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leader = b.Term.Leader
	there := map[string]bool{}
	maps.DeleteFunc(h.left, func(_ string, w *ward) bool { return now.Sub(w.gone) > h.dwell() })
	start := h.first.IsZero()
	if start && len(b.Seen.Members) > 0 {
		h.first = now
	}
	for _, m := range b.Seen.Members {
		if m.Host == "" {
			continue
		}
		there[m.Name] = true
		if w := h.wards[m.Name]; w == nil || w.member.Address() != m.Address() {
			h.drop(m.Name, now)
			h.begin(m, start, now)
		}
	}
	for name := range h.wards {
		if !there[name] {
			h.drop(name, now)
		}
	}
	if news {
		h.heartbeat(b.Seen.Members, now)
	}
}

// dwell is the longest time that a check fails at least.
func (h *health) dwell() (longest time.Duration) {
	for _, p := range h.probes {
		longest = max(longest, p.Patience.Dwell)
	}
	return longest
}

// drop lets go of a member. The caller holds the lock, as for all that follow.
func (h *health) drop(name string, now time.Time) {
	if w := h.wards[name]; w != nil {
		w.cancel()
		w.gone = now
		h.left[name] = w
		delete(h.wards, name)
	}
}

func (h *health) begin(m cluster.Member, early bool, now time.Time) {
	ctx, cancel := context.WithCancel(h.ctx)
	w := &ward{member: m, cancel: cancel, early: early, checks: make([]cluster.Check, len(h.probes))}
	before := h.left[m.Name]
	delete(h.left, m.Name)
	for i, p := range h.probes {
		w.checks[i] = cluster.Check{Name: p.Name, Kind: p.Kind, Limit: p.Limit, Why: "not asked yet"}
		// One that comes and goes with its key is out for as long as one that stays.
		if before != nil && now.Sub(before.gone) < p.Patience.Dwell && !before.checks[i].Healthy && !before.checks[i].Since.IsZero() {
			w.checks[i] = before.checks[i]
		}
	}
	h.wards[m.Name] = w
	// What hangs in a query of an operator's own, or in a port, keeps nothing else waiting.
	for _, kinds := range [][]cluster.ProbeKind{{cluster.ProbeTCP}, {cluster.ProbeSQL, cluster.ProbeLag}, {cluster.ProbeQuery}} {
		if r := newRound(h, w, kinds...); len(r.mine) > 0 {
			h.running.Go(func() { r.run(ctx) })
		}
	}
}

// heartbeat takes up where members are by their keys, as far as they don't say so
// themselves.
func (h *health) heartbeat(members []cluster.Member, now time.Time) {
	for _, m := range members {
		// A key is older than what its server said before.
		if m.Name == h.leader && m.LSN > 0 && now.Sub(h.asked) > h.silent() && (m.LSN >= h.trail.Last() || h.whose != h.leader) {
			h.trail.Note(m.LSN, now)
			h.whose = h.leader
		}
	}
	for _, m := range members {
		if w := h.wards[m.Name]; w != nil {
			if w.key = m.LSN; w.keyed {
				h.byKey(w, now)
			}
		}
	}
}

// byKey judges how far behind a member is by its key, for each of its lag probes.
func (h *health) byKey(w *ward, now time.Time) {
	if w.key == 0 || w.member.Name == h.leader {
		return
	}
	w.behind = h.trail.Behind(w.key, now)
	for i, p := range h.probes {
		if p.Kind == cluster.ProbeLag {
			h.judge(w, i, p.Limit.Why(w.behind), now)
		}
	}
}

// silent is how long the leader says nothing before its key counts.
func (h *health) silent() time.Duration {
	d := 5 * time.Second
	for _, p := range h.probes {
		if p.Kind == cluster.ProbeLag {
			d = max(d, 2*p.Interval+p.Timeout)
		}
	}
	return d
}

// judge takes up an answer to a probe.
func (h *health) judge(w *ward, i int, why string, now time.Time) {
	before := w.checks[i]
	after := before.Next(why, h.probes[i].Patience, now)
	w.checks[i] = after
	if before.Since.Equal(after.Since) {
		return
	}
	switch {
	case !after.Healthy:
		h.log.Warn("member is unfit", "member", w.member.Name, "probe", after.Name, "why", after.Why)
	case !before.Since.IsZero():
		h.log.Info("member is fit again", "member", w.member.Name, "probe", after.Name, "after", now.Sub(before.Since).Round(time.Millisecond))
	}
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// answered takes up an answer to a probe that is not about lag. That pgbaton is not let in
// is no reason to let nobody read: then nothing is known but that somebody is there.
func (h *health) answered(w *ward, i int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wards[w.member.Name] != w {
		return
	}
	if err == nil || probe.LetsIn(err) {
		w.shut = false
		h.judge(w, i, words(err), time.Now())
		return
	}
	if !w.shut {
		w.shut = true
		h.log.Warn("a member lets no probe in", "member", w.member.Name, "probe", w.checks[i].Name, "error", err, "hint", hint.Of(err))
	}
	if w.checks[i].Since.IsZero() {
		h.judge(w, i, "", time.Now())
	}
	w.checks[i].Why = words(err)
}

// located takes up where a member is, or that it can't be told.
func (h *health) located(w *ward, i int, at probe.Position, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wards[w.member.Name] != w {
		return
	}
	now := time.Now()
	w.keyed = err != nil && !probe.LetsIn(err)
	if w.member.Name == h.leader {
		if err == nil {
			if w.last.Recovery && !at.Recovery {
				h.trail.Since(w.last.LSN, w.last.Asked)
			}
			w.last, h.whose = at, h.leader
			// It was there at some time since it was asked: so what comes of it is never too little.
			h.trail.Note(at.LSN, at.Asked)
			h.ahead, h.asked = at.Clock.Sub(at.Asked), at.Asked
		}
		w.behind = cluster.Behind{Known: err == nil, Timed: err == nil}
		h.judge(w, i, "", now) // nobody is ahead of it
		return
	}
	if !h.trail.Known() && h.young(now) {
		return // the leader may answer still
	}
	switch {
	case w.keyed && w.key == 0:
		h.judge(w, i, h.untold(i, err), now)
		return
	case w.keyed:
		if w.checks[i].Since.IsZero() {
			h.byKey(w, now)
		}
		return // its next heartbeat tells more
	case err == nil:
		w.last = at
	case w.last.Asked.IsZero():
		h.judge(w, i, h.untold(i, err), now)
		return
	}
	// Who does not answer is where it was, or farther.
	w.behind = h.trail.Behind(w.last.LSN, now)
	if !w.last.Replayed.IsZero() {
		w.behind = w.behind.Within(now.Add(h.ahead).Sub(w.last.Replayed))
	}
	h.judge(w, i, h.probes[i].Limit.Why(w.behind), now)
}

// untold is what is wrong with a member of which nobody can tell how far behind it is:
// nothing, if that does not matter.
func (h *health) untold(i int, err error) string {
	if h.probes[i].Limit == (cluster.LagLimit{}) {
		return ""
	}
	return err.Error()
}

// verdicts are what all that are looked after come to.
func (h *health) verdicts() map[string]cluster.Health {
	if len(h.probes) == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]cluster.Health{}
	for name, w := range h.wards {
		v := cluster.Health{Checks: slices.Clone(w.checks), Behind: w.behind}
		for i := range v.Checks {
			// What nobody can know yet is no reason to take everybody out of a config that
			// serves: but one that comes later has to show first that it is well.
			if c := &v.Checks[i]; c.Since.IsZero() && w.early {
				c.Healthy = true
			}
		}
		all[name] = v
	}
	return all
}

// atStart is how long first answers are waited for.
const atStart = 2 * time.Second

// young says whether members may be about to answer for the first time. The caller holds
// the lock.
func (h *health) young(now time.Time) bool {
	return h.first.IsZero() || now.Before(h.first.Add(atStart))
}

// pending is until when there is reason to wait for a first answer; zero if there is
// none.
func (h *health) pending(now time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.probes) == 0 || !h.young(now) {
		return time.Time{}
	}
	for _, w := range h.wards {
		for _, c := range w.checks {
			if c.Since.IsZero() {
				return h.first.Add(atStart)
			}
		}
	}
	return time.Time{}
}

// words are an error's, "" for none.
func words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
