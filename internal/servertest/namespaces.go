package servertest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Namespaces makes two network namespaces with a line between them, for the
// length of a test. In each its end is called eth9; the addresses are
// network.1/24 and network.2/24.
func Namespaces(t testing.TB, network string) [2]string {
	t.Helper()
	var names [2]string
	for i := range names {
		names[i] = fmt.Sprintf("pgbaton-%d-%d", os.Getpid(), i)
		IP(t, "netns", "add", names[i])
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", names[i]).Run() })
	}
	IP(t, "link", "add", "eth9", "netns", names[0], "type", "veth", "peer", "name", "eth9", "netns", names[1])
	for i, name := range names {
		IP(t, "-n", name, "addr", "add", fmt.Sprintf("%s.%d/24", network, i+1), "dev", "eth9")
		IP(t, "-n", name, "link", "set", "lo", "up")
		IP(t, "-n", name, "link", "set", "eth9", "up")
	}
	return names
}

// IP runs ip and returns what it printed.
func IP(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(Need(t, "ip"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
