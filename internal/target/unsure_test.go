package target

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// holding is an obedient daemon whose traffic a pooler holds.
type holding struct {
	*obedient
	pool *pooler
}

func (h holding) Traffic(ctx context.Context, leader []reload.Address) (reload.Traffic, error) {
	return h.pool.Traffic(ctx, leader)
}

func (h holding) Hold(ctx context.Context, names []string) error { return h.pool.Hold(ctx, names) }

func (h holding) Release(ctx context.Context, names []string) error {
	return h.pool.Release(ctx, names)
}

// TestUnsure: while clients wait and the leader is in doubt, nothing but another
// leader is taken up.
func TestUnsure(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, `{{ with cluster "main" }}[{{ .Leader.Name }}:{{ range .Members }} {{ .Name }}{{ end }}]{{ end }}`)
		pool := bouncing()
		b.spec.Daemon, b.spec.Hold = holding{b.daemon, pool}, true
		b.spec.HoldTimeout = func(string) time.Duration { return time.Hour }
		leads := func(port int) {
			pool.mu.Lock()
			defer pool.mu.Unlock()
			pool.leads["app"], pool.leads["web"] = port, port
		}
		keys := &throne{}
		policy := cluster.Policy{Confirm: []cluster.Way{cluster.WayRole}}
		steady := cluster.Next(cluster.Baton{}, named("pg1", 7), policy, nil, time.Now())
		keys.set(steady)

		b.startOn(map[string]watcher.Store{watcher.Clusters: keys})
		defer func() { b.stop() }()
		b.expect("at the start", "[pg1: pg1 pg2]")

		// It crashes: its member key vanishes with the leader key.
		gone := steady
		gone.Phase = cluster.Leaderless
		gone.Seen.Members = gone.Seen.Members[1:]
		keys.set(gone)
		b.expect("nobody leads", "[pg1: pg1 pg2]")

		next := gone
		next.Phase, next.Confirmed = cluster.Steady, &gone.Seen.Members[0]
		next.Term.Leader, next.Term.Created = "pg2", 9
		keys.set(next)
		b.expect("the next one is there", "[pg1: pg1 pg2] [pg2: pg2]")

		leads(2)
		// Called off, with a change that came meanwhile.
		doubt := next
		doubt.Phase = cluster.Switching
		doubt.Seen.Members = steady.Seen.Members
		keys.set(doubt)
		b.expect("asked to switch", "[pg1: pg1 pg2] [pg2: pg2]")
		doubt.Phase = cluster.Steady
		keys.set(doubt)
		b.expect("called off", "[pg1: pg1 pg2] [pg2: pg2] [pg2: pg1 pg2]")

		leads(1)
		// What there is nothing to hold of is no reason to wait.
		doubt.Phase = cluster.Leaderless
		doubt.Seen.Members = doubt.Seen.Members[1:]
		keys.set(doubt)
		b.expect("nobody leads again", "[pg1: pg1 pg2] [pg2: pg2] [pg2: pg1 pg2] [pg2: pg2]")

		// Nor is what is held no longer, for it took too long.
		leads(2)
		doubt.Phase = cluster.Steady
		keys.set(doubt)
		b.expect("steady", "[pg1: pg1 pg2] [pg2: pg2] [pg2: pg1 pg2] [pg2: pg2]")
		doubt.Phase = cluster.Leaderless
		doubt.Seen.Members = steady.Seen.Members
		keys.set(doubt)
		b.expect("nobody leads", "[pg1: pg1 pg2] [pg2: pg2] [pg2: pg1 pg2] [pg2: pg2]")
		time.Sleep(time.Hour)
		b.expect("nobody leads for long", "[pg1: pg1 pg2] [pg2: pg2] [pg2: pg1 pg2] [pg2: pg2] [pg2: pg1 pg2]")
	})
}
