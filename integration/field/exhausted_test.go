package field

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// exhausted uses up what the leader has, while clients write.
func exhausted(t *testing.T, s *stage) {
	t.Run("the leader's connections", func(t *testing.T) {
		e := s.begin(t, settings{})
		leader := s.cluster.Leader(t)
		all := crowded(t, leader)
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
		all.leave()
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
		all := crowded(t, next)
		s.cluster.Switchover(t, next)
		e.logs(t, "is=promoting")
		servertest.Eventually(t, next.Name+" takes writes", func() error {
			var recovery bool
			err := all.ask(t, "SELECT pg_is_in_recovery()", &recovery)
			if err == nil && recovery {
				err = errors.New("it is in recovery")
			}
			return err
		})
		e.stays(t, old)
		all.leave()
		e.confirms(t, next, "sql")
		e.writesOn(t, next)
		e.end(t)
	})

	t.Run("the leader's disk", func(t *testing.T) {
		e := s.begin(t, settings{})
		old, next := s.cluster.Leader(t), s.cluster.SyncStandby(t)
		free := sync.OnceFunc(s.disks[old.Name].Fill(t))
		t.Cleanup(free)
		servertest.Eventually(t, old.Name+" has no place for its log", func() error { return noPlace(t, old) })
		s.key(t, next)
		if !strings.Contains(old.Output(), "No space left on device") {
			t.Errorf("it was something else:\n%s", old.Output())
		}
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
		return nil // it is down already
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, "SET synchronous_commit = off; SELECT pg_logical_emit_message(true, 'fill', repeat('x', 1000)), pg_switch_wal()")
	switch {
	case err == nil:
		return errors.New("it still has")
	case conn.IsClosed():
		return nil // it has panicked
	}
	return err
}

// crowd is all the connections that a server has.
type crowd struct{ conns []*pgx.Conn }

// crowded takes every connection of a server, pgbaton's own included, until they
// leave.
func crowded(t *testing.T, m *servertest.PatroniMember) *crowd {
	t.Helper()
	c := &crowd{}
	t.Cleanup(c.leave)
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
			c.conns = append(c.conns, conn)
		}
		var theirs int
		err := c.ask(t, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pgbaton'", &theirs)
		if err == nil && theirs > 0 {
			err = fmt.Errorf("pgbaton had %d logins", theirs)
		}
		return err
	})
	return c
}

// ask reads one value by a connection that is there.
func (c *crowd) ask(t *testing.T, sql string, to any) error {
	return c.conns[0].QueryRow(t.Context(), sql).Scan(to)
}

func (c *crowd) leave() {
	for _, conn := range c.conns {
		_ = conn.Close(context.Background())
	}
	c.conns = nil
}

// logins counts pgbaton's own on a server.
func logins(t *testing.T, m *servertest.PatroniMember) (n int) {
	t.Helper()
	query(t, m, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbaton'", &n)
	return n
}
