package integration

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestQuickStart runs the commands of docs/quickstart.md, in their order, on a real
// cluster.
func TestQuickStart(t *testing.T) {
	consul := servertest.Consul(t)
	c := servertest.Patroni(t, consul, 2)
	dir, port := servertest.PostgresDir(t), servertest.FreePort(t)
	poolerByHand(t, dir, port, c.Members[0])
	page, err := os.ReadFile(filepath.Join(servertest.ModuleRoot(t), "docs", "quickstart.md"))
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("/etc/patroni/config.yml", c.Members[0].Config(), "/etc/pgbouncer", dir)
	ran := 0
	for i, part := range strings.Split(string(page), "```") {
		block, is := strings.CutPrefix(part, "sh\n")
		if i%2 == 0 || !is {
			continue
		}
		for line := range strings.Lines(here.Replace(block)) {
			ran++
			args := strings.Fields(line)
			if args[0] == "pgbaton" {
				args[0] = binary
			}
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Dir = dir
			cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "STATE_DIRECTORY=" + filepath.Join(dir, "state")}
			servertest.AsPostgres(t, cmd)
			if args[1] == "run" {
				p := servertest.Start(t, cmd)
				servertest.Eventually(t, "it says applied", func() error { return logged(p, "applied: ") })
				defer stopDaemon(t, p)
				continue
			}
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if changes := errors.As(err, &exit) && exit.ExitCode() == 2; err != nil && (args[1] != "diff" || !changes) {
				t.Fatalf("%s: %v\n%s", strings.TrimSpace(line), err, out)
			}
			t.Logf("%s\n%s", strings.TrimSpace(line), out)
		}
	}
	if want := 9; ran != want {
		t.Errorf("the page has %d commands, and the test is made for %d", ran, want)
	}
	through(port).landsOn(t, c.Members[1])
}
