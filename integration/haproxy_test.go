package integration

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

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

	for _, next := range []*servertest.PatroniMember{c.Members[1], c.Members[2]} {
		c.Switchover(t, next)
		write.landsOn(t, next)
		c.AwaitReady(t)
		servertest.Eventually(t, "the read-only port leads to a replica", func() error {
			port, recovery, err := read.readsFrom(t)
			if err == nil && (!recovery || port == next.Port) {
				err = errors.New("it leads to the leader")
			}
			return err
		})
	}

	if balancer.Exited() {
		t.Error("haproxy's master ended: it has to reload")
	}
	stopDaemon(t, daemon)
}
