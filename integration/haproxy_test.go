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

// TestHAProxyFollowsTheLeader: the read-write port of a real HAProxy in
// master-worker mode leads to the leader, the read-only port to a replica.
func TestHAProxyFollowsTheLeader(t *testing.T) {
	consul := servertest.Consul(t)
	c := servertest.Patroni(t, consul, 3)
	dir, ports := servertest.PostgresDir(t), servertest.FreePorts(t, 2)
	cfg, socket := filepath.Join(dir, "haproxy.cfg"), filepath.Join(dir, "master.sock")

	daemon := startDaemon(t, dir, patroniConfig(consul, c)+fmt.Sprintf(`
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
  }
  master_socket = %q
}
`, cfg, ports[0], ports[1], dir, socket), cfg)

	cmd := exec.Command(servertest.Need(t, "haproxy"), "-W", "-S", socket, "-f", cfg)
	cmd.Dir = dir
	servertest.AsPostgres(t, cmd)
	balancer := servertest.Start(t, cmd)

	write, read := through(ports[0]), through(ports[1])
	write.landsOn(t, c.Members[0])
	load := startSessionWriters(t, write, c.Members[0])

	for i, next := range []*servertest.PatroniMember{c.Members[1], c.Members[2]} {
		load.mayReach(c.Members[i].Port, next.Port)
		c.Switchover(t, next)
		write.landsOn(t, next)
		// A fresh worker takes its servers for fit before it has looked.
		balancer.Signal(t, syscall.SIGUSR2)
		c.AwaitReady(t)
		balancer.Signal(t, syscall.SIGUSR2)
		servertest.Eventually(t, "the read-only port leads to a replica", func() error {
			port, recovery, err := read.readsFrom(t)
			if err == nil && (!recovery || port == next.Port) {
				err = errors.New("it leads to the leader")
			}
			return err
		})
	}

	load.stop(t, c.Members[2])
	if !strings.Contains(daemon.Output(), "moved primary/leader to") {
		t.Errorf("no worker was told of a leader:\n%s", daemon.Output())
	}
	if balancer.Exited() {
		t.Error("haproxy's master ended: it has to reload")
	}
	stopDaemon(t, daemon)
}

// sessionWriters write rows through an endpoint, each in a session that it keeps until
// it fails.
type sessionWriters struct {
	end context.CancelFunc
	all sync.WaitGroup

	mu       sync.Mutex
	acked    []int
	leaders  []int          // ports of who leads, and of who led before: it may be back as a replica before the next is confirmed
	misled   []string       // errors of any other server that was asked to write
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
		port := 0
		err := func() error {
			conn, err := pgx.Connect(ctx, e.url)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			if err := conn.QueryRow(ctx, "SELECT inet_server_port()").Scan(&port); err != nil {
				return err
			}
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
			w.erred(err, port)
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

// mayReach says whose ports a write may reach from now on.
func (w *sessionWriters) mayReach(leaders ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leaders = leaders
}

func (w *sessionWriters) erred(err error, port int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text := err.Error(); strings.Contains(text, "read-only transaction") && !slices.Contains(w.leaders, port) {
		w.misled = append(w.misled, text)
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
		t.Errorf("%d writes reached a server that never led: %s", len(w.misled), w.misled[0])
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
