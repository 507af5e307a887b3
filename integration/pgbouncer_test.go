package integration

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestPgBouncerFollowsTheLeader is the main job: a session through a real
// pgbouncer lands on whoever leads a real Patroni cluster.
func TestPgBouncerFollowsTheLeader(t *testing.T) {
	consul := servertest.Consul(t)
	c := servertest.Patroni(t, consul, 3)
	dir, port := servertest.PostgresDir(t), servertest.FreePort(t)
	ini := filepath.Join(dir, "pgbouncer.ini")

	servertest.File(t, filepath.Join(dir, "users"), "\"postgres\" \"\"\n", 0o644)

	daemon := startDaemon(t, dir, patroniConfig(consul, c)+fmt.Sprintf(`
target "pgbouncer" "edge" {
  template {
    source      = "builtin:pgbouncer.ini"
    destination = %[1]q
  }
  vars = {
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

	// Its reload has failed so far: there was no pgbouncer.
	pooler := servertest.PgBouncer(t, ini, port)
	session := through(port)
	session.landsOn(t, c.Members[0])

	for _, next := range []*servertest.PatroniMember{c.Members[1], c.Members[2]} {
		c.Switchover(t, next)
		session.landsOn(t, next)
		c.AwaitReady(t)
	}

	old := c.Leader(t)
	old.Kill()
	servertest.Eventually(t, "a crashed leader is replaced", func() error {
		st, _, err := consul.Client.KV().Get(c.Key("leader"), nil)
		if err == nil && (st == nil || string(st.Value) == old.Name) {
			err = fmt.Errorf("no new leader: %v", st)
		}
		return err
	})
	session.landsOn(t, c.Leader(t))

	if pooler.Exited() {
		t.Error("pgbouncer was restarted: it has to follow by itself")
	}
	stopDaemon(t, daemon)
}
