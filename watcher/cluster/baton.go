package cluster

import (
	"fmt"
	"maps"
	"time"
)

// Term is one reign of a leader. Session tells whether it is the same term,
// Created which of two is later, within one system identifier.
type Term struct {
	System   string
	Leader   string
	Standby  bool // it leads a standby cluster, and takes no writes
	Session  string
	Created  uint64
	Timeline uint64
}

// Baton says who takes a cluster's writes, and how that came about.
type Baton struct {
	Seen      Cluster // as last described by the store
	Confirmed *Member // the leader that templates see; nil until there was one
	Term      Term    // of Confirmed, or of who led when pgbaton ran last
	By        Way     // what confirmed it
	Reigns    time.Time
	Phase     Phase
	Since     time.Time // when Phase began
	Stirred   time.Time // when leadership was in doubt first, before it was as steady as it is or will be; zero if it never was
	Named     time.Time // when the leader key became what it is
	Former    *Member   // who led before, until it is known to take writes no more
	Before    *Member   // who led when pgbaton ran last, until somebody is confirmed; nil if that is not known
	Refused   string    // why a leader that the store names is not believed; "" if it is
	Doubted   time.Time // when Refused began; zero without it
	Alarm     string    // who takes writes beside the leader; "" if nobody does
	Alarmed   time.Time // when Alarm began; zero without it
	Back      time.Time // when the leader, lost in this term, came back last; zero if it never was
	Early     bool      // it is lost, and clients had better wait already

	Health map[string]Health // what probes say of members, by their names; it decides nothing here
}

// lead is how long before a scheduled switchover a cluster counts as
// switching.
const lead = time.Second

// relapse is how long a leader that was lost and came back must have been well
// before it is believed lost again in the same term, as far as holding goes: one
// that comes and goes must not hold everybody up again and again. But a term may
// last for months, and who restarted in spring may crash in autumn.
const relapse = 10 * time.Minute

// Next says what becomes of prev when the store describes the cluster as seen
// and looks at its members came to ev. It decides; it does not look at a clock:
// now is the caller's.
//
// The last confirmed leader stays until the next one is confirmed, whatever
// happens to its keys meanwhile.
func Next(prev Baton, seen Cluster, policy Policy, ev []Evidence, now time.Time) Baton {
	if prev.Confirmed != nil && seen.nothing() {
		// A store that lost everything, or a token that sees nothing: no reason
		// to take the replicas away.
		kept := prev.Seen
		kept.Key, kept.Leader, kept.StandbyLeader, kept.Failover = LeaderKey{}, nil, nil, nil
		kept.Problems = []string{"scope " + kept.Scope + ": all its keys are gone"}
		seen = kept
	}
	if seen.System == "" {
		seen.System = prev.Term.System
	}
	next := prev
	next.Seen, next.Refused = seen, ""
	if seen.Key != prev.Seen.Key || prev.Named.IsZero() {
		next.Named = now
	}
	named := seen.Leader
	if seen.Standby {
		named = seen.StandbyLeader
	}
	if named != nil {
		next.consider(prev, *named, policy, ev, now)
	}
	next.Phase = next.phase(named, ev, now)
	next.Since = now
	if next.Phase == prev.Phase {
		next.Since = prev.Since
	}
	if prev.Phase == Steady && next.Phase != Steady {
		next.Stirred = now
	}
	if next.Phase == Steady && prev.Phase == Lost && next.Term == prev.Term {
		next.Back = now
	}
	next.Early = next.Phase == Lost && policy.EarlyHold && (next.Back.IsZero() || now.Sub(next.Back) > relapse)
	next.watchFormer(ev, now)
	next.Doubted = began(prev.Doubted, next.Refused, now)
	next.Alarmed = began(prev.Alarmed, next.Alarm, now)
	return next
}

// began is when something began that is there now if it has a text: before, if it was
// there before.
func began(before time.Time, text string, now time.Time) time.Time {
	switch {
	case text == "":
		return time.Time{}
	case before.IsZero():
		return now
	}
	return before
}

// consider makes named the confirmed leader if it is one.
func (b *Baton) consider(prev Baton, named Member, policy Policy, ev []Evidence, now time.Time) {
	term := Term{
		System: b.Seen.System, Leader: named.Name, Standby: b.Seen.Standby,
		Session: b.Seen.Key.Session, Created: b.Seen.Key.Created, Timeline: named.Timeline,
	}
	if continues(prev, term) {
		// A member that restarts shows no timeline for a while, and one that was
		// promoted the old one.
		term.Timeline = max(term.Timeline, prev.Term.Timeline)
		b.Confirmed, b.Term = &named, term
		return
	}
	e, way := b.confirm(prev, named, policy, ev, now)
	if e.Timeline > 0 {
		term.Timeline = e.Timeline
	}
	if b.Refused = refuse(prev, term, e, way); b.Refused != "" || way == "" {
		return
	}
	before := prev.Confirmed
	if before == nil {
		before = prev.Before
	}
	if before != nil && prev.Term.Leader != term.Leader && !prev.Term.Standby {
		b.Former = before
	}
	b.Before = nil
	b.Confirmed, b.Term, b.By, b.Reigns, b.Back = &named, term, way, now, time.Time{}
}

// confirm looks for evidence that named leads; way is "" if there is none.
func (b *Baton) confirm(prev Baton, named Member, policy Policy, ev []Evidence, now time.Time) (e Evidence, way Way) {
	since := b.Named
	if prev.Confirmed != nil && prev.Term.Leader == named.Name {
		since = time.Time{} // its key is another, but the server is the one that was asked all the time
	}
	e = about(ev, named.Name, since, now, policy.trusts)
	switch {
	case policy.trusts(WayKey):
		return e, WayKey
	case e.Verdict == Writable, e.Verdict == ReadOnly && b.Seen.Standby:
		return e, e.Way
	case policy.trusts(WayRole) && named.Role == b.leads() && e.Verdict != ReadOnly: // it knows better than its key
		return e, WayRole
	}
	return e, ""
}

// leads is the role of whoever leads.
func (b *Baton) leads() string {
	if b.Seen.Standby {
		return "standby_leader"
	}
	return "primary"
}

// nothing says whether there is no key at all.
func (c *Cluster) nothing() bool {
	return len(c.Members) == 0 && c.Key.Name == "" && c.System == "" && !c.Fenced && len(c.Problems) == 0
}

// continues says whether term is the one that prev confirmed, or the process
// before this one.
func continues(prev Baton, term Term) bool {
	old := prev.Term
	old.Timeline = term.Timeline
	return old.Leader != "" && old == term
}

// refuse says why term can't follow prev, or "". Leadership never goes back: an
// earlier key of the same system, as after a store was restored from a backup,
// is believed only of a server that itself takes writes on a timeline at least
// as high. What nobody can be asked about goes by the keys.
func refuse(prev Baton, term Term, e Evidence, way Way) string {
	old := prev.Term
	if e.System != "" && term.System != "" && e.System != term.System {
		return fmt.Sprintf("the leader key names %s, which answers for system %s, not %s: another cluster's server", term.Leader, e.System, term.System)
	}
	if old.Leader == "" || term.System != old.System || term.Created >= old.Created {
		return ""
	}
	if way != "" && term.Timeline >= old.Timeline {
		return ""
	}
	return fmt.Sprintf("the leader key names %s on timeline %d with index %d, older than %s on timeline %d with index %d",
		term.Leader, term.Timeline, term.Created, old.Leader, old.Timeline, old.Created)
}

// watchFormer keeps an eye on who led before: two that take writes are the worst
// that can happen to a cluster.
func (b *Baton) watchFormer(ev []Evidence, now time.Time) {
	b.Alarm = ""
	if b.Confirmed == nil || b.Term.Standby {
		b.Former = nil
		return
	}
	for _, m := range b.Suspects() {
		if e := about(ev, m.Name, b.Reigns, now, anyWay); e.Verdict == Writable {
			b.Alarm = fmt.Sprintf("%s takes writes beside the leader %s: rows are being lost there (%s, timeline %d)", m.Name, b.Term.Leader, e.Way, e.Timeline)
		}
	}
	if b.Former == nil {
		return
	}
	if b.Former.Name == b.Term.Leader || about(ev, b.Former.Name, b.Reigns, now, anyWay).Verdict == ReadOnly {
		b.Former = nil
	}
}

// Suspects are the members that may take writes though they don't lead: who led
// before, and whose key says so.
func (b *Baton) Suspects() []Member {
	var list []Member
	if b.Former != nil && b.Former.Name != b.Term.Leader {
		list = append(list, *b.Former)
	}
	if b.Phase != Steady {
		return list // roles lag while leadership moves
	}
	for _, m := range b.Seen.Members {
		if m.Role == "primary" && m.Name != b.Term.Leader && m.Host != "" && (b.Former == nil || m.Name != b.Former.Name) {
			list = append(list, m)
		}
	}
	return list
}

// Candidate is the member that the key names and that is not confirmed, or nil:
// who has to be asked whether it takes writes.
func (b *Baton) Candidate() *Member {
	if b.holds() {
		return nil
	}
	if b.Seen.Standby {
		return b.Seen.StandbyLeader
	}
	return b.Seen.Leader
}

// Presumed is the baton as it will be if the candidate is confirmed; ok is false
// if there is none to take over from who leads.
func (b Baton) Presumed() (next Baton, ok bool) {
	m := b.Candidate()
	if m == nil || b.Confirmed == nil || b.Phase != Promoting || b.Seen.Standby {
		return b, false
	}
	candidate := *m
	b.Confirmed, b.Phase = &candidate, Steady
	b.Term = Term{System: b.Seen.System, Leader: m.Name, Session: b.Seen.Key.Session, Created: b.Seen.Key.Created, Timeline: m.Timeline}
	return b, true
}

// View is the cluster as templates see it: led by the confirmed leader.
func (b Baton) View() Cluster {
	v := b.Seen
	v.Phase = b.Phase
	v.Timeline = b.Term.Timeline
	if b.Confirmed != nil {
		v.Standby = b.Term.Standby
	}
	v.arrange(b.Confirmed, b.Health)
	return v
}

// Same says whether other differs in no more than heartbeats.
func (b Baton) Same(other any) bool {
	o, ok := other.(Baton)
	if !ok {
		return false
	}
	return b.Phase == o.Phase && b.Term == o.Term && b.Refused == o.Refused && b.Alarm == o.Alarm && b.Early == o.Early &&
		sameMember(b.Confirmed, o.Confirmed) && sameMember(b.Former, o.Former) && b.Seen.Same(&o.Seen) &&
		maps.EqualFunc(b.Health, o.Health, Health.same)
}
