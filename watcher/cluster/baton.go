package cluster

import (
	"fmt"
	"time"
)

// Term is one reign of a leader. Session tells whether it is the same term,
// Created which of two is later, within one system identifier.
type Term struct {
	System   string
	Leader   string
	Session  string
	Created  uint64
	Timeline uint64
}

// Baton says who takes a cluster's writes, and how that came about.
type Baton struct {
	Seen      Cluster // as last described by the store
	Confirmed *Member // the leader that templates see; nil until there was one
	Term      Term    // of Confirmed
	Phase     Phase
	Since     time.Time // when Phase began
	Refused   string    // why a leader that the store names is not believed; "" if it is
}

// Trust says when a leader that the key names counts as leader.
type Trust string

// The ways to confirm a leader.
const (
	TrustKey  Trust = "none" // the key alone
	TrustRole Trust = "role" // the key, once its member calls itself primary
)

// lead is how long before a scheduled switchover a cluster counts as
// switching.
const lead = time.Second

// Next says what becomes of prev when the store describes the cluster as seen.
// It decides; it does not look at a clock: now is the caller's.
//
// The last confirmed leader stays until the next one is confirmed, whatever
// happens to its keys meanwhile.
func Next(prev Baton, seen Cluster, trust Trust, now time.Time) Baton {
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
	next := Baton{Seen: seen, Confirmed: prev.Confirmed, Term: prev.Term}
	named := seen.Leader
	if seen.Standby {
		named = seen.StandbyLeader
	}
	if named != nil {
		term := Term{
			System: seen.System, Leader: named.Name, Session: seen.Key.Session,
			Created: seen.Key.Created, Timeline: named.Timeline,
		}
		next.Refused = refuse(prev, term)
		if next.Refused == "" && (continues(prev, term) || confirmed(named, trust)) {
			if term.Timeline < prev.Term.Timeline && continues(prev, term) {
				term.Timeline = prev.Term.Timeline // a member that restarts shows none for a while
			}
			next.Confirmed, next.Term = named, term
		}
	}
	next.Phase = phase(next, named, now)
	next.Since = now
	if next.Phase == prev.Phase {
		next.Since = prev.Since
	}
	return next
}

// nothing says whether there is no key at all.
func (c *Cluster) nothing() bool {
	return len(c.Members) == 0 && c.Key.Name == "" && c.System == "" && len(c.Problems) == 0
}

// continues says whether term is the one that prev confirmed.
func continues(prev Baton, term Term) bool {
	return prev.Confirmed != nil && term.Leader == prev.Term.Leader && term.System == prev.Term.System &&
		term.Session == prev.Term.Session && term.Created == prev.Term.Created
}

func confirmed(m *Member, trust Trust) bool {
	return trust != TrustRole || m.Role == "primary" || m.Role == "standby_leader"
}

// refuse says why term can't follow prev, or "". Leadership never goes back:
// an earlier key of the same system is believed only on a timeline at least as
// high, as after a store was restored from a backup.
func refuse(prev Baton, term Term) string {
	old := prev.Term
	if prev.Confirmed == nil || term.System != old.System || term.Created >= old.Created || term.Timeline >= old.Timeline {
		return ""
	}
	return fmt.Sprintf("the leader key names %s on timeline %d with index %d, older than %s on timeline %d with index %d",
		term.Leader, term.Timeline, term.Created, old.Leader, old.Timeline, old.Created)
}

func phase(b Baton, named *Member, now time.Time) Phase {
	switch {
	case b.Confirmed == nil && named == nil:
		return Starting
	case b.Confirmed == nil || (named != nil && !b.holds()):
		return Promoting
	case b.Seen.Failover.Due(now, lead) && b.concerns(b.Seen.Failover):
		return Switching
	case named == nil && !b.holds():
		return Leaderless
	}
	return Steady
}

// holds says whether the leader key is still the confirmed term's, even if its
// member key can't be read.
func (b Baton) holds() bool {
	return b.Seen.Key == LeaderKey{Name: b.Term.Leader, Session: b.Term.Session, Created: b.Term.Created}
}

// concerns says whether f asks the confirmed leader to step down.
func (b Baton) concerns(f *Failover) bool { return f.Leader == "" || f.Leader == b.Term.Leader }

// View is the cluster as templates see it: led by the confirmed leader.
func (b Baton) View() Cluster {
	v := b.Seen
	v.Phase = b.Phase
	v.Timeline = b.Term.Timeline
	v.arrange(b.Confirmed)
	return v
}

// Same says whether other differs in no more than heartbeats.
func (b Baton) Same(other any) bool {
	o, ok := other.(Baton)
	if !ok {
		return false
	}
	return b.Phase == o.Phase && b.Term == o.Term && b.Refused == o.Refused &&
		sameMember(b.Confirmed, o.Confirmed) && b.Seen.Same(&o.Seen)
}
