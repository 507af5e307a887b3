//go:build bench

package probe_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/probe"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

const (
	crowd = 100              // pgbatons on one cluster
	watch = 20 * time.Second // how long they are watched
)

// TestCrowd measures what a hundred pgbatons cost a cluster that is well, and
// one whose leader is about to change, and whether a leader that is full counts
// as lost.
func TestCrowd(t *testing.T) {
	c := servertest.Patroni(t, servertest.Consul(t), 2, servertest.MaxConnections(300))
	leader, replica := c.Members[0], c.Members[1]
	idle := usage(t, c, watch)
	t.Logf("without pgbaton: PostgreSQL %.2f %%, Patroni %.2f %% of a core", idle.postgres, idle.patroni)

	diaries := make([]diary, crowd)
	stop := many(t, func(ctx context.Context, i int) {
		newProber(t, probe.Config{Ways: both}).Pulse(ctx, member(leader), diaries[i].tell)
	})
	for i := range diaries {
		diaries[i].until(t, 0, cluster.Writable)
	}
	steady := usage(t, c, watch)
	t.Logf("%d pgbatons, steady: PostgreSQL %.2f %%, Patroni %.2f %% of a core more", crowd, steady.postgres-idle.postgres, steady.patroni-idle.patroni)

	// The leader is full of work, checkpoints, and takes no connection more.
	full := many(t, func(ctx context.Context, i int) {
		conn, err := pgx.Connect(ctx, leader.URL())
		for err == nil && ctx.Err() == nil {
			if i == 0 {
				_, err = conn.Exec(ctx, "CHECKPOINT")
			} else {
				_, err = conn.Exec(ctx, "SELECT pg_logical_emit_message(false, 'full', repeat(md5(random()::text), 2000))")
			}
		}
		if conn != nil {
			_ = conn.Close(context.Background())
		}
		<-ctx.Done()
	})
	var held []*pgx.Conn
	for {
		conn, err := pgx.Connect(t.Context(), leader.URL())
		if err != nil {
			t.Logf("the leader is full after %d connections more: %v", len(held), err)
			break
		}
		held = append(held, conn)
	}
	begun := time.Now()
	for time.Since(begun) < watch {
		time.Sleep(time.Second) // what is measured is time
	}
	lost := 0
	for i := range diaries {
		diaries[i].mu.Lock()
		for _, e := range diaries[i].all {
			if e.Verdict == cluster.Gone || e.Verdict == cluster.Silent {
				lost++
			}
		}
		diaries[i].mu.Unlock()
	}
	t.Logf("a leader at its limit, %v: %d of %d pgbatons took it for lost", watch, lost, crowd)
	if lost > 0 {
		t.Errorf("%d false alarms", lost)
	}
	full()
	for _, conn := range held {
		_ = conn.Close(t.Context())
	}
	stop()
	// A backend that ends takes along what it used.
	servertest.Eventually(t, "the crowd has left", func() error {
		conn, err := pgx.Connect(t.Context(), leader.URL())
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(t.Context()) }()
		var n int
		err = conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name NOT LIKE 'Patroni%' AND pid <> pg_backend_pid()").Scan(&n)
		if err == nil && n > 0 {
			err = fmt.Errorf("%d are there", n)
		}
		return err
	})

	stop = many(t, func(ctx context.Context, i int) {
		newProber(t, probe.Config{Ways: both}).Confirm(ctx, member(replica), diaries[i].tell)
	})
	asked := usage(t, c, watch/4)
	stop()
	t.Logf("%d pgbatons that ask a candidate by both ways: PostgreSQL %.2f %%, Patroni %.2f %% of a core more", crowd, asked.postgres-idle.postgres, asked.patroni-idle.patroni)
}

// many runs f for each of the crowd until stop is called.
func many(t *testing.T, f func(ctx context.Context, i int)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range crowd {
		all.Go(func() { f(ctx, i) })
	}
	stop = func() {
		cancel()
		all.Wait()
	}
	t.Cleanup(stop)
	return stop
}

type percent struct{ postgres, patroni float64 }

// usage is what the members' processes take of a core during d.
func usage(t *testing.T, c *servertest.PatroniCluster, d time.Duration) percent {
	t.Helper()
	before, begun := used(t, c), time.Now()
	for time.Since(begun) < d {
		time.Sleep(100 * time.Millisecond) // what is measured is time
	}
	after, took := used(t, c), time.Since(begun)
	return percent{
		postgres: 100 * (after.postgres - before.postgres) / float64(took),
		patroni:  100 * (after.patroni - before.patroni) / float64(took),
	}
}

// used is what living processes on the cluster's folders used so far, in nanoseconds.
func used(t *testing.T, c *servertest.PatroniCluster) percent {
	t.Helper()
	return percent{postgres: servertest.CPUBelow(t, c.Dir(), "postgres"), patroni: servertest.CPUBelow(t, c.Dir(), "patroni")}
}
