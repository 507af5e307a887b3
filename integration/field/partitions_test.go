package field

import (
	"testing"

	"github.com/pgbaton/pgbaton/internal/faulttest"
)

// partitions cuts lines between machines while clients write.
func partitions(t *testing.T, s *stage) {
	t.Run("pgbaton's machine is cut off", func(t *testing.T) {
		e := s.begin(t, settings{})
		old, next := s.cluster.Leader(t), s.cluster.SyncStandby(t)
		mend := faulttest.Cut(t, s.edge.Namespace)
		s.cluster.Switchover(t, next)
		e.logs(t, "store does not answer")
		e.stays(t, old)
		mend()
		e.writesOn(t, next)
		e.end(t)
	})

	t.Run("it sees the store, and not the next leader", func(t *testing.T) {
		e := s.begin(t, settings{cluster: "confirm = [\"patroni-api\", \"sql\"]\nhold_timeout = \"8s\""})
		old, next := s.cluster.Leader(t), s.cluster.SyncStandby(t)
		mend := faulttest.Cut(t, s.edge.Namespace, next.Host)
		s.cluster.Switchover(t, next)
		e.logs(t, "is=promoting")
		e.logs(t, "hold_timeout has passed")
		e.stays(t, old)
		mend()
		e.writesOn(t, next)
		e.end(t)
	})

	t.Run("the same, and the role in its key is believed", func(t *testing.T) {
		e := s.begin(t, settings{cluster: `hold_timeout = "8s"`})
		next := s.cluster.SyncStandby(t)
		mend := faulttest.Cut(t, s.edge.Namespace, next.Host)
		s.cluster.Switchover(t, next)
		e.confirms(t, next, "role")
		e.logs(t, "is=lost") // it is silent
		mend()
		e.writesOn(t, next)
		e.end(t)
	})

	t.Run("it sees the leader, and not the store", func(t *testing.T) {
		e := s.begin(t, settings{})
		old, next := s.cluster.Leader(t), s.cluster.SyncStandby(t)
		e.writers.Failures()
		mend := faulttest.Cut(t, s.edge.Namespace, s.net.Addr)
		e.logs(t, "store does not answer")
		e.writers.Progress(t, 200)
		if failed := e.writers.Failures(); len(failed) > 0 || e.said("traffic held") > 0 {
			t.Errorf("clients noticed that the store was away: %v\n%s", failed, e.daemon.Output())
		}
		s.cluster.Switchover(t, next)
		e.logs(t, "traffic held") // the leader takes no writes any more, whatever the store says
		e.stays(t, old)
		mend()
		e.writesOn(t, next)
		e.end(t)
	})

	t.Run("the old leader sees pgbaton alone", func(t *testing.T) {
		e := s.begin(t, settings{})
		old, next := s.cluster.Leader(t), s.cluster.SyncStandby(t)
		mend := faulttest.Cut(t, old.Namespace(), s.without(old)...)
		e.logs(t, "traffic held") // it can't replicate, and then steps down
		s.expire(t, old)
		s.key(t, next)
		e.writesOn(t, next)
		mend()
		e.end(t)
	})

	t.Run("the same, and its Patroni stops", func(t *testing.T) {
		s.synchronous(t, false) // else nobody could write there any more
		e := s.begin(t, settings{})
		old := s.cluster.Leader(t)
		old.FreezePatroni(t)
		mend := faulttest.Cut(t, old.Namespace(), s.without(old)...)
		e.lonely = old
		e.writers.Progress(t, 200)
		s.expire(t, old)
		next := s.newLeader(t, old)
		e.writesOn(t, next)
		e.logs(t, "two members take writes")
		if rows := rowsOn(t, old); rows == 0 {
			t.Errorf("%s has no row", old.Name)
		} else if e.writers.Progress(t, 200); rowsOn(t, old) != rows {
			t.Errorf("%s takes rows of pgbouncer's clients, after %s was followed", old.Name, next.Name)
		}
		mend()
		old.Thaw(t)
		e.logs(t, "one member takes writes again")
		e.end(t)
		s.synchronous(t, true)
	})
}
