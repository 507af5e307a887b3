package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

const vip = "10.88.0.100"

// host is a network namespace with a keepalived, and a pgbaton that keeps it
// in sync.
type host struct{ namespace, dir string }

// trackFile is where the host has the file that keepalived tracks.
func (h host) trackFile() string { return filepath.Join(h.dir, "leads") }

// pairOfHosts makes two hosts with a line between them.
func pairOfHosts(t *testing.T) [2]host {
	t.Helper()
	var hosts [2]host
	for i, namespace := range servertest.Namespaces(t, "10.88.0") {
		hosts[i] = host{namespace, t.TempDir()}
	}
	return hosts
}

// run starts a program on the host.
func (h host) run(t *testing.T, args ...string) *servertest.Process {
	t.Helper()
	return servertest.Start(t, exec.Command("ip", append([]string{"netns", "exec", h.namespace}, args...)...))
}

// pgbaton starts pgbaton for a member of the cluster in a state file, with more vars.
func (h host) pgbaton(t *testing.T, state, member, vars string) *servertest.Process {
	t.Helper()
	config := servertest.File(t, filepath.Join(h.dir, "pgbaton.hcl"), fmt.Sprintf(`
state_dir = "state"
file {
  path = %q
}
cluster "patroni" "main" {
  scope   = "batman"
  confirm = ["none"]
}
target "keepalived" "vip" {
  template {
    source      = "builtin:keepalived.conf"
    destination = "keepalived.conf"
  }
  pid_file = %q
  vars = {
    interface         = "eth9"
    virtual_ipaddress = ["%s/24"]
    follow_leader     = true
    member            = %q
    check             = ""
    vrrp_version      = 3
    advert_int        = 0.1
%s
  }
}
`, state, filepath.Join(h.dir, "pid"), vip, member, vars), 0o644)
	return h.run(t, binary, "run", "-config", config)
}

// has says whether the host has the address.
func (h host) has(t *testing.T) bool {
	t.Helper()
	return strings.Contains(servertest.IP(t, "-n", h.namespace, "-o", "addr"), vip+"/")
}

// holds is a condition: the host has the address, and the other has not.
func (h host) holds(t *testing.T, other host) func() error {
	return func() error {
		if !h.has(t) || other.has(t) {
			return fmt.Errorf("the address: %s %v, %s %v", h.namespace, h.has(t), other.namespace, other.has(t))
		}
		return nil
	}
}

// leaderOfHosts writes who of the two leads into a state file.
func leaderOfHosts(t *testing.T, state string) (lead func(leader string)) {
	return func(leader string) {
		t.Helper()
		servertest.File(t, state+".new", fmt.Sprintf(`
kv:
  service/batman/leader: %s
  service/batman/members/pg1: {conn_url: "postgres://10.88.0.1:5432/postgres", role: replica, state: running}
  service/batman/members/pg2: {conn_url: "postgres://10.88.0.2:5432/postgres", role: replica, state: running}
`, leader), 0o644)
		if err := os.Rename(state+".new", state); err != nil {
			t.Fatal(err)
		}
	}
}

// hostsWithAddress is a pair whose keepaliveds give the address to the host of the
// leader, who is moved by lead. Their first reloads fail, for they are started after
// pgbaton has written their config: it has to try again.
func hostsWithAddress(t *testing.T, vars func(host) string) (hosts [2]host, daemons [2]*servertest.Process, lead func(leader string)) {
	t.Helper()
	servertest.Need(t, "keepalived")
	hosts = pairOfHosts(t)
	state := filepath.Join(t.TempDir(), "state.yaml")
	lead = leaderOfHosts(t, state)
	lead("pg1")
	for i, h := range hosts {
		p := h.pgbaton(t, state, fmt.Sprintf("pg%d", i+1), vars(h))
		servertest.Eventually(t, "pgbaton finds no keepalived to reload", func() error {
			return logged(p, "the files are in place, but the daemon does not follow")
		})
		h.run(t, "keepalived", "-n", "-l", "-P", "-f", filepath.Join(h.dir, "keepalived.conf"),
			"-p", filepath.Join(h.dir, "pid"), "-r", filepath.Join(h.dir, "vrrp.pid"))
		servertest.Eventually(t, "the reload is tried until it succeeds", func() error { return logged(p, "applied: target=keepalived.vip") })
		daemons[i] = p
	}
	servertest.Eventually(t, "the leader's host has the address", hosts[0].holds(t, hosts[1]))
	return hosts, daemons, lead
}

// TestKeepalivedFollowsTheLeader lets the address of two keepaliveds move with
// the leader.
func TestKeepalivedFollowsTheLeader(t *testing.T) {
	hosts, _, lead := hostsWithAddress(t, func(host) string { return "" })
	for range 2 {
		lead("pg2")
		servertest.Eventually(t, "the address moves with the leader", hosts[1].holds(t, hosts[0]))
		lead("pg1")
		servertest.Eventually(t, "and back", hosts[0].holds(t, hosts[1]))
	}
}

// TestKeepalivedTracksTheLeader does the same by a file that keepalived tracks: nothing is
// reloaded.
func TestKeepalivedTracksTheLeader(t *testing.T) {
	hosts, daemons, lead := hostsWithAddress(t, func(h host) string { return fmt.Sprintf("    track_file = %q", h.trackFile()) })
	for i, want := range []string{"1\n", "0\n"} {
		if have := read(t, hosts[i].trackFile()); have != want {
			t.Errorf("the file of host %d holds %q", i+1, have)
		}
	}
	config := read(t, filepath.Join(hosts[0].dir, "keepalived.conf"))
	for range 2 {
		lead("pg2")
		servertest.Eventually(t, "the address moves with the leader", hosts[1].holds(t, hosts[0]))
		lead("pg1")
		servertest.Eventually(t, "and back", hosts[0].holds(t, hosts[1]))
	}
	if after := read(t, filepath.Join(hosts[0].dir, "keepalived.conf")); after != config {
		t.Errorf("the config was changed:\n%s", after)
	}
	for i, p := range daemons {
		if n := strings.Count(p.Output(), "SIGHUP"); n > 1 {
			t.Errorf("host %d was reloaded %d times:\n%s", i+1, n, p.Output())
		}
	}
}

// TestTwoKeepalivedMasters lets both have the address, for neither hears the other.
// pgbaton follows the leader meanwhile, and the address is the leader's once they do.
func TestTwoKeepalivedMasters(t *testing.T) {
	hosts, daemons, lead := hostsWithAddress(t, func(host) string { return "" })
	deaf := make([]func(), 0, len(hosts))
	for _, h := range hosts {
		deaf = append(deaf, faulttest.Rule(t, h.namespace, "filter", "INPUT", "-p", "112", "-j", "DROP"))
	}
	servertest.Eventually(t, "both have the address", func() error {
		if !hosts[0].has(t) || !hosts[1].has(t) {
			return fmt.Errorf("%v and %v", hosts[0].has(t), hosts[1].has(t))
		}
		return nil
	})
	for _, leader := range []string{"pg2", "pg1", "pg2"} {
		var before [2]int
		for i, p := range daemons {
			before[i] = strings.Count(p.Output(), "applied: target=keepalived.vip")
		}
		lead(leader)
		servertest.Eventually(t, "both pgbatons follow "+leader, func() error {
			for i, p := range daemons {
				if strings.Count(p.Output(), "applied: target=keepalived.vip") == before[i] {
					return fmt.Errorf("%s:\n%s", hosts[i].namespace, p.Output())
				}
			}
			return nil
		})
	}
	for _, hears := range deaf {
		hears()
	}
	servertest.Eventually(t, "the leader's host alone has the address", hosts[1].holds(t, hosts[0]))
	lead("pg1")
	servertest.Eventually(t, "it moves with the leader", hosts[0].holds(t, hosts[1]))
}
