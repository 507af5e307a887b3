package integration

import (
	"errors"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestEveryStore: a planned switchover costs the writers of a real Patroni no error and
// no acknowledged row, whatever store it keeps its keys in; and a crash of whoever leads
// then costs what was under way.
func TestEveryStore(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) servertest.DCS{
		"etcd": func(t *testing.T) servertest.DCS { return servertest.Etcd(t, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := start(t)
			c := servertest.Patroni(t, store, 3)
			e := newEdge(t, store, c, edgeSettings{})
			w := startWriters(t, e.port, 4)
			old, next := c.Leader(t), c.Replicas(t)[0]
			c.Switchover(t, next)
			w.Progress(t, 100)
			through(e.port).landsOn(t, next)
			e.recounts(t, old, next, true)
			c.AwaitReady(t)
			failed, missing := w.End(t, next)
			failed, underWay := e.noticed(t, failed)
			if len(failed) > 0 || len(missing) > 0 {
				t.Errorf("%d errors, first of them %v; %d acknowledged rows missing; pgbaton:\n%s", len(failed), errors.Join(failed...), len(missing), e.daemon.Output())
			}
			t.Logf("longest stall %v, %d rows, %d transactions under way lost", w.Stall(), w.Rows(), len(underWay))

			next.Kill()
			through(e.port).landsOn(t, e.newLeader(t, next))
			stopDaemon(t, e.daemon)
		})
	}
}
