package integration

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestReplicasThatLagLeaveTheRotation: replicas of a real cluster whose replay is paused,
// slowed, or cut off from the leader, and one that hangs, get no new reads through the
// read-only port of a real HAProxy, keep the sessions that they have, and come back.
func TestReplicasThatLagLeaveTheRotation(t *testing.T) {
	t.Parallel()
	consul := servertest.Consul(t)
	c := servertest.Patroni(t, consul, 3, servertest.DynamicConfig("maximum_lag_on_failover", 1<<30))
	probes := `
  probe "tcp" {
    interval = "200ms"
  }
  probe "sql" {
    interval = "200ms"
    fall     = 5
  }
  probe "lag" {
    interval  = "200ms"
    max_delay = "2s"
    dwell     = "1s"
  }
  probe "not-full" {
    query    = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crowd'"
    expect   = "< 2"
    interval = "200ms"
    fall     = 1
    dwell    = "1s"
  }`
	// The checks of HAProxy itself are slow here: what they find out, they find out later.
	e, readOnly := newBalancer(t, consul, c, edgeSettings{cluster: probes, vars: `check_interval = "60s"`})
	read := through(readOnly)
	beat(t, c.Leader(t))
	lame, other := c.Replicas(t)[0], c.Replicas(t)[1]
	serve := func(t *testing.T, want ...*servertest.PatroniMember) {
		t.Helper()
		servertest.Eventually(t, "reads come from "+names(want), func() error { return rotation(t, read, want) })
	}
	serve(t, lame, other)

	for _, fault := range []struct {
		name, probes string
		begin, end   func(t *testing.T)
	}{
		{"replay is paused", "lag", pauseReplay(lame), resumeReplay(lame)},
		{
			"replay is slowed", "lag",
			unpatronised(lame, "ALTER SYSTEM SET recovery_min_apply_delay = '5s'", "SELECT pg_reload_conf()"),
			patronised(lame, "ALTER SYSTEM RESET recovery_min_apply_delay", "SELECT pg_reload_conf()"),
		},
		// It has replayed all that it received: no server's own word tells that it lags.
		{"it is cut off from the leader", "lag", receiver(lame, syscall.SIGSTOP), receiver(lame, syscall.SIGCONT)},
		{"it hangs", "sql lag not-full", func(t *testing.T) { lame.FreezePostgres(t) }, func(*testing.T) { lame.ThawPostgres() }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			stays := connect(t, lame, read)
			fault.begin(t)
			servertest.Eventually(t, "pgbaton says so", func() error { return e.saysOf(lame, strings.Fields(fault.probes)...) })
			serve(t, other)
			fault.end(t)
			serve(t, lame, other)
			if _, err := stays.Exec(t.Context(), "SELECT 1"); err != nil {
				t.Errorf("its session was cut: %v", err)
			}
		})
	}

	t.Run("a query of an operator's own", func(t *testing.T) {
		var crowd []*pgx.Conn
		for range 2 {
			conn, err := pgx.Connect(t.Context(), lame.URL()+"&application_name=crowd")
			if err != nil {
				t.Fatal(err)
			}
			crowd = append(crowd, conn)
		}
		servertest.Eventually(t, "pgbaton says so", func() error { return e.saysOf(lame, "not-full") })
		serve(t, other)
		if err := e.logged(`probe=not-full why="it is \"2\", not < \"2\""`); err != nil {
			t.Error(err)
		}
		for _, conn := range crowd {
			_ = conn.Close(t.Context())
		}
		serve(t, lame, other)
	})

	whole := t // the daemon outlives the part that starts it
	t.Run("a restart of pgbaton brings nobody back", func(t *testing.T) {
		pauseReplay(lame)(t)
		serve(t, other)
		stopDaemon(t, e.daemon)
		e.daemon = startDaemon(whole, e.dir, e.config, e.ini)
		servertest.Eventually(t, "it follows", func() error { return e.logged("member is unfit: cluster=main member=" + lame.Name) })
		serve(t, other)
		if e.logged("took back replicas/"+lame.Name) == nil {
			t.Errorf("it was back for a while:\n%s", e.daemon.Output())
		}
		resumeReplay(lame)(t)
		serve(t, lame, other)
	})

	t.Run("all lag, and the leader stands in", func(t *testing.T) {
		for _, m := range []*servertest.PatroniMember{lame, other} {
			pauseReplay(m)(t)
		}
		serve(t, c.Leader(t))
		for _, m := range []*servertest.PatroniMember{lame, other} {
			resumeReplay(m)(t)
		}
		serve(t, lame, other)
	})
	// Not even of the one that hung: the kernel took its connections.
	if e.logged("probe=tcp") == nil {
		t.Errorf("a port is said not to take connections:\n%s", e.daemon.Output())
	}
	if n := strings.Count(e.daemon.Output(), "reload "); n > 1 { // the first is that of the start
		t.Errorf("haproxy was reloaded %d times:\n%s", n, e.daemon.Output())
	}
	stopDaemon(t, e.daemon)
}

// beat has the leader write all the time: a replica lags only behind one that does.
func beat(t *testing.T, leader *servertest.PatroniMember) {
	t.Helper()
	sql(leader, "CREATE TABLE beats (at timestamptz)")(t)
	conn, err := pgx.Connect(t.Context(), leader.URL())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		for ctx.Err() == nil {
			if _, err := conn.Exec(ctx, "INSERT INTO beats VALUES (clock_timestamp())"); err != nil && ctx.Err() == nil {
				t.Errorf("the leader takes no writes: %v", err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
}

// rotation is an error unless sessions through an endpoint are on all of want, and on
// nobody else. They are open at the same time: a balancer that looks for the one with the
// fewest has reason to take each.
func rotation(t *testing.T, read endpoint, want []*servertest.PatroniMember) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	seen := map[int]bool{}
	for range 4 * len(want) {
		conn, err := pgx.Connect(ctx, read.url)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		var port int
		if err := conn.QueryRow(ctx, "SELECT inet_server_port()").Scan(&port); err != nil {
			return err
		}
		seen[port] = true
	}
	for _, m := range want {
		if !seen[m.Port] {
			return fmt.Errorf("none comes from %s", m.Name)
		}
		delete(seen, m.Port)
	}
	if len(seen) > 0 {
		return fmt.Errorf("some come from the ports %v", seen)
	}
	return nil
}

func names(members []*servertest.PatroniMember) string {
	var all []string
	for _, m := range members {
		all = append(all, m.Name)
	}
	return strings.Join(all, " and ")
}

// connect opens sessions through an endpoint until one is on m.
func connect(t *testing.T, m *servertest.PatroniMember, e endpoint) *pgx.Conn {
	t.Helper()
	var found *pgx.Conn
	servertest.Eventually(t, "a session on "+m.Name, func() error {
		conn, err := pgx.Connect(t.Context(), e.url)
		if err != nil {
			return err
		}
		var port int
		if err = conn.QueryRow(t.Context(), "SELECT inet_server_port()").Scan(&port); err == nil && port != m.Port {
			err = fmt.Errorf("it is on port %d", port)
		}
		if err != nil {
			_ = conn.Close(t.Context())
			return err
		}
		found = conn
		return nil
	})
	t.Cleanup(func() { _ = found.Close(context.Background()) })
	return found
}

// sql runs statements on a member itself.
func sql(m *servertest.PatroniMember, statements ...string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), m.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		for _, s := range statements {
			if _, err := conn.Exec(t.Context(), s); err != nil {
				t.Fatalf("%s: %s: %v", m.Name, s, err)
			}
		}
	}
}

// unpatronised runs statements on a member whose Patroni is stopped first: that would undo
// them. Its key in the store lives on for a while.
func unpatronised(m *servertest.PatroniMember, statements ...string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		m.FreezePatroni(t)
		sql(m, statements...)(t)
	}
}

// patronised undoes that.
func patronised(m *servertest.PatroniMember, statements ...string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		sql(m, statements...)(t)
		m.Thaw(t)
	}
}

func pauseReplay(m *servertest.PatroniMember) func(*testing.T) {
	return unpatronised(m, "SELECT pg_wal_replay_pause()")
}

func resumeReplay(m *servertest.PatroniMember) func(*testing.T) {
	return patronised(m, "SELECT pg_wal_replay_resume()")
}

// receiver signals the process of a replica that gets the leader's WAL.
func receiver(m *servertest.PatroniMember, sig syscall.Signal) func(*testing.T) {
	return process(m, "walreceiver", sig)
}

// replay signals the process of a replica that replays it, which its Patroni does not
// notice.
func replay(m *servertest.PatroniMember, sig syscall.Signal) func(*testing.T) {
	return process(m, "startup", sig)
}

// process signals the one process of a server that is of a type.
func process(m *servertest.PatroniMember, backendType string, sig syscall.Signal) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), m.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		var pid int
		if err := conn.QueryRow(t.Context(), "SELECT pid FROM pg_stat_activity WHERE backend_type = $1", backendType).Scan(&pid); err != nil {
			t.Fatalf("%s has no process %s: %v", m.Name, backendType, err)
		}
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
	}
}

// saysOf is an error unless one of some probes is what pgbaton has against a member.
func (e *edge) saysOf(m *servertest.PatroniMember, probes ...string) (err error) {
	for _, p := range probes {
		if err = e.logged("member is unfit: cluster=main member=" + m.Name + " probe=" + p); err == nil {
			break
		}
	}
	return err
}
