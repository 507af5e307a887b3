package cluster

import (
	"cmp"
	"time"
)

// Phase is what a cluster is doing with its leadership.
type Phase string

// The phases.
const (
	Starting   Phase = "starting"   // no leader was confirmed yet
	Steady     Phase = "steady"     // the confirmed leader leads
	Switching  Phase = "switching"  // a switchover was asked for and is due
	Lost       Phase = "lost"       // the confirmed leader has the key, and is down
	Leaderless Phase = "leaderless" // nobody holds the leader key, and the confirmed leader takes no writes; or the cluster is fenced
	Promoting  Phase = "promoting"  // the key names a server that is not confirmed yet
)

// phase judges where leadership is. named is whom the key names.
func (b *Baton) phase(named *Member, ev []Evidence, now time.Time) Phase {
	switch {
	case b.Confirmed == nil && named == nil:
		return Starting
	case b.Confirmed != nil && b.Seen.Fenced:
		return Leaderless
	case b.Confirmed == nil || (named != nil && !b.holds() && b.Refused == ""):
		return Promoting
	case b.Seen.Failover.Due(now, lead) && b.concerns(b.Seen.Failover):
		return Switching
	}
	verdict := about(ev, b.Term.Leader, time.Time{}, now, anyWay).Verdict
	down := verdict == Gone || verdict == Silent || (verdict == ReadOnly && !b.Term.Standby)
	switch {
	case b.holds() && down:
		return Lost
	case b.holds():
		return Steady
	case verdict == Writable, b.Refused != "" && !down:
		return Steady // Patroni is away or paused, PostgreSQL is not; or the store is not to be believed
	case verdict == Unclear && (b.Seen.Paused || b.Seen.Failsafe):
		return Steady // nobody can be asked: in these modes it runs on without the key
	}
	return Leaderless
}

// holds says whether the leader key is still the confirmed term's, even if its
// member key can't be read.
func (b *Baton) holds() bool {
	return b.Confirmed != nil && b.Term.Standby == b.Seen.Standby &&
		b.Seen.Key == LeaderKey{Name: b.Term.Leader, Session: b.Term.Session, Created: b.Term.Created}
}

// concerns says whether f asks the confirmed leader to step down.
func (b *Baton) concerns(f *Failover) bool {
	return (f.Leader == "" || f.Leader == b.Term.Leader) && f.Member != b.Term.Leader
}

// Hold says whether clients are better kept waiting than let through to the
// confirmed leader.
func (b *Baton) Hold() bool {
	if b.Confirmed == nil || b.Term.Standby {
		return false
	}
	switch b.Phase {
	case Switching, Leaderless, Promoting:
		return true
	case Lost:
		return b.Early
	}
	return false
}

// HoldTimeout is how long a change of leader may take by the cluster's own
// settings: those that are unknown count as Patroni's defaults.
func (b *Baton) HoldTimeout() time.Duration {
	s := b.Seen
	return cmp.Or(s.TTL, 30*time.Second) + cmp.Or(s.LoopWait, 10*time.Second) + cmp.Or(s.RetryTimeout, 10*time.Second) + 10*time.Second
}

// Wake is when the clock alone changes what Next says; zero if it never does.
func (b *Baton) Wake(now time.Time) time.Time {
	var at time.Time
	if f := b.Seen.Failover; f != nil && b.Confirmed != nil && b.concerns(f) && !f.Due(now, lead) {
		at = f.ScheduledAt.Add(-lead)
	}
	if old := now.Add(fresh / 2); b.Alarm != "" && (at.IsZero() || old.Before(at)) {
		at = old // evidence grows old
	}
	return at
}
