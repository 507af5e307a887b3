package cluster

import (
	"slices"
	"time"
)

// Way is a way to learn whether a member takes writes.
type Way string

// The ways. WayAPI and WaySQL ask the member itself; the others believe what
// the store says of it.
const (
	WayAPI  Way = "patroni-api" // the live role that GET /patroni answers with
	WaySQL  Way = "sql"         // pg_is_in_recovery()
	WayRole Way = "role"        // the role in its member key, which lags by up to Patroni's loop_wait
	WayKey  Way = "none"        // the leader key alone, which comes before the server takes writes
)

// Policy says when a leader that the key names counts as leader, and what
// follows from the silence of one that does.
type Policy struct {
	Confirm   []Way // the first evidence wins; none at all is WayKey
	EarlyHold bool  // clients wait as soon as the leader is lost, before its key is
}

func (p Policy) trusts(w Way) bool {
	return slices.Contains(p.Confirm, w) || (w == WayKey && len(p.Confirm) == 0)
}

// Asks says whether members have to be asked themselves.
func (p Policy) Asks() bool { return p.trusts(WayAPI) || p.trusts(WaySQL) }

// Verdict is what a look at a server came to.
type Verdict uint8

// The verdicts.
const (
	Unclear  Verdict = iota // it could not be asked, or its answer tells nothing; it may be well
	Writable                // it has left recovery
	ReadOnly                // it is in recovery
	Gone                    // it refuses connections, or ends them: there is no server
	Silent                  // it was asked several times and does not answer
)

func (v Verdict) String() string {
	return [...]string{"unclear", "writable", "read-only", "gone", "silent"}[v]
}

// Evidence is what the newest look at one member came to.
type Evidence struct {
	Member   string
	Verdict  Verdict
	Way      Way
	System   string    // the system identifier that it answers with; "" if it was not asked
	Timeline uint64    // 0 if it was not asked
	At       time.Time // when the look began
}

// fresh is how old evidence may be: looks that matter are repeated more often,
// so an older one is from before pgbaton itself was stopped and went on.
const fresh = 10 * time.Second

// about is the newest evidence about a member that began at or after since and
// came by a way that counts; a look that learned nothing is none.
func about(ev []Evidence, member string, since, now time.Time, counts func(Way) bool) (newest Evidence) {
	for _, e := range ev {
		if e.Member != member || e.Verdict == Unclear || e.At.Before(since) || now.Sub(e.At) > fresh || !counts(e.Way) {
			continue
		}
		if newest.At.IsZero() || e.At.After(newest.At) {
			newest = e
		}
	}
	return newest
}

func anyWay(Way) bool { return true }
