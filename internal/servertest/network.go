package servertest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Network is a line with machines on it, each of them a network namespace. The
// test is on it too.
type Network struct {
	Addr string // the test's own

	prefix string // the first three numbers of every address
	bridge string
	hosts  int
}

// Host is a machine of a network. A nil Host is this machine, by its loopback.
type Host struct {
	Name      string
	Addr      string
	Namespace string // as `ip netns` knows it
}

// NewNetwork makes a network, until the test ends. prefix is the first three
// numbers of its addresses.
func NewNetwork(t testing.TB, prefix string) *Network {
	t.Helper()
	n := &Network{Addr: prefix + ".1", prefix: prefix, bridge: fmt.Sprintf("pgb%d", os.Getpid())}
	IP(t, "link", "add", n.bridge, "type", "bridge")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", n.bridge).Run() })
	IP(t, "addr", "add", n.Addr+"/24", "dev", n.bridge)
	IP(t, "link", "set", n.bridge, "up")
	return n
}

// Subnet is all its addresses, as "10.0.0.0/24".
func (n *Network) Subnet() string { return n.prefix + ".0/24" }

// Host adds a machine, whose end of the line is called eth9.
func (n *Network) Host(t testing.TB, name string) *Host {
	t.Helper()
	n.hosts++
	h := &Host{
		Name: name, Addr: fmt.Sprintf("%s.%d", n.prefix, 10+n.hosts),
		Namespace: fmt.Sprintf("pgbaton-%d-%s", os.Getpid(), name),
	}
	port := fmt.Sprintf("%s-%d", n.bridge, n.hosts)
	IP(t, "netns", "add", h.Namespace)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", h.Namespace).Run() })
	IP(t, "link", "add", port, "type", "veth", "peer", "name", "eth9", "netns", h.Namespace)
	// The kernel takes its time to clear a namespace up: the name may be wanted sooner.
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", port).Run() })
	IP(t, "link", "set", port, "master", n.bridge, "up")
	IP(t, "-n", h.Namespace, "addr", "add", h.Addr+"/24", "dev", "eth9")
	IP(t, "-n", h.Namespace, "link", "set", "lo", "up")
	IP(t, "-n", h.Namespace, "link", "set", "eth9", "up")
	return h
}

// Start starts a command on the machine, as Start does on this one.
func (h *Host) Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	if h == nil {
		return Start(t, cmd)
	}
	return start(t, cmd, "/run/netns/"+h.Namespace)
}

// address is where the machine's servers listen.
func (h *Host) address() string {
	if h == nil {
		return "127.0.0.1"
	}
	return h.Addr
}
