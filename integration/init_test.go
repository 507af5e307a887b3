package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// poolerByHand starts a pgbouncer as an operator has it before: it leads to one leader for
// good.
func poolerByHand(t *testing.T, dir string, port int, leader *servertest.PatroniMember) *servertest.Process {
	t.Helper()
	servertest.File(t, filepath.Join(dir, "users"), "\"postgres\" \"\"\n", 0o644)
	ini := servertest.File(t, filepath.Join(dir, "pgbouncer.ini"), fmt.Sprintf(`[databases]
postgres = host=127.0.0.1 port=%[1]d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %[2]d
unix_socket_dir = %[3]s
pidfile = %[3]s/pgbouncer.pid
auth_type = trust
auth_file = %[3]s/users
pool_mode = transaction
`, leader.Port, port, dir), 0o640)
	if out, err := exec.Command("chown", "postgres:", ini).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v: %s", err, out)
	}
	pooler := servertest.PgBouncer(t, ini, port)
	through(port).landsOn(t, leader)
	return pooler
}

// TestInitForARealCluster: what pgbaton init makes of Patroni's own config, and of the
// pgbouncer and the HAProxy that run, brings those to whoever leads.
func TestInitForARealCluster(t *testing.T) {
	consul := servertest.Consul(t)
	c := servertest.Patroni(t, consul, 2)
	dir, port := servertest.PostgresDir(t), servertest.FreePort(t)

	pooler := poolerByHand(t, dir, port, c.Members[0])
	session := through(port)

	cfg, ports, admin := filepath.Join(dir, "haproxy.cfg"), servertest.FreePorts(t, 2), c.Members[0]
	servertest.File(t, cfg, fmt.Sprintf(`global
  stats socket %[1]s/admin.sock
defaults
  mode tcp
  timeout connect 1s
  timeout client 1m
  timeout server 1m
listen primary
  bind 127.0.0.1:%[2]d
  option httpchk GET /primary
  server pg1 127.0.0.1:%[4]d check port %[5]d
listen replicas
  bind 127.0.0.1:%[3]d
  option httpchk GET /replica
  server pg1 127.0.0.1:%[4]d check port %[5]d
`, dir, ports[0], ports[1], admin.Port, admin.RESTPort), 0o640)
	if out, err := exec.Command("chown", "postgres:", cfg).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v: %s", err, out)
	}
	haproxy := exec.Command(servertest.Need(t, "haproxy"), "-W", "-S", filepath.Join(dir, "master.sock"), "-f", cfg)
	haproxy.Dir = dir
	servertest.AsPostgres(t, haproxy)
	balancer := servertest.Start(t, haproxy)
	through(ports[0]).landsOn(t, c.Members[0])

	asPostgres := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(binary, args...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "STATE_DIRECTORY=" + filepath.Join(dir, "state")}
		servertest.AsPostgres(t, cmd)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("pgbaton %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	said := asPostgres("init", "-from-patroni", c.Members[0].Config(), "-pgbouncer", dir, "-haproxy", dir)
	if strings.Contains(said, "to do:") {
		t.Errorf("nothing is to be done by hand here, but:\n%s", said)
	}
	config := filepath.Join(dir, "pgbaton.hcl")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("scope = %q # from %s", c.Scope, c.Members[0].Config()), fmt.Sprintf("address = %q", consul.Addr),
		"as whom the pgbouncer of this machine runs", "hold = true",
		fmt.Sprintf("read_write_port = %d # from", ports[0]), fmt.Sprintf("read_only_port = %d # from", ports[1]),
		fmt.Sprintf("master_socket = %q # that of the haproxy that runs", filepath.Join(dir, "master.sock")),
	} {
		if !strings.Contains(strings.Join(strings.Fields(string(text)), " "), want) { // whatever stands below each other
			t.Errorf("the config has no %q:\n%s", want, text)
		}
	}
	asPostgres("check", "-config", config)

	next := c.Members[1]
	c.Switchover(t, next)
	asPostgres("run", "-once", "-config", config)
	session.landsOn(t, next)
	through(ports[0]).landsOn(t, next)
	if pooler.Exited() || balancer.Exited() {
		t.Error("pgbouncer or haproxy was restarted: they have to follow by themselves")
	}
}
