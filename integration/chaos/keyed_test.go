//go:build amd64

package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// keyed is a pgbaton that writes the leader's name into a file, on a real Consul
// in which the test writes the keys of a cluster. Its daemon keeps a history of
// whom it was told to follow.
type keyed struct {
	client *api.Client // the test's own way to Consul
	dir    string
	file   string
	daemon *servertest.Process
	start  func(t *testing.T)

	timeline int // of all members, which each new term raises; 0 is not said
}

// keyedSettings are what differs between them.
type keyedSettings struct {
	consul string // further settings of its consul block
	target string // of its target, in which DIR is its folder; "" is a command that keeps the history
}

// newKeyed starts it, on the Consul at address, by a command that says where it
// runs.
func newKeyed(t *testing.T, client *api.Client, address string, command func(args ...string) *exec.Cmd, s keyedSettings) *keyed {
	t.Helper()
	dir := t.TempDir()
	k := &keyed{client: client, dir: dir, file: filepath.Join(dir, "leader")}
	if s.target == "" {
		s.target = `command = ["sh", "-c", "cat DIR/leader >> DIR/leader.history; echo >> DIR/leader.history"]`
	}
	k.lead(t, 1)
	config := servertest.File(t, filepath.Join(dir, "pgbaton.hcl"), fmt.Sprintf(`
state_dir = %q
consul {
  address = %q
%[4]s
}
cluster "patroni" "main" {
  scope   = "batman"
  confirm = ["none"]
}
target "exec" "app" {
  template {
    contents    = "{{ (cluster \"main\").Leader.Name }}"
    destination = %[3]q
  }
%[5]s
}
`, filepath.Join(dir, "state"), address, k.file, s.consul, strings.ReplaceAll(s.target, "DIR", dir)), 0o644)
	k.start = func(t *testing.T) {
		t.Helper()
		k.daemon = servertest.Start(t, command(binary, "run", "-config", config))
	}
	k.start(t)
	k.follows(t, 1)
	return k
}

// lead writes the keys of a cluster that member n leads. Each term has a leader key
// of its own: Patroni's vanishes with its session.
func (k *keyed) lead(t *testing.T, n int) {
	t.Helper()
	if k.timeline > 0 {
		k.timeline++
	}
	servertest.Eventually(t, "consul takes the keys of a new leader", func() error {
		for i := 1; i <= 3; i++ {
			if err := k.member(i); err != nil {
				return err
			}
		}
		if err := k.put("initialize", "7226"); err != nil {
			return err
		}
		return errors.Join(k.delete("leader"), k.put("leader", fmt.Sprintf("pg%d", n)))
	})
}

// member writes the key of member n.
func (k *keyed) member(n int) error {
	return k.put(fmt.Sprintf("members/pg%d", n), fmt.Sprintf(`{"conn_url":"postgres://10.0.0.%d:5432/postgres","state":"running","role":"replica","timeline":%d}`, n, k.timeline))
}

func (k *keyed) put(key, value string) error {
	_, err := k.client.KV().Put(&api.KVPair{Key: "service/batman/" + key, Value: []byte(value)}, nil)
	return err
}

func (k *keyed) delete(key string) error {
	_, err := k.client.KV().Delete("service/batman/"+key, nil)
	return err
}

// shows says whether the file shows member n.
func (k *keyed) shows(n int) error {
	i, err := read(k.file)
	if err == nil && i.content != fmt.Sprintf("pg%d", n) {
		err = fmt.Errorf("the file shows %q, not pg%d", i.content, n)
	}
	return err
}

// follows waits until the file shows member n.
func (k *keyed) follows(t *testing.T, n int) {
	t.Helper()
	servertest.Eventually(t, fmt.Sprintf("pg%d is followed", n), func() error {
		if k.daemon.Exited() {
			t.Fatalf("pgbaton ended:\n%s", k.daemon.Output())
		}
		return k.shows(n)
	})
}

// told waits until the daemon was told to follow leaders, one after the other, and
// nobody else. To follow the same once more is no harm.
func (k *keyed) told(t *testing.T, leaders []int) {
	t.Helper()
	var want []string
	for _, n := range slices.Compact(slices.Clone(leaders)) {
		want = append(want, fmt.Sprintf("pg%d", n))
	}
	servertest.Eventually(t, "the daemon was told", func() error {
		content, err := os.ReadFile(k.file + ".history")
		if have := slices.Compact(strings.Fields(string(content))); err == nil && !slices.Equal(have, want) {
			err = fmt.Errorf("it was told to follow %v, and had to be told %v", have, want)
		}
		return err
	})
}

// awaysSaid is how often pgbaton has said that the store is away.
func (k *keyed) awaysSaid() int { return strings.Count(k.daemon.Output(), "store does not answer") }

// away waits until pgbaton has said so once more, while the file shows member n.
func (k *keyed) away(t *testing.T, before, n int) {
	t.Helper()
	servertest.Eventually(t, "the store is seen to be away", func() error {
		if k.awaysSaid() == before {
			return fmt.Errorf("pgbaton says:\n%s", k.daemon.Output())
		}
		return k.shows(n)
	})
}

// beside runs pgbaton on this machine.
func beside(args ...string) *exec.Cmd { return exec.Command(args[0], args[1:]...) }
