package integration

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// newBalancer starts pgbaton and, on the file that it writes, a real HAProxy in
// master-worker mode, whose read-only port it returns beside.
func newBalancer(t *testing.T, consul *servertest.ConsulServer, c *servertest.PatroniCluster, s edgeSettings) (e *edge, readOnly int) {
	t.Helper()
	ports := servertest.FreePorts(t, 2)
	e = &edge{dir: servertest.PostgresDir(t), port: ports[0], store: consul, cluster: c}
	e.ini = filepath.Join(e.dir, "haproxy.cfg")
	socket := filepath.Join(e.dir, "master.sock")
	e.config = fmt.Sprintf(`
consul {
  address = %q
}
cluster "patroni" "main" {
  scope = %q
%s
}
target "haproxy" "lb" {
  template {
    source      = "builtin:haproxy.cfg"
    destination = %q
  }
  vars = {
    listen_address  = "127.0.0.1"
    read_write_port = %d
    read_only_port  = %d
    stats_socket    = "%s/admin.sock"
    log             = ""
    user            = ""
    group           = ""
%s
  }
  master_socket = %q
  hold          = true
%s
}
`, consul.Addr, c.Scope, s.cluster, e.ini, ports[0], ports[1], e.dir, s.vars, socket, s.target)
	e.awaitLeader(t)
	e.daemon = startDaemon(t, e.dir, e.config, e.ini)
	cmd := exec.Command(servertest.Need(t, "haproxy"), "-W", "-S", socket, "-f", e.ini)
	cmd.Dir = e.dir
	servertest.AsPostgres(t, cmd)
	e.pooler = servertest.Start(t, cmd)
	through(e.port).landsOn(t, c.Leader(t))
	servertest.Eventually(t, "pgbaton has applied its files", func() error { return e.logged("applied:") })
	return e, ports[1]
}

// TestHAProxyFollowsTheLeader: the read-write port of a real HAProxy in
// master-worker mode leads to the leader and to nobody else, the read-only port
// to a replica.
func TestHAProxyFollowsTheLeader(t *testing.T) {
	consul := servertest.Consul(t)
	c := servertest.Patroni(t, consul, 3)
	e, readOnly := newBalancer(t, consul, c, edgeSettings{})
	write, read := through(e.port), through(readOnly)
	load := startSessionWriters(t, write, c.Members[0])

	for _, next := range []*servertest.PatroniMember{c.Members[1], c.Members[2]} {
		c.Switchover(t, next)
		write.landsOn(t, next)
		// A fresh worker takes its servers for fit before it has looked.
		e.pooler.Signal(t, syscall.SIGUSR2)
		c.AwaitReady(t)
		e.pooler.Signal(t, syscall.SIGUSR2)
		servertest.Eventually(t, "the read-only port leads to a replica", func() error {
			port, recovery, err := read.readsFrom(t)
			if err == nil && (!recovery || port == next.Port) {
				err = errors.New("it leads to the leader")
			}
			return err
		})
	}

	load.stop(t, c.Members[2])
	if !strings.Contains(e.daemon.Output(), "moved primary/leader to") {
		t.Errorf("no worker was told of a leader:\n%s", e.daemon.Output())
	}
	if e.pooler.Exited() {
		t.Error("haproxy's master ended: it has to reload")
	}
	stopDaemon(t, e.daemon)
}

// TestHAProxyHoldsTraffic: new sessions wait, however the hold ends.
func TestHAProxyHoldsTraffic(t *testing.T) {
	const clients = 8
	consul := servertest.Consul(t)
	// A replica may lag on a slow machine, and is to take over all the same.
	c := servertest.Patroni(t, consul, 3, servertest.DynamicConfig("maximum_lag_on_failover", 1<<30))
	e, _ := newBalancer(t, consul, c, edgeSettings{cluster: `hold_timeout = "40s"`})
	config := filepath.Join(e.dir, "pgbaton.hcl")
	w := startWriters(t, e.port, clients)

	t.Run("called-off switchover", func(t *testing.T) {
		callOff := e.askSwitchover(t)
		e.isHeld(t, true)
		// Whoever reloads it lets clients through, for a moment.
		e.pooler.Signal(t, syscall.SIGUSR2)
		servertest.Eventually(t, "it is held again", func() error { return e.logged("again=true") })
		e.isHeld(t, true)
		callOff()
		e.isHeld(t, false)
		w.Everyone(t, time.Now()) // those that were there went on all the time
		if failed := w.Failures(); len(failed) > 0 {
			t.Errorf("errors %v", failed)
		}
	})

	t.Run("pgbaton hold", func(t *testing.T) {
		if out := e.pgbaton(t, "hold", "-config", config, "-target", "lb", "-for", "60s"); !strings.Contains(out, "haproxy.lb: held for 1m0s: primary/leader=") {
			t.Errorf("it said %q", out)
		}
		e.isHeld(t, true)
		e.pgbaton(t, "release", "-config", config)
		e.isHeld(t, false)
		e.noHolds(t)
	})

	t.Run("SIGTERM", func(t *testing.T) {
		callOff := e.askSwitchover(t)
		e.isHeld(t, true)
		stopDaemon(t, e.daemon)
		e.isHeld(t, false)
		e.noHolds(t)
		callOff()
	})

	t.Run("kill -9, and the guard", func(t *testing.T) {
		e.daemon = startDaemon(t, e.dir, strings.Replace(e.config, `"40s"`, `"10s"`, 1), e.ini)
		callOff := e.askSwitchover(t)
		e.isHeld(t, true)
		e.daemon.Kill()
		e.isHeld(t, true)
		e.isHeld(t, false)
		e.noHolds(t)
		callOff()
	})

	t.Run("kill -9, and the next start", func(t *testing.T) {
		e.daemon = startDaemon(t, e.dir, e.config, e.ini)
		callOff := e.askSwitchover(t)
		e.isHeld(t, true)
		e.daemon.Kill()
		e.daemon = startDaemon(t, e.dir, e.config, e.ini)
		servertest.Eventually(t, "the next one takes over", func() error { return e.logged("taking over what the last process held") })
		e.isHeld(t, true)
		callOff()
		e.isHeld(t, false)
		e.noHolds(t)
	})

	if failed := w.Failures(); len(failed) > 0 {
		t.Fatalf("sessions that were there failed: %v", failed)
	}
	e.daemon = startDaemon(t, e.dir, e.config, e.ini)
	for _, lost := range []struct {
		how string
		end func(t *testing.T, old *servertest.PatroniMember)
	}{
		{"the leader hangs", func(t *testing.T, old *servertest.PatroniMember) { old.Freeze(t) }},
		{"the leader crashes", func(_ *testing.T, old *servertest.PatroniMember) { old.Kill() }},
	} {
		t.Run(lost.how, func(t *testing.T) {
			c.AwaitReady(t)
			w.Failures()
			old := c.Leader(t)
			lost.end(t, old)
			e.survives(t, w, old, clients)
			if lost.how == "the leader hangs" {
				old.Thaw(t)
			}
		})
	}
	stopDaemon(t, e.daemon)
}

// sessionWriters write rows through an endpoint, each in a session that it keeps until
// it fails.
type sessionWriters struct {
	end context.CancelFunc
	all sync.WaitGroup

	mu       sync.Mutex
	acked    []int
	misled   []string       // errors of servers that were asked to write and do not lead
	failed   map[string]int // other errors
	longest  time.Duration  // between two writes that succeeded, of any writer
	previous time.Time
}

func startSessionWriters(t *testing.T, e endpoint, leader *servertest.PatroniMember) *sessionWriters {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), leader.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), "CREATE TABLE written (id int PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	w := &sessionWriters{end: end, failed: map[string]int{}, previous: time.Now()}
	for i := range 4 {
		w.all.Go(func() { w.run(ctx, e, (i+1)*1_000_000) })
	}
	return w
}

func (w *sessionWriters) run(ctx context.Context, e endpoint, id int) {
	for ctx.Err() == nil {
		err := func() error {
			conn, err := pgx.Connect(ctx, e.url)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			for ctx.Err() == nil {
				id++
				if _, err := conn.Exec(ctx, fmt.Sprintf("INSERT INTO written VALUES (%d)", id)); err != nil {
					return err
				}
				w.wrote(id)
				sleepFor(ctx, 5*time.Millisecond)
			}
			return nil
		}()
		if err != nil && ctx.Err() == nil {
			w.erred(err)
			sleepFor(ctx, 20*time.Millisecond)
		}
	}
}

func (w *sessionWriters) wrote(id int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked = append(w.acked, id)
	now := time.Now()
	w.longest, w.previous = max(w.longest, now.Sub(w.previous)), now
}

func (w *sessionWriters) erred(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text := err.Error(); strings.Contains(text, "read-only transaction") {
		w.misled = append(w.misled, time.Now().UTC().Format("15:04:05.000 ")+text)
	} else {
		w.failed[text[strings.LastIndex(text, ": ")+1:]]++
	}
}

// stop ends the writers and looks for what they were told is written.
func (w *sessionWriters) stop(t *testing.T, leader *servertest.PatroniMember) {
	t.Helper()
	w.end()
	w.all.Wait()
	t.Logf("%d writes, longest pause %v, errors %v", len(w.acked), w.longest.Round(time.Millisecond), w.failed)
	if len(w.misled) > 0 {
		t.Errorf("%d writes reached a server that does not lead: %s", len(w.misled), w.misled[0])
	}
	conn, err := pgx.Connect(t.Context(), leader.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	rows, _ := conn.Query(t.Context(), "SELECT id FROM written")
	there, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(there)
	for _, id := range w.acked {
		if _, found := slices.BinarySearch(there, id); !found {
			t.Errorf("row %d was written, and is not there", id)
		}
	}
}

func sleepFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
