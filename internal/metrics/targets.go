package metrics

import (
	"time"

	"github.com/pgbaton/pgbaton/internal/status"
)

// What a target may be, and what may be wrong with it.
var (
	states = []string{status.InSync, status.Pending, status.Waiting, status.Failing, status.Frozen, status.Drifted}
	kinds  = []string{
		status.KindTemplate, status.KindCheck, status.KindGuard, status.KindApply, status.KindReload, status.KindDrift, status.KindLocked,
	}
)

// Who holds traffic.
const (
	byUs   = "pgbaton"
	byHand = "operator"
)

// perTarget shows something of each target.
func perTarget(show func(t status.Target, put put)) func(status.Status, put) {
	return func(s status.Status, put put) {
		for _, t := range s.Targets {
			show(t, put)
		}
	}
}

// perHolder shows something of each who may hold a target's traffic.
func perHolder(show func(since, until time.Time, put put, labels ...string)) func(status.Status, put) {
	return perTarget(func(t status.Target, put put) {
		for _, by := range []string{byUs, byHand} {
			since, until := held(t, by)
			show(since, until, put, t.ID, by)
		}
	})
}

var ofTargets = []gauge{
	{
		"pgbaton_target_in_sync", "1 if the target's files are the wanted ones and its daemon follows, as far as that can be seen",
		[]string{"target"},
		perTarget(func(t status.Target, put put) { put(flag(t.InSync), t.ID) }),
	},
	{
		"pgbaton_target_state", "1 for the state that the target is in, 0 for the others",
		[]string{"target", "state"},
		perTarget(func(t status.Target, put put) { oneOf(put, t.State, states, t.ID) }),
	},
	{
		"pgbaton_target_state_since_timestamp_seconds", "since when the target is in its state, in Unix time",
		[]string{"target"},
		perTarget(func(t status.Target, put put) { unix(put, t.Since, t.ID) }),
	},
	{
		"pgbaton_target_error", "1 for the kind of the target's error, 0 for the others",
		[]string{"target", "kind"},
		perTarget(func(t status.Target, put put) {
			kind := ""
			if t.Error != nil {
				kind = t.Error.Kind
			}
			oneOf(put, kind, kinds, t.ID)
		}),
	},
	{
		"pgbaton_target_consecutive_failures", "how often in a row the wanted files could not be applied",
		[]string{"target"},
		perTarget(func(t status.Target, put put) {
			n := 0
			if t.Error != nil {
				n = t.Error.Failures
			}
			put(float64(n), t.ID)
		}),
	},
	{
		"pgbaton_target_waits", "how many keys, services and the like the target's templates wait for",
		[]string{"target"},
		perTarget(func(t status.Target, put put) { put(float64(len(t.Waiting)), t.ID) }),
	},
	{
		"pgbaton_target_drifted_files", "how many of the target's files somebody else changed, and are left so",
		[]string{"target"},
		perTarget(func(t status.Target, put put) { put(float64(len(t.Drift)), t.ID) }),
	},
	{
		"pgbaton_target_frozen", "1 if an operator froze the target",
		[]string{"target"},
		perTarget(func(t status.Target, put put) { put(flag(t.Frozen != nil), t.ID) }),
	},
	{
		"pgbaton_target_frozen_since_timestamp_seconds", "since when the target is frozen, in Unix time; left out if it is not",
		[]string{"target"},
		perTarget(func(t status.Target, put put) {
			if t.Frozen != nil {
				unix(put, t.Frozen.Since, t.ID)
			}
		}),
	},
	{
		"pgbaton_target_frozen_until_timestamp_seconds", "when the target's freeze ends by itself, in Unix time; left out if it does not",
		[]string{"target"},
		perTarget(func(t status.Target, put put) {
			if t.Frozen != nil {
				unix(put, t.Frozen.Until, t.ID)
			}
		}),
	},
	{
		"pgbaton_target_held", "1 if the target's traffic is held, by pgbaton itself or by an operator",
		[]string{"target", "by"},
		perHolder(func(since, _ time.Time, put put, labels ...string) { put(flag(!since.IsZero()), labels...) }),
	},
	{
		"pgbaton_target_held_since_timestamp_seconds", "since when traffic is held, in Unix time; left out if it is not",
		[]string{"target", "by"},
		perHolder(func(since, _ time.Time, put put, labels ...string) { unix(put, since, labels...) }),
	},
	{
		"pgbaton_target_held_until_timestamp_seconds", "when traffic is released at the latest, in Unix time; left out if none is held",
		[]string{"target", "by"},
		perHolder(func(_, until time.Time, put put, labels ...string) { unix(put, until, labels...) }),
	},
	{
		"pgbaton_target_follows_info", "1 for the leader that the target's daemon was last made to follow, of each cluster",
		[]string{"target", "cluster", "leader"},
		perTarget(func(t status.Target, put put) {
			for _, l := range t.Follows {
				put(1, t.ID, l.Cluster, l.Name)
			}
		}),
	},
}

// held is since when, and until when at the latest, somebody holds traffic of a target;
// zero if he does not.
func held(t status.Target, by string) (since, until time.Time) {
	for _, h := range t.Held {
		if h.ByHand != (by == byHand) || len(h.Names) == 0 {
			continue
		}
		if since.IsZero() || h.Since.Before(since) {
			since = h.Since
		}
		if h.Until.After(until) {
			until = h.Until
		}
	}
	return since, until
}
