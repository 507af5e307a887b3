package integration

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// newPgPool starts pgbaton and, on the file that it writes, a real pgpool.
func newPgPool(t *testing.T, consul *servertest.ConsulServer, c *servertest.PatroniCluster) *edge {
	t.Helper()
	ports := servertest.FreePorts(t, 3)
	e := &edge{dir: servertest.PostgresDir(t), port: ports[0], page: listener{ports[2]}, store: consul, cluster: c}
	e.ini = filepath.Join(e.dir, "pgpool.conf")
	passFile := servertest.PgPoolFolder(t, e.dir)
	var backends []string
	for _, m := range c.Members {
		backends = append(backends, fmt.Sprintf("%q", fmt.Sprintf("%s=%s:%d", m.Name, m.Host, m.Port)))
	}
	e.config = e.page.block() + fmt.Sprintf(`
%s
cluster "patroni" "main" {
  scope = %q
  probe "sql" {}
  probe "lag" {
    interval  = "200ms"
    max_delay = "2s"
    dwell     = "1s"
  }
}
target "pgpool" "edge" {
  template {
    source      = "builtin:pgpool.conf"
    destination = %q
  }
  vars = {
    backends          = [%s]
    listen_addresses  = "127.0.0.1"
    port              = %d
    socket_dir        = %[6]q
    pcp_port          = %[7]d
    pcp_socket_dir    = %[6]q
    pid_file_name     = "%[6]s/pgpool.pid"
    logdir            = %[6]q
    num_init_children = 16
    max_pool          = 1
  }
  port      = %[7]d
  pass_file = %[8]q
}
`, consul.Block(), c.Scope, e.ini, strings.Join(backends, ", "), ports[0], e.dir, ports[1], passFile)
	e.awaitLeader(t)
	e.daemon = startDaemon(t, e.dir, e.config, e.ini)
	e.pooler = servertest.PgPool(t, e.ini, e.port, ports[1])
	through(e.port).landsOn(t, c.Leader(t))
	servertest.Eventually(t, "pgbaton has applied its files", func() error { return e.logged("applied:") })
	return e
}

// reader is the port of the server that a new session through pgpool reads from. It asks no
// volatile function, as pg_is_in_recovery is: pgpool takes such a query for a write.
func (e *edge) reader(t *testing.T) (port int, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, through(e.port).url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	err = conn.QueryRow(ctx, "SELECT inet_server_port()").Scan(&port)
	return port, err
}

// reads waits until a session through pgpool reads from a member.
func (e *edge) reads(t *testing.T, m *servertest.PatroniMember) {
	t.Helper()
	servertest.Eventually(t, "a session reads from "+m.Name, func() error {
		port, err := e.reader(t)
		if err == nil && port != m.Port {
			err = fmt.Errorf("it reads from port %d", port)
		}
		return err
	})
}

// readsElsewhere waits until many sessions on end read from others than a member.
func (e *edge) readsElsewhere(t *testing.T, m *servertest.PatroniMember) {
	t.Helper()
	servertest.Eventually(t, "sessions read elsewhere than from "+m.Name, func() error {
		for range 20 {
			if port, err := e.reader(t); err != nil || port == m.Port {
				return errors.Join(err, errors.New("one reads there"))
			}
		}
		return nil
	})
}

// TestPgPoolFollowsTheLeader: writers through a real pgpool follow a switchover, and a leader
// that hangs with their sessions. No write is taken by a server that leads no more, and no
// new session reads from a replica that lags.
func TestPgPoolFollowsTheLeader(t *testing.T) {
	t.Parallel()
	const clients = 4
	consul := servertest.Consul(t)
	// A replica may lag on a slow machine, and is to take over all the same.
	c := servertest.Patroni(t, consul, 3, servertest.DynamicConfig("maximum_lag_on_failover", 1<<30))
	e := newPgPool(t, consul, c)
	w := startWriters(t, e.port, clients)
	e.reads(t, c.Members[1])
	e.reads(t, c.Members[2])
	pauseReplay(c.Members[2])(t)
	e.readsElsewhere(t, c.Members[2])
	resumeReplay(c.Members[2])(t)
	e.reads(t, c.Members[2])

	c.Switchover(t, c.Members[1])
	through(e.port).landsOn(t, c.Members[1])
	w.Everyone(t, time.Now())
	t.Logf("a switchover: longest stall %v, %d errors", w.Stall().Round(time.Millisecond), len(w.Failures()))
	c.AwaitReady(t)
	servertest.Eventually(t, "the old leader is attached again", func() error { return e.logged("attach a backend: target=pgpool.edge backend=0") })
	e.reads(t, c.Members[0])

	old := c.Members[1]
	frozen := time.Now()
	old.Freeze(t)
	next := e.newLeader(t, old)
	through(e.port).landsOn(t, next)
	moved := time.Now()
	w.Everyone(t, moved)
	t.Logf("a leader that hangs: longest stall %v, %d errors", w.Stall().Round(time.Millisecond), len(w.Failures()))
	old.Thaw(t)
	w.Progress(t, 100)
	at := fmt.Sprintf("%s:%d", next.Host, next.Port)
	for _, ack := range w.Acks(moved) {
		if ack.Server != at {
			t.Fatalf("a write was taken at %s, the leader is at %s", ack.Server, at)
		}
	}
	c.AwaitReady(t)
	e.reads(t, old)
	failed, missing := w.End(t, next)
	// What it took last may not have left it: nobody replicates synchronously here.
	missing = slices.DeleteFunc(missing, func(id int) bool {
		a := w.Ack(id)
		return a.Server == fmt.Sprintf("%s:%d", old.Host, old.Port) && a.Begun.Before(moved) && frozen.Sub(a.Begun) < time.Second
	})
	if len(missing) > 0 {
		t.Errorf("%d acknowledged rows are not there; %d errors", len(missing), len(failed))
	}
	stopDaemon(t, e.daemon)
}
