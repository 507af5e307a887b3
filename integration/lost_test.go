package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestLostLeaders: whatever way a leader goes, its clients lose no more than the
// transactions that were under way, and nobody hangs.
func TestLostLeaders(t *testing.T) {
	const clients = 8
	consul := servertest.Consul(t)
	// A replica may lag on a slow machine, and is to take over all the same.
	c := servertest.Patroni(t, consul, 3, servertest.DynamicConfig("maximum_lag_on_failover", 1<<30))
	e := newEdge(t, consul, c, edgeSettings{})
	w := startWriters(t, e.port, clients)

	t.Run("its Patroni stops, and it takes writes on", func(t *testing.T) {
		old := c.Leader(t)
		old.FreezePatroni(t)
		e.survives(t, w, old, clients)
		servertest.Eventually(t, "two that take writes raise an alarm", func() error { return e.logged("two members take writes") })
		// Nobody writes there any more, as far as pgbouncer's clients go.
		before := rowsOn(t, old)
		w.Progress(t, 100)
		if after := rowsOn(t, old); after != before {
			t.Errorf("the old leader took %d rows after the new one was confirmed", after-before)
		}
		old.Thaw(t)
		servertest.Eventually(t, "the alarm is over", func() error { return e.logged("one member takes writes again") })
		c.AwaitReady(t)
		w.Failures()
	})

	t.Run("it restarts in place", func(t *testing.T) {
		leader := c.Leader(t)
		c.Ctl(t, "restart", c.Scope, leader.Name, "--force")
		through(e.port).landsOn(t, leader)
		w.Everyone(t, time.Now())
		e.few(t, w, clients)
		c.AwaitReady(t)
	})

	t.Run("it hangs", func(t *testing.T) {
		old := c.Leader(t)
		old.Freeze(t)
		e.survives(t, w, old, clients)
		servertest.Eventually(t, "what hung is cut", func() error { return e.logged("cut what hung on the leader of before") })
		old.Thaw(t)
		c.AwaitReady(t)
		w.Failures()
	})

	t.Run("it crashes", func(t *testing.T) {
		old := c.Leader(t)
		old.Kill()
		e.survives(t, w, old, clients)
	})
	stopDaemon(t, e.daemon)
}

// survives looks at what a leader's end came to for the writers: they all write
// on at the next one, after most errors at most.
func (e *edge) survives(t *testing.T, w *servertest.Writers, old *servertest.PatroniMember, most int) {
	t.Helper()
	next := e.newLeader(t, old)
	through(e.port).landsOn(t, next)
	w.Everyone(t, time.Now())
	e.few(t, w, most)
}

// few says whether writers had to notice most errors at most since it was last asked.
func (e *edge) few(t *testing.T, w *servertest.Writers, most int) {
	t.Helper()
	failed, early := e.noticed(t, w.Failures())
	t.Logf("%d errors, and %d of transactions that began before the hold", len(failed), len(early))
	if len(failed) > most {
		t.Errorf("%d errors, more than %d: %v", len(failed), most, errors.Join(failed...))
	}
}

// newLeader waits for a leader other than old.
func (e *edge) newLeader(t *testing.T, old *servertest.PatroniMember) *servertest.PatroniMember {
	t.Helper()
	name := ""
	servertest.Eventually(t, old.Name+" is replaced", func() error {
		leader, found, err := e.store.Lookup(e.cluster.Key("leader"))
		if err == nil && (!found || leader == old.Name) {
			err = fmt.Errorf("no new leader: %q", leader)
		}
		name = leader
		return err
	})
	return e.cluster.Member(t, name)
}

// rowsOn counts the writers' rows on a server, asked itself.
func rowsOn(t *testing.T, m *servertest.PatroniMember) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), strings.TrimSpace(m.URL()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM rows").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
