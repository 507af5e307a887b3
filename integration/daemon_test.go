package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// stopsWithin is how soon pgbaton has to end at SIGTERM.
const stopsWithin = 5 * time.Second

// startDaemon starts `pgbaton run` as the user postgres, as an operator does
// who keeps it beside a pooler, and waits until it has written its files. The
// state is kept in dir.
func startDaemon(t *testing.T, dir, config string, files ...string) *servertest.Process {
	t.Helper()
	config = fmt.Sprintf("state_dir = %q\n%s", filepath.Join(dir, "state"), config)
	path := servertest.File(t, filepath.Join(dir, "pgbaton.hcl"), config, 0o644)
	cmd := exec.Command(binary, "run", "-config", path)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "GORACE=halt_on_error=1"}
	servertest.AsPostgres(t, cmd)
	p := servertest.Start(t, cmd)
	servertest.Eventually(t, "pgbaton writes its files", func() error {
		if p.Exited() {
			t.Fatalf("pgbaton ended:\n%s", p.Output())
		}
		for _, f := range files {
			if _, err := os.Stat(f); err != nil {
				return err
			}
		}
		return nil
	})
	return p
}

// stopDaemon ends pgbaton as systemd does.
func stopDaemon(t *testing.T, p *servertest.Process) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(t.Context(), stopsWithin)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Errorf("pgbaton after SIGTERM: %v", err)
	}
}

// endpoint is a port through which clients reach the leader.
type endpoint struct{ url string }

func through(port int) endpoint {
	return endpoint{fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable"+
		"&default_query_exec_mode=simple_protocol&connect_timeout=5", port)}
}

// landsOn waits until a session through the endpoint is on a member, and that
// member takes its write.
func (e endpoint) landsOn(t *testing.T, m *servertest.PatroniMember) {
	t.Helper()
	e.landsAt(t, m.Name, m.Port)
}

// landsAt waits for the same of a server by its port.
func (e endpoint) landsAt(t *testing.T, name string, want int) {
	t.Helper()
	servertest.Eventually(t, "a session lands on "+name, func() error {
		port, err := e.write(t)
		if err == nil && port != want {
			err = fmt.Errorf("it is on port %d, %s on %d", port, name, want)
		}
		return err
	})
}

// write opens a session, writes, and returns the port of the server that took
// the write.
func (e endpoint) write(t *testing.T) (port int, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return e.writeWithin(ctx)
}

func (e endpoint) writeWithin(ctx context.Context) (port int, err error) {
	conn, err := pgx.Connect(ctx, e.url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	var recovery bool
	err = conn.QueryRow(ctx, "SELECT inet_server_port(), pg_is_in_recovery()").Scan(&port, &recovery)
	if err != nil {
		return 0, err
	}
	if recovery {
		return 0, errors.New("it is on a server in recovery")
	}
	_, err = conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS landed (at timestamptz); INSERT INTO landed VALUES (now())")
	return port, err
}

// readsFrom opens a session that only reads and returns the server's port.
func (e endpoint) readsFrom(t *testing.T) (port int, recovery bool, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, e.url)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = conn.Close(ctx) }()
	err = conn.QueryRow(ctx, "SELECT inet_server_port(), pg_is_in_recovery()").Scan(&port, &recovery)
	return port, recovery, err
}

// patroniConfig is the part of the config that all tests share.
func patroniConfig(consul *servertest.ConsulServer, c *servertest.PatroniCluster) string {
	return strings.TrimSpace(fmt.Sprintf(`
consul {
  address = %q
}
cluster "patroni" "main" {
  scope = %q
}
`, consul.Addr, c.Scope)) + "\n"
}
