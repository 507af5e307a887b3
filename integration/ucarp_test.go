package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// ucarpUnit is what docs/keepalived.md has a unit start.
func ucarpUnit(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindStringSubmatch(read(t, "../docs/keepalived.md"))
	if m == nil {
		t.Fatal("docs/keepalived.md has no unit for ucarp")
	}
	return m[1]
}

// runUcarp starts pgbaton on the host, for a member of the cluster in a state file, and has it
// restart a ucarp with each change, as systemd does.
func (h host) runUcarp(t *testing.T, state, member, address string) *servertest.Process {
	t.Helper()
	servertest.Need(t, "ucarp")
	servertest.File(t, filepath.Join(h.dir, "pass"), "secret\n", 0o600)
	for script, change := range map[string]string{"up": "replace", "down": "del"} {
		servertest.File(t, filepath.Join(h.dir, script), "#!/bin/sh\nexec ip address "+change+" \"$2\"/24 dev \"$1\"\n", 0o755)
	}
	servertest.File(t, filepath.Join(h.dir, "restart"), fmt.Sprintf(`cd %q
if [ -e pid ]; then kill "$(cat pid)"; while kill -0 "$(cat pid)" 2>/dev/null; do :; done; fi
set -a
. "$PGBATON_DESTINATION"
%s </dev/null >>ucarp.log 2>&1 &
echo $! >pid
`, h.dir, ucarpUnit(t)), 0o644)
	t.Cleanup(func() {
		text, err := os.ReadFile(filepath.Join(h.dir, "pid"))
		if err != nil {
			return
		}
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(h.dir, "ucarp.log"))
			t.Logf("ucarp of %s:\n%s", member, log)
		}
	})
	config := servertest.File(t, filepath.Join(h.dir, "pgbaton.hcl"), fmt.Sprintf(`
state_dir = "state"
file {
  path = %q
}
cluster "patroni" "main" {
  scope   = "batman"
  confirm = ["none"]
}
target "exec" "ucarp" {
  template {
    source      = "builtin:ucarp.env"
    destination = "vip.env"
  }
  vars = {
    member     = %q
    addr       = %q
    interface  = "eth9"
    srcip      = %q
    passfile   = "%[5]s/pass"
    upscript   = "%[5]s/up"
    downscript = "%[5]s/down"
  }
  command = ["sh", "%[5]s/restart"]
}
`, state, member, vip, address, h.dir), 0o644)
	return servertest.Start(t, exec.Command("ip", "netns", "exec", h.namespace, binary, "run", "-config", config))
}

// TestUcarpFollowsTheLeader lets the address of two ucarps move with the leader.
func TestUcarpFollowsTheLeader(t *testing.T) {
	hosts := pairOfHosts(t)
	state := filepath.Join(t.TempDir(), "state.yaml")
	lead := leaderOfHosts(t, state)
	lead("pg1")
	for i, h := range hosts {
		h.runUcarp(t, state, fmt.Sprint("pg", i+1), fmt.Sprint("10.88.0.", i+1))
	}
	servertest.Eventually(t, "the leader's host has the address", hosts[0].holds(t, hosts[1]))
	lead("pg2")
	servertest.Eventually(t, "the address moves with the leader", hosts[1].holds(t, hosts[0]))
	lead("pg1")
	servertest.Eventually(t, "and back", hosts[0].holds(t, hosts[1]))
}
