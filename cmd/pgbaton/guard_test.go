package main

import (
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/target"
)

// TestGuardWhoseClockIsSet: a hold ends in its time or before, whatever becomes of
// the clock that its deadline was written by.
func TestGuardWhoseClockIsSet(t *testing.T) {
	began := time.Date(2026, 3, 29, 1, 59, 0, 0, time.UTC)
	holds := target.Holds{Holds: []target.Hold{
		{Cluster: "main", Began: began, Until: began.Add(time.Minute)},
		{Cluster: "other", Began: began.Add(-time.Minute), Until: began},
	}}
	for _, c := range []struct {
		name string
		ran  time.Duration
		set  time.Duration // by how much the clock was set
		want bool
	}{
		{"in its time", 30 * time.Second, 0, false},
		{"just past it: the daemon goes first", 60500 * time.Millisecond, 0, false},
		{"past it", 62 * time.Second, 0, true},
		{"set ahead past the deadline", 10 * time.Second, time.Hour, true},
		{"set back, in its time", 50 * time.Second, -time.Hour, false},
		{"set back, and its time is over", 67 * time.Second, -time.Hour, true},
	} {
		if have := overdue(holds, c.ran, began.Add(c.ran+c.set)); have != c.want {
			t.Errorf("%s: overdue is %v", c.name, have)
		}
	}
}
