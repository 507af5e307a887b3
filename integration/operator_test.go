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

// operated is a target whose file shows a key, and the state file of that key.
const operated = `
file {
  path = "state.yaml"
}
target "exec" "app" {
  template {
    contents    = "{{ key \"name\" }}\n"
    destination = "out"
  }
  command = ["true"]
}
`

// putName makes a name what the file is to show.
func putName(t *testing.T, dir, name string) {
	t.Helper()
	next := servertest.File(t, filepath.Join(dir, "state.yaml.next"), "kv: {name: "+name+"}\n", 0o644)
	if err := os.Rename(next, filepath.Join(dir, "state.yaml")); err != nil {
		t.Fatal(err)
	}
}

// heard is a condition for Eventually: a daemon has logged a text.
func heard(p *servertest.Process, text string) func() error {
	return func() error {
		if !strings.Contains(p.Output(), text) {
			return fmt.Errorf("its log has no %q", text)
		}
		return nil
	}
}

// TestRootsWordIsHeard: what root wants of a daemon that runs as another user, while
// that does not run, is heard by it, and taken away by it.
func TestRootsWordIsHeard(t *testing.T) {
	dir := servertest.PostgresDir(t)
	putName(t, dir, "shop")
	p := startDaemon(t, dir, operated, filepath.Join(dir, "out"))
	stopDaemon(t, p)
	if err := os.RemoveAll(filepath.Join(dir, "state", "operator")); err != nil {
		t.Fatal(err)
	}

	root := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(binary, append(args, "-config", filepath.Join(dir, "pgbaton.hcl"))...).CombinedOutput()
		if err != nil {
			t.Fatalf("pgbaton %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	root("freeze", "-for", "1h", "-reason", "moving house")
	putName(t, dir, "store")
	p = startDaemon(t, dir, operated)
	servertest.Eventually(t, "the daemon hears it", heard(p, "frozen: nothing is changed until it is thawed: target=exec.app by=root reason=\"moving house\""))
	if out := root("apply", "-force"); !strings.Contains(out, "exec.app: applied") {
		t.Errorf("apply: %s", out)
	}
	if out := root("thaw"); !strings.Contains(out, "exec.app: thawed") {
		t.Errorf("thaw: %s", out)
	}
	servertest.Eventually(t, "the daemon hears that too", heard(p, "thawed: target=exec.app"))
	stopDaemon(t, p)
}
