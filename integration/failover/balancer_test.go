//go:build bench

package failover

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// haproxyPatroni is the configuration of Patroni's documentation, with a second
// listener for the other cluster.
func (s *stage) haproxyPatroni(t *testing.T, at string) doors {
	t.Helper()
	dir, ports := servertest.PostgresDir(t), servertest.FreePorts(t, 2)
	text := `global
    maxconn 1000

defaults
    mode tcp
    retries 2
    timeout client 30m
    timeout connect 4s
    timeout server 30m
    timeout check 5s
`
	for i, c := range []*servertest.PatroniCluster{s.cluster, s.other} {
		text += fmt.Sprintf(`
listen %s
    bind 127.0.0.1:%d
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions
`, c.Scope, ports[i])
		for _, m := range c.Members {
			server := at
			if c == s.other {
				server = m.Host // nothing happens there, and it listens nowhere else
			}
			text += fmt.Sprintf("    server %s %s:%d maxconn 200 check addr %s port %d\n", m.Name, server, m.Port, m.Host, m.RESTPort)
		}
	}
	s.haproxy(t, servertest.File(t, filepath.Join(dir, "haproxy.cfg"), text, 0o644))
	return behind(ports[0], ports[1])
}

// pgbatonHAProxy uses the built-in template. The other cluster's listener is
// appended to it.
func (s *stage) pgbatonHAProxy(t *testing.T) doors {
	t.Helper()
	dir, ports := servertest.PostgresDir(t), servertest.FreePorts(t, 2)
	cfg, socket := filepath.Join(dir, "haproxy.cfg"), filepath.Join(dir, "master.sock")
	config := s.patroniClusters() + fmt.Sprintf(`
target "haproxy" "lb" {
  template {
    source      = "builtin:haproxy.cfg"
    destination = %q
  }
  vars = {
    listen_address  = "127.0.0.1"
    read_write_port = %d
    read_only_port  = 0
    stats_socket    = "%s/admin.sock"
    log             = ""
    user            = ""
    group           = ""
    extra = [
      "listen other",
      "    bind 127.0.0.1:%d",
      "    server other %s:%d",
    ]
  }
  master_socket = %q
`, cfg, ports[0], dir, ports[1], s.endpoint().Host, s.endpoint().Port, socket)
	s.startPgbaton(t, dir, config+"  hold = true\n}\n", config+"}\n")
	servertest.Eventually(t, "pgbaton writes "+cfg, func() error {
		_, err := os.Stat(cfg)
		return err
	})
	s.haproxy(t, cfg, "-S", socket)
	return behind(ports[0], ports[1])
}

func (s *stage) haproxy(t *testing.T, cfg string, args ...string) {
	t.Helper()
	cmd := exec.Command(servertest.Need(t, "haproxy"), append([]string{"-W", "-f", cfg}, args...)...)
	cmd.Dir = filepath.Dir(cfg)
	servertest.AsPostgres(t, cmd)
	s.lives(t, servertest.Start(t, cmd))
}
