package haproxy_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/haproxy"
)

func TestCutReachesWorkersOfBefore(t *testing.T) {
	one, two := newServe(t, "127.0.0.1:0"), newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	reading := leader(b.port, one.addr, "", "  server pg1 "+one.addr)
	port := servertest.FreePort(t)
	reading += fmt.Sprintf("listen ro\n  bind 127.0.0.1:%d\n  server pg1 %s\n", port, one.addr)
	b.commit(t, reading)
	b.start(t)
	var hang []*client
	mark := reload.Mark{}
	for i := range 3 {
		for range 20 {
			hang = append(hang, leads(t, b.port, one))
		}
		mark = b.follows(t, strings.Replace(reading, "timeout client 60s", fmt.Sprintf("timeout client %ds", 70+i), 1), mark)
	}
	for range 20 {
		hang = append(hang, leads(t, b.port, one))
	}
	// One of its sessions is a replica's: reads may stay.
	replica := leads(t, port, one)
	b.follows(t, strings.Replace(strings.Replace(reading, "timeout client 60s", "timeout client 72s", 1), "leader "+one.addr, "leader "+two.addr, 1), mark)
	now := leads(t, b.port, two)

	how := b.cuts(t, one.address())
	if strings.Count(how, "20 sessions of worker") != 4 {
		t.Errorf("cut: %q", how)
	}
	for i, c := range hang {
		if !c.cut(time.Second) {
			t.Fatalf("session %d hangs on", i)
		}
	}
	if now.cut(50*time.Millisecond) || replica.cut(50*time.Millisecond) {
		t.Error("a session that leads where it should was cut")
	}
}

// Without `option redispatch 1` a session that waits to connect anew goes to the
// old address, even after the move.
func TestCutSeesSessionsThatConnectLater(t *testing.T) {
	ports := servertest.FreePorts(t, 1)
	two := newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	dead := reload.Address{Host: "127.0.0.1", Port: ports[0]}
	first := strings.Replace(leader(b.port, dead.String(), ""), "  option redispatch 1\n", "", 1)
	b.commit(t, first)
	b.start(t)
	mark := b.follows(t, first, reload.Mark{})
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	servertest.Eventually(t, "a session waits to connect anew", func() error {
		if !strings.Contains(b.ask(t, "@1 show sess all"), "state=TAR") {
			return errors.New("it does not")
		}
		return nil
	})
	b.follows(t, strings.Replace(first, dead.String(), two.addr, 1), mark)
	// The old leader is back, as a replica.
	back := newServe(t, dead.String())
	if how := b.cuts(t, dead); how == "" {
		t.Error("nothing was cut")
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	if said, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the session to %s goes on: %q", back.addr, said)
	}
}

// A reload closes the master's socket under whoever asks.
func TestCutWhileOthersReload(t *testing.T) {
	one, two := newServe(t, "127.0.0.1:0"), newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	b.commit(t, leader(b.port, one.addr, ""))
	b.start(t)
	mark := b.follows(t, leader(b.port, one.addr, ""), reload.Mark{})
	var hang []*client
	for range 200 {
		hang = append(hang, leads(t, b.port, one))
	}
	b.follows(t, leader(b.port, two.addr, ""), mark)
	b.process.Signal(t, syscall.SIGUSR2)
	b.cuts(t, one.address())
	for i, c := range hang {
		if !c.cut(time.Second) {
			t.Fatalf("session %d hangs on", i)
		}
	}
}

func TestCutByPIDFile(t *testing.T) {
	c, _ := reload.As[reload.Cutter](daemon(t, haproxy.Config{PIDFile: "/nowhere"}))
	if how, err := c.Cut(t.Context(), []reload.Address{{Host: "127.0.0.1", Port: 1}}); how != "" || err != nil {
		t.Errorf("%q, %v", how, err)
	}
}
