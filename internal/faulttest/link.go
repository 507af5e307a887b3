package faulttest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Link is a line between this machine and a network namespace, which can be made a
// bad one.
type Link struct {
	Here, There string // the addresses of its two ends
	name        string
}

// NewLink makes the namespace and the line, until the test ends. subnet is the first
// three numbers of both addresses.
func NewLink(t testing.TB, subnet string) *Link {
	t.Helper()
	l := &Link{Here: subnet + ".1", There: subnet + ".2", name: fmt.Sprintf("pgbaton-link-%d", os.Getpid())}
	device := fmt.Sprintf("pgb%d", os.Getpid())
	ip(t, "netns", "add", l.name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", l.name).Run() })
	ip(t, "link", "add", device, "type", "veth", "peer", "name", "eth9", "netns", l.name)
	ip(t, "addr", "add", l.Here+"/30", "dev", device)
	ip(t, "link", "set", device, "up")
	ip(t, "-n", l.name, "addr", "add", l.There+"/30", "dev", "eth9")
	ip(t, "-n", l.name, "link", "set", "lo", "up")
	ip(t, "-n", l.name, "link", "set", "eth9", "up")
	return l
}

// Command is a command that runs at the far end.
func (l *Link) Command(args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", l.name}, args...)...)
}

// The ways to spoil a line; each returns how to mend it.

// BlackHole drops everything, both ways.
func (l *Link) BlackHole(t testing.TB) (mend func()) {
	in, out := l.filter(t, "INPUT", "-j", "DROP"), l.filter(t, "OUTPUT", "-j", "DROP")
	return func() {
		in()
		out()
	}
}

// OneWay drops what comes to the far end: what it says arrives.
func (l *Link) OneWay(t testing.TB) (mend func()) { return l.filter(t, "INPUT", "-j", "DROP") }

// Reset answers whatever either end says with a reset: nothing that is under way arrives
// before the line breaks.
func (l *Link) Reset(t testing.TB) (mend func()) {
	rule := []string{"-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"}
	in, out := l.filter(t, "INPUT", rule...), l.filter(t, "OUTPUT", rule...)
	return func() { in(); out() }
}

// Loss drops a share of what comes to the far end, by chance.
func (l *Link) Loss(t testing.TB, share float64) (mend func()) {
	return l.filter(t, "INPUT", "-m", "statistic", "--mode", "random", "--probability", fmt.Sprint(share), "-j", "DROP")
}

// Narrow lets no more than rate through, as in "64kbit", with 400 ms of queue.
func (l *Link) Narrow(t testing.TB, rate string) (mend func()) {
	ip(t, "netns", "exec", l.name, "tc", "qdisc", "add", "dev", "eth9", "root", "tbf", "rate", rate, "burst", "2k", "latency", "400ms")
	return func() { ip(t, "netns", "exec", l.name, "tc", "qdisc", "del", "dev", "eth9", "root") }
}

// filter adds a rule of the far end's iptables.
func (l *Link) filter(t testing.TB, chain string, rule ...string) (mend func()) {
	t.Helper()
	rule = append([]string{chain, "-i", "eth9"}, rule...)
	if chain == "OUTPUT" {
		rule[1] = "-o"
	}
	ip(t, append([]string{"netns", "exec", l.name, "iptables", "-w", "-A"}, rule...)...)
	return func() { ip(t, append([]string{"netns", "exec", l.name, "iptables", "-w", "-D"}, rule...)...) }
}

func ip(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}
