//go:build amd64

package chaos

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// remote is a pgbaton at the far end of a line, with Consul at this one.
type remote struct {
	consul *servertest.ConsulServer
	link   *faulttest.Link
	file   string
	daemon *servertest.Process
}

func newRemote(t *testing.T) *remote {
	t.Helper()
	r := &remote{link: faulttest.NewLink(t, "10.78.0")}
	r.consul = servertest.Consul(t, fmt.Sprintf(`addresses { http = "127.0.0.1 %s" }`, r.link.Here))
	_, port, _ := strings.Cut(r.consul.Addr, ":")
	dir := t.TempDir()
	r.file = filepath.Join(dir, "leader")
	r.lead(t, 1)
	config := servertest.File(t, filepath.Join(dir, "pgbaton.hcl"), fmt.Sprintf(`
state_dir = %q
consul {
  address = "%s:%s"
}
cluster "patroni" "main" {
  scope   = "batman"
  confirm = ["none"]
}
target "exec" "app" {
  template {
    contents    = "{{ (cluster \"main\").Leader.Name }}"
    destination = %q
  }
  command = ["true"]
}
`, filepath.Join(dir, "state"), r.link.Here, port, r.file), 0o644)
	r.daemon = servertest.Start(t, r.link.Command(binary, "run", "-config", config))
	r.follows(t, 1)
	return r
}

// lead writes the keys of a cluster that member n leads, and no less of them, as a
// new leader does: its member key first.
func (r *remote) lead(t *testing.T, n int) {
	t.Helper()
	for i := 1; i <= 2; i++ {
		r.consul.Put(t, fmt.Sprintf("service/batman/members/pg%d", i), fmt.Sprintf(`{"conn_url":"postgres://10.0.0.%d:5432/postgres","state":"running","role":"replica"}`, i))
	}
	r.consul.Put(t, "service/batman/initialize", "7226")
	// Each term has a key of its own: Patroni's vanishes with its session.
	r.consul.Delete(t, "service/batman/leader")
	if _, err := r.consul.Client.KV().Put(&api.KVPair{Key: "service/batman/leader", Value: fmt.Appendf(nil, "pg%d", n)}, nil); err != nil {
		t.Fatal(err)
	}
}

// shows says whether the file shows member n.
func (r *remote) shows(n int) error {
	i, err := read(r.file)
	if err == nil && i.content != fmt.Sprintf("pg%d", n) {
		err = fmt.Errorf("the file shows %q, not pg%d", i.content, n)
	}
	return err
}

func (r *remote) follows(t *testing.T, n int) {
	t.Helper()
	servertest.Eventually(t, fmt.Sprintf("pg%d is followed", n), func() error {
		if r.daemon.Exited() {
			t.Fatalf("pgbaton ended:\n%s", r.daemon.Output())
		}
		return r.shows(n)
	})
}

// TestNetwork spoils the line to Consul while the leader moves. Where nothing gets
// through the file stays as it is, and pgbaton says that the store is away; once
// the line is mended it follows. Where something does, it follows all the same.
func TestNetwork(t *testing.T) {
	r := newRemote(t)
	leader := 1
	for name, fault := range map[string]struct {
		cut   bool
		spoil func(t *testing.T) (mend func())
	}{
		"black hole":   {true, func(t *testing.T) func() { return r.link.BlackHole(t) }},
		"one-way loss": {true, func(t *testing.T) func() { return r.link.OneWay(t) }},
		"reset":        {true, func(t *testing.T) func() { return r.link.Reset(t) }},
		"30 % loss":    {false, func(t *testing.T) func() { return r.link.Loss(t, 0.3) }},
		"narrow line":  {false, func(t *testing.T) func() { return r.link.Narrow(t, "64kbit") }},
	} {
		t.Run(name, func(t *testing.T) {
			for range rounds(t) {
				said := strings.Count(r.daemon.Output(), "store does not answer")
				mend := fault.spoil(t)
				next := 3 - leader
				r.lead(t, next)
				if fault.cut {
					servertest.Eventually(t, "the loss is seen", func() error {
						if strings.Count(r.daemon.Output(), "store does not answer") == said {
							return fmt.Errorf("pgbaton says:\n%s", r.daemon.Output())
						}
						return r.shows(leader)
					})
				} else {
					r.follows(t, next)
				}
				mend()
				mended := time.Now()
				r.follows(t, next)
				if fault.cut {
					t.Logf("followed %v after the line was mended", time.Since(mended).Round(time.Millisecond))
				}
				leader = next
			}
		})
	}
}
