//go:build amd64

package chaos

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestTooManyConnections: all the connections that a real Consul allows an address
// are somebody else's when pgbaton's own breaks.
func TestTooManyConnections(t *testing.T) {
	const limit = 8
	consul := servertest.Consul(t, fmt.Sprintf("limits { http_max_conns_per_client = %d }", limit))
	k := newKeyed(t, from(t, "127.0.0.2", consul.Addr), consul.Addr, beside, keyedSettings{})
	leader, led := 1, []int{1}
	for range rounds(t) {
		away := k.awaysSaid()
		k.daemon.Signal(t, syscall.SIGSTOP) // it must not be quicker to connect again
		reset(t, consul.Addr, k.daemon.Pid())
		occupied := occupy(t, consul.Addr)
		k.daemon.Signal(t, syscall.SIGCONT)
		k.lead(t, 3-leader)
		k.away(t, away, leader)
		if out := k.daemon.Output(); !strings.Contains(out, "raise limits.http_max_conns_per_client") {
			t.Errorf("it does not say why:\n%s", out)
		}
		for _, c := range occupied {
			_ = c.Close()
		}
		leader = 3 - leader
		k.follows(t, leader)
		led = append(led, leader)
		k.told(t, led)
	}
	t.Logf("injected %d times", rounds(t))
}

// from is a client of Consul that another address is counted for.
func from(t *testing.T, address, consul string) *api.Client {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	client, err := api.NewClient(&api.Config{Address: consul, Transport: &http.Transport{DialContext: dialer.DialContext}})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// reset ends the connections of a process to a server.
func reset(t *testing.T, server string, pid int) {
	t.Helper()
	_, port, _ := strings.Cut(server, ":")
	out, err := exec.Command("ss", "-K", "-tnp", "dst", "127.0.0.1", "dport", "=", port).CombinedOutput()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("pid=%d,", pid)) {
		t.Fatalf("ss: %v: %s", err, out)
	}
}

// occupy connects until there is no place left, and returns the connections.
func occupy(t *testing.T, server string) (conns []net.Conn) {
	t.Helper()
	t.Cleanup(func() {
		for _, c := range conns {
			_ = c.Close()
		}
	})
	servertest.Eventually(t, "all connections are taken", func() error {
		c, err := net.Dial("tcp", server)
		if err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		answer, _ := c.Read(make([]byte, 100))
		if answer > 0 {
			return c.Close() // it is told that there are too many
		}
		conns = append(conns, c)
		return fmt.Errorf("%d are", len(conns))
	})
	return conns
}
