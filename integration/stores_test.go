package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestEveryStore: a planned switchover costs the writers of a real Patroni no error and
// no acknowledged row, whatever store it keeps its keys in; and a crash of whoever leads
// then costs what was under way.
func TestEveryStore(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) servertest.DCS{
		"etcd":      func(t *testing.T) servertest.DCS { return servertest.Etcd(t, 3) },
		"zookeeper": func(t *testing.T) servertest.DCS { return servertest.ZooKeeper(t, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := start(t)
			c := servertest.Patroni(t, store, 3)
			e := newEdge(t, store, c, edgeSettings{})
			w := startWriters(t, e.port, 4)
			old, next := c.Leader(t), c.Replicas(t)[0]
			c.Switchover(t, next)
			w.Progress(t, 100)
			through(e.port).landsOn(t, next)
			e.recounts(t, old, next, true)
			c.AwaitReady(t)
			failed, missing := w.End(t, next)
			failed, underWay := e.noticed(t, failed)
			if len(failed) > 0 || len(missing) > 0 {
				t.Errorf("%d errors, first of them %v; %d acknowledged rows missing; pgbaton:\n%s", len(failed), errors.Join(failed...), len(missing), e.daemon.Output())
			}
			t.Logf("longest stall %v, %d rows, %d transactions under way lost", w.Stall(), w.Rows(), len(underWay))

			next.Kill()
			through(e.port).landsOn(t, e.newLeader(t, next))
			stopDaemon(t, e.daemon)
		})
	}
}

// TestTwoStores: templates read from both, and one that is away holds up nothing of the
// other. What was captured of both is one state file.
func TestTwoStores(t *testing.T) {
	consul := servertest.Consul(t)
	for name, start := range map[string]func(t *testing.T) mortal{
		"etcd":      func(t *testing.T) mortal { return servertest.Etcd(t, 1) },
		"zookeeper": func(t *testing.T) mortal { return servertest.ZooKeeper(t, 1) },
	} {
		t.Run(name, func(t *testing.T) { besideConsul(t, consul, name, start(t)) })
	}
}

// mortal is a store that can be ended, and started again.
type mortal interface {
	servertest.DCS
	Kill()
	Launch(t testing.TB)
}

func besideConsul(t *testing.T, consul *servertest.ConsulServer, name string, other mortal) {
	t.Helper()
	dir := servertest.PostgresDir(t)
	out := func(name string) string { return filepath.Join(dir, name) }
	config := consul.Block() + other.Block() + fmt.Sprintf(`
target "exec" "first" {
  template {
    contents    = "{{ key `+"`app/limit`"+` }}"
    destination = %[1]q
  }
  command = ["true"]
}
target "exec" "second" {
  template {
    contents    = "{{ range ls `+"`/app?store=%[2]s`"+` }}{{ .Key }}={{ .Value }} {{ end }}{{ range tree `+"`/app?store=%[2]s`"+` }}{{ .Key }} {{ end }}{{ keyOrDefault `+"`/app/limit?store=%[2]s`"+` `+"`none`"+` }}"
    destination = %[3]q
  }
  command = ["true"]
}
`, out("first"), name, out("second"))
	has := func(name, want string) {
		t.Helper()
		servertest.Eventually(t, name+" is "+want, func() error {
			text, err := os.ReadFile(out(name))
			if err == nil && string(text) != want {
				err = fmt.Errorf("it is %q", text)
			}
			return err
		})
	}
	consul.Put(t, "app/limit", "1")
	other.Put(t, "/app/limit", "2")
	other.Put(t, "/app/deep/er", "3")
	daemon := startDaemon(t, dir, config, out("first"))
	has("first", "1")
	has("second", "limit=2 deep/er limit 2")

	other.Kill()
	servertest.Eventually(t, "it says that the other is away", func() error { return logged(daemon, "store does not answer") })
	for _, limit := range []string{"10", "11"} {
		consul.Put(t, "app/limit", limit)
		has("first", limit)
	}
	has("second", "limit=2 deep/er limit 2")
	status := verb(t, dir, 1, "status", "-config", filepath.Join(dir, "pgbaton.hcl"))
	if !strings.Contains(status, name) || !strings.Contains(status, "stale") {
		t.Errorf("status says nothing of %s:\n%s", name, status)
	}
	other.Launch(t)
	other.Put(t, "/app/limit", "20")
	has("second", "limit=20 deep/er limit 20")
	has("first", "11")

	state := filepath.Join(dir, "state.yaml")
	verb(t, dir, 0, "capture", "-config", filepath.Join(dir, "pgbaton.hcl"), "-out", state)
	for target, want := range map[string]string{"exec.first": "11", "exec.second": "limit=20 deep/er limit 20"} {
		if have := verb(t, dir, 0, "render", "-config", filepath.Join(dir, "pgbaton.hcl"), "-state", state, "-target", target); !strings.Contains(have, want) {
			t.Errorf("%s from what was captured is %q, want %q", target, have, want)
		}
	}
	stopDaemon(t, daemon)
}
