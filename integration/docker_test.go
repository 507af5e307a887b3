package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// base is the image in the place of debian:12-slim, which no registry gives here.
const base = "pgbaton-test-base"

// containers is a Docker engine on a machine of its own, with the base of the images,
// and a copy of the source with a pgbaton in it.
type containers struct {
	*servertest.Docker
	network *servertest.Network
	host    *servertest.Host
	source  string
}

func newContainers(t *testing.T) *containers {
	t.Helper()
	c := &containers{source: copyOfSource(t, "source"), network: servertest.NewNetwork(t, "10.77.5")}
	makeIn(t, c.source, "build", "VERSION=v1.0.0")
	c.host = c.network.Host(t, "docker")
	// What containers send finds its way out and back, without a firewall's help.
	const inside = "172.30.0.0/16"
	servertest.IP(t, "-n", c.host.Namespace, "route", "add", "default", "via", c.network.Addr)
	servertest.IP(t, "route", "add", inside, "via", c.host.Addr)
	servertest.IP(t, "netns", "exec", c.host.Namespace, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	c.Docker = servertest.StartDocker(t, c.host, "--bridge=none", "--default-address-pool=base="+inside+",size=24")
	c.ImportDebian(t, base)
	return c
}

// healthy waits until a container's HEALTHCHECK says that all is well.
func (c *containers) healthy(t *testing.T, name string) {
	t.Helper()
	servertest.Eventually(t, name+" is healthy", func() error {
		if health := c.Run(t, "inspect", "--format", "{{ .State.Health.Status }}", name); strings.TrimSpace(health) != "healthy" {
			return fmt.Errorf("%s: %s\n%s", health, c.Run(t, "inspect", "--format", "{{ json .State.Health }}", name), c.Run(t, "logs", "--tail", "20", name))
		}
		return nil
	})
}

// TestDockerSidecar runs the compose file of the example as it is: clients that come
// through pgbouncer's container land on the leader, before and after it moved.
func TestDockerSidecar(t *testing.T) {
	c := newContainers(t)
	consul := servertest.Consul(t, fmt.Sprintf(`addresses { http = "127.0.0.1 %s" }`, c.network.Addr))
	_, port, err := net.SplitHostPort(consul.Addr)
	if err != nil {
		t.Fatal(err)
	}
	dir := servertest.PostgresDir(t)
	first := servertest.NewPostgres(t, dir, "pg1")
	first.Addr = c.network.Addr
	first.Start(t, false)
	first.Exec(t, "postgres", "CREATE ROLE shop LOGIN", "CREATE DATABASE shop")
	first.Stop()
	second := first.Copy(t, "pg2")
	second.Addr = c.network.Addr
	first.Start(t, false)
	second.Start(t, true)
	servers := []*servertest.Postgres{first, second}
	leads := func(leader int) {
		t.Helper()
		for i, s := range servers {
			role := "replica"
			if i == leader {
				role = "primary"
			}
			consul.Put(t, fmt.Sprintf("service/batman/members/pg%d", i+1),
				fmt.Sprintf(`{"conn_url":"postgres://%s:%d/postgres","role":%q,"state":"running","timeline":%d}`, s.Addr, s.Port, role, leader+1))
		}
		consul.Put(t, "service/batman/leader", fmt.Sprintf("pg%d", leader+1))
	}
	consul.Put(t, "service/batman/initialize", "7420871337042069420")
	consul.Put(t, "pgbouncer/users/shop", "shop-password")
	leads(0)

	compose := func(args ...string) {
		t.Helper()
		cmd := c.Command(t, "docker-compose", append([]string{"-p", "sidecar", "-f", "examples/docker-sidecar/compose.yaml"}, args...)...)
		cmd.Dir = c.source
		cmd.Env = append(cmd.Env, "BASE="+base, "CONSUL_HTTP_ADDR="+net.JoinHostPort(c.network.Addr, port))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("docker-compose %v: %v:\n%s", args, err, out)
		}
	}
	compose("up", "-d", "--build")
	t.Cleanup(func() { compose("down", "-v", "-t", "1") })
	landsOn := func(want int) {
		t.Helper()
		servertest.Eventually(t, fmt.Sprintf("clients land on pg%d", want+1), func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			config, err := pgx.ParseConfig(fmt.Sprintf("postgres://shop:shop-password@%s:6432/shop?sslmode=disable", c.host.Addr))
			if err != nil {
				return err
			}
			config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
			conn, err := pgx.ConnectConfig(ctx, config)
			if err != nil {
				return fmt.Errorf("%w\n%s", err, c.Run(t, "logs", "--tail", "20", "sidecar_pgbaton_1"))
			}
			defer func() { _ = conn.Close(ctx) }()
			var have int
			if err := conn.QueryRow(ctx, "SELECT current_setting('port')::int").Scan(&have); err != nil {
				return err
			}
			if have != servers[want].Port {
				return fmt.Errorf("on port %d", have)
			}
			return nil
		})
	}
	landsOn(0)
	c.healthy(t, "sidecar_pgbaton_1")

	// A pgbouncer that is killed comes back, and pgbaton finds it again.
	c.Run(t, "kill", "sidecar_pgbouncer_1")
	c.Run(t, "start", "sidecar_pgbouncer_1")
	landsOn(0)

	first.Kill()
	second.Promote(t)
	leads(1)
	landsOn(1)
	c.healthy(t, "sidecar_pgbaton_1")

	// What the image holds is what pgbaton checks configs by.
	for _, program := range []string{"pgbouncer", "haproxy", "keepalived"} {
		c.Run(t, "exec", "sidecar_pgbaton_1", "sh", "-c", "command -v "+program+" || test -x /usr/sbin/"+program)
	}
}

// TestDockerScratch builds the image of one file, and runs it: to look at a config, and
// as a daemon that tells a container of the same engine.
func TestDockerScratch(t *testing.T) {
	c := newContainers(t)
	build := c.Command(t, "docker", "build", "--build-arg", "BASE="+base, "-f", "examples/docker-sidecar/Dockerfile", "-t", "pgbaton", ".")
	build.Dir = c.source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("docker build: %v:\n%s", err, out)
	}
	// The README's commands, on this engine, which has no network to give.
	config, shared := filepath.Join(c.source, "config"), filepath.Join(c.source, "shared")
	here := strings.NewReplacer("docker run -d ", "docker run -d --network none --name baton --health-interval 1s ", "docker run ", "docker run --network none ",
		"-v /etc/pgbaton:", "-v "+config+":", "-v /srv/app:", "-v "+shared+":", "-v /var/run/docker.sock:", "-v "+c.Socket+":", "%g /var/run/docker.sock", "%g "+c.Socket)
	command := func(text string) string {
		t.Helper()
		run := c.Command(t, "sh", "-c", here.Replace(text))
		run.Dir = c.source
		out, err := run.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v:\n%s", text, err, out)
		}
		return string(out)
	}
	daemon := ""
	for _, text := range documented(t, "../examples/docker-sidecar/README.md", "The image of one file") {
		switch {
		case strings.HasPrefix(text, "docker run -d"):
			daemon = text
		case strings.Contains(text, " pgbaton check "):
			if out := command(text); !strings.Contains(out, "valid: 2 targets") {
				t.Errorf("%s: %s", text, out)
			}
		case strings.Contains(text, " pgbaton render "):
			if out := command(text); !strings.Contains(out, "shop = host=10.0.0.11") {
				t.Errorf("%s: %s", text, out)
			}
		}
	}

	// A daemon, as nobody, that tells another container.
	for _, dir := range []string{config, shared} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(shared, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	servertest.File(t, filepath.Join(config, "pgbaton.hcl"), `
state_dir = "/var/lib/pgbaton"
file {
  path = "state.yaml"
}
target "docker" "app" {
  template {
    contents    = "{{ key \"name\" }}\n"
    destination = "/srv/app/name"
  }
  container = "app"
}
`, 0o644)
	servertest.File(t, filepath.Join(config, "state.yaml"), "kv: {name: first}\n", 0o644)
	c.Run(t, "run", "-d", "--network", "none", "--name", "app", base, "sh", "-c", "trap 'echo told' HUP; echo ready; while :; do sleep 0.1; done")
	t.Cleanup(func() { c.Run(t, "rm", "-f", "app", "baton") })
	command(daemon)
	told := func(times int) {
		t.Helper()
		servertest.Eventually(t, "the container is told", func() error {
			if out := c.Run(t, "logs", "app"); strings.Count(out, "told") != times {
				return errors.New(out + c.Run(t, "logs", "baton"))
			}
			return nil
		})
	}
	told(1)
	c.healthy(t, "baton")
	servertest.File(t, filepath.Join(config, "state.new"), "kv: {name: second}\n", 0o644)
	if err := os.Rename(filepath.Join(config, "state.new"), filepath.Join(config, "state.yaml")); err != nil {
		t.Fatal(err)
	}
	told(2)

	// It knows whom to trust.
	c.Run(t, "cp", "baton:/etc/ssl/certs/ca-certificates.crt", filepath.Join(config, "certificates"))
	content, err := os.ReadFile(filepath.Join(config, "certificates"))
	if err != nil || strings.Count(string(content), "BEGIN CERTIFICATE") < 50 {
		t.Errorf("its certificates: %v, %d bytes", err, len(content))
	}
}
