package field

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestExhausted uses up what the leader has, while clients write.
func TestExhausted(t *testing.T) {
	s := newStage(t)

	t.Run("the leader's connections", func(t *testing.T) {
		e := s.begin(t, settings{})
		leader := s.cluster.Leader(t)
		free := s.crowd(t, leader)
		if failed := e.writers.Failures(); len(failed) > 0 {
			t.Errorf("clients noticed: %v", failed)
		}
		// pgbaton logs in anew again and again: it must not take a full server for a dead one.
		beats := time.Now()
		e.writers.Progress(t, 500)
		e.writers.Everyone(t, beats.Add(4*time.Second))
		if failed := e.writers.Failures(); len(failed) > 0 || e.said("traffic held") > 0 || e.said("is=lost") > 0 {
			t.Errorf("a full server was taken for a dead one: %v\n%s", failed, e.daemon.Output())
		}
		free()
		servertest.Eventually(t, "pgbaton watches over the leader again", func() error {
			if n := logins(t, leader); n == 0 {
				return errors.New("it has no login")
			}
			return nil
		})
		e.end(t)
	})

	t.Run("the next leader's connections", func(t *testing.T) {
		e := s.begin(t, settings{cluster: `confirm = ["sql"]`})
		old, next := s.cluster.Leader(t), s.cluster.SyncStandby(t)
		free := s.crowd(t, next)
		s.cluster.Switchover(t, next)
		e.logs(t, "is=promoting")
		servertest.Eventually(t, next.Name+" takes writes", func() error {
			var recovery bool
			return errors.Join(s.crowds(t, "SELECT pg_is_in_recovery()", &recovery), errIf(recovery, "it is in recovery"))
		})
		e.stays(t, old)
		free()
		e.confirms(t, next, "sql")
		e.writesOn(t, next)
		e.end(t)
	})

	t.Run("the leader's disk", func(t *testing.T) {
		e := s.begin(t, settings{})
		old, next := s.cluster.Leader(t), s.cluster.SyncStandby(t)
		free := s.disks[old.Name].Fill(t)
		servertest.Eventually(t, old.Name+" has no place for its log", func() error { return noPlace(t, old) })
		s.key(t, next)
		e.writesOn(t, next)
		free()
		e.end(t)
	})
}

// noPlace makes a server write log until it can't.
func noPlace(t *testing.T, m *servertest.PatroniMember) error {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, m.SocketURL())
	if err != nil {
		return nil //nolint:nilerr // it is down already
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, "SET synchronous_commit = off; SELECT pg_logical_emit_message(true, 'fill', repeat('x', 1000)), pg_switch_wal()")
	if err == nil || conn.IsClosed() && err != nil {
		return errIf(err == nil, "it still has")
	}
	return err
}

func errIf(is bool, what string) error {
	if is {
		return errors.New(what)
	}
	return nil
}

// crowd takes every connection that a server has, pgbaton's own included.
func (s *stage) crowd(t *testing.T, m *servertest.PatroniMember) (free func()) {
	t.Helper()
	var conns []*pgx.Conn
	free = func() {
		for _, c := range conns {
			_ = c.Close(context.Background())
		}
		conns = nil
	}
	t.Cleanup(free)
	servertest.Eventually(t, m.Name+" is full", func() error {
		for {
			conn, err := pgx.Connect(t.Context(), m.SocketURL())
			var said *pgconn.PgError
			if errors.As(err, &said) && said.Code == "53300" {
				break
			}
			if err != nil {
				return err
			}
			conns = append(conns, conn)
		}
		var mine int
		err := conns[0].QueryRow(t.Context(), "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pgbaton'").Scan(&mine)
		if err == nil && mine > 0 {
			err = fmt.Errorf("pgbaton has %d logins", mine)
		}
		return err
	})
	s.crowds = func(t *testing.T, query string, to any) error { return conns[0].QueryRow(t.Context(), query).Scan(to) }
	return free
}

// logins counts pgbaton's own on a server.
func logins(t *testing.T, m *servertest.PatroniMember) (n int) {
	t.Helper()
	query(t, m, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbaton'", &n)
	return n
}
