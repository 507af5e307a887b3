//go:build bench

package lag

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// stage is what all contestants have in common.
type stage struct {
	consul  *servertest.ConsulServer
	cluster *servertest.PatroniCluster
	pgbaton string
}

// build compiles pgbaton as it is released.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(servertest.PostgresDir(t), "pgbaton")
	if err := servertest.Build(path, "-trimpath", "-ldflags", "-s -w"); err != nil {
		t.Fatal(err)
	}
	return path
}

// patroniChecks is HAProxy as Patroni's documentation has it for reads, with a limit, and
// with HAProxy's own interval.
func (s *stage) patroniChecks(t *testing.T) (port int) {
	t.Helper()
	dir, port := servertest.PostgresDir(t), servertest.FreePorts(t, 1)[0]
	text := fmt.Sprintf(`global
    maxconn 1000
defaults
    mode tcp
    retries 2
    timeout client 30m
    timeout connect 4s
    timeout server 30m
    timeout check 5s
listen replicas
    bind 127.0.0.1:%d
    option httpchk OPTIONS /replica?lag=%s
    http-check expect status 200
    default-server on-marked-down shutdown-sessions
`, port, maxBytes)
	for _, m := range s.cluster.Members {
		text += fmt.Sprintf("    server %s %s:%d check port %d\n", m.Name, m.Host, m.Port, m.RESTPort)
	}
	s.startHAProxy(t, servertest.File(t, filepath.Join(dir, "haproxy.cfg"), text, 0o644))
	return port
}

// haproxy is the built-in template, with a probe of the lag.
func (s *stage) haproxy(t *testing.T, limit string) (port int) {
	t.Helper()
	dir, ports := servertest.PostgresDir(t), servertest.FreePorts(t, 2)
	cfg, socket := filepath.Join(dir, "haproxy.cfg"), filepath.Join(dir, "master.sock")
	s.start(t, dir, limit, fmt.Sprintf(`
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
	s.startHAProxy(t, cfg, "-S", socket)
	return ports[1]
}

// pgbouncer is the built-in template, with a probe of the lag: its read-only name.
func (s *stage) pgbouncer(t *testing.T, limit string) (port int) {
	t.Helper()
	dir, port := servertest.PostgresDir(t), servertest.FreePorts(t, 1)[0]
	ini := filepath.Join(dir, "pgbouncer.ini")
	servertest.File(t, filepath.Join(dir, "users"), "\"postgres\" \"\"\n", 0o644)
	s.start(t, dir, limit, fmt.Sprintf(`
target "pgbouncer" "edge" {
  template {
    source      = "builtin:pgbouncer.ini"
    destination = %[1]q
  }
  vars = {
    databases       = ["postgres"]
    listen_addr     = "127.0.0.1"
    listen_port     = %[2]d
    unix_socket_dir = %[3]q
    pidfile         = "%[3]s/pgbouncer.pid"
    auth_type       = "trust"
    auth_file       = "%[3]s/users"
  }
  socket = %[3]q
  port   = %[2]d
}
`, ini, port, dir), ini)
	servertest.PgBouncer(t, ini, port)
	return port
}

// start starts pgbaton, and waits for what it writes.
func (s *stage) start(t *testing.T, dir, limit, target, writes string) {
	t.Helper()
	config := fmt.Sprintf(`
state_dir = "%s/state"
consul {
  address = %q
}
cluster "patroni" "main" {
  scope = %q
  probe "lag" {
    %s
  }
}
%s`, dir, s.consul.Addr, s.cluster.Scope, limit, target)
	path := servertest.File(t, filepath.Join(dir, "pgbaton.hcl"), config, 0o644)
	cmd := exec.Command(s.pgbaton, "run", "-config", path)
	cmd.Dir = dir
	servertest.AsPostgres(t, cmd)
	p := servertest.Start(t, cmd)
	servertest.Eventually(t, "pgbaton writes "+writes, func() error {
		if p.Exited() {
			t.Fatalf("pgbaton ended:\n%s", p.Output())
		}
		_, err := os.Stat(writes)
		return err
	})
}

func (s *stage) startHAProxy(t *testing.T, cfg string, args ...string) {
	t.Helper()
	cmd := exec.Command(servertest.Need(t, "haproxy"), append([]string{"-W", "-f", cfg}, args...)...)
	cmd.Dir = filepath.Dir(cfg)
	servertest.AsPostgres(t, cmd)
	servertest.Start(t, cmd)
}
