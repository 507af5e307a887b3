//go:build amd64

package chaos

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// haproxy is one in master-worker mode.
type haproxy struct {
	process *servertest.Process
	socket  string // of its master
	port    int    // that leads to the leader
}

// TestOldWorkers reloads HAProxy again and again, by hand, while each worker keeps a
// session: those of before pile up as far as the config lets them. A leader that
// moves adds none, and is followed by the worker that serves.
func TestOldWorkers(t *testing.T) {
	for name, bound := range map[string]struct {
		vars    string
		reloads int
		most    int // of old workers, in the end
	}{
		"max_reloads":     {"max_reloads = 20", 100, 21},
		"hard_stop_after": {`hard_stop_after = "3s"`, 30, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, h := newHAProxy(t, "leader_check = \"tcp\"\nreplica_check = \"tcp\"\n"+bound.vars)
			var members [2]*member
			for i := range members {
				members[i] = listen(t, s.ports[i])
			}
			p := s.run(t, 0)
			for range bound.reloads {
				h.session(t, members[0])
				h.reload(t)
			}
			servertest.Eventually(t, "old workers end", func() error {
				_, old, err := h.workers()
				if err == nil && old > bound.most {
					err = fmt.Errorf("%d old workers", old)
				}
				return err
			})
			moves := func(to int) (reloads int) {
				t.Helper()
				before := strings.Count(p.Output(), "applied: ")
				s.lead(t, to)
				s.follows(t, p, to)
				servertest.Eventually(t, "it is applied", func() error {
					if strings.Count(p.Output(), "applied: ") == before {
						return fmt.Errorf("pgbaton says:\n%s", p.Output())
					}
					return nil
				})
				h.session(t, members[to])
				reloads, _, err := h.workers()
				if err != nil {
					t.Fatal(err)
				}
				return reloads
			}
			// Which file a worker runs that somebody else started is not known: it takes one
			// reload to be sure.
			reloads := moves(1)
			for _, to := range []int{0, 1, 0} {
				if after := moves(to); after != reloads {
					t.Errorf("a leader that moves took reloads: %d before, %d after", reloads, after)
				}
			}
			t.Logf("injected %d times", bound.reloads)
		})
	}
}

// workers asks the master how often it was reloaded, and how many workers of before
// there are.
func (h *haproxy) workers() (reloads, old int, err error) {
	answer, err := ask(h.socket, "show proc")
	if err != nil {
		return 0, 0, err
	}
	reloads = -1
	kind := ""
	for line := range strings.Lines(answer) {
		f := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "#"):
			kind = strings.TrimSpace(line)
		case len(f) > 2 && f[1] == "master":
			if _, err := fmt.Sscan(f[2], &reloads); err != nil {
				return 0, 0, fmt.Errorf("show proc: %q: %w", line, err)
			}
		case len(f) > 1 && f[1] == "worker" && kind == "# old workers":
			old++
		}
	}
	if reloads < 0 {
		return 0, 0, fmt.Errorf("show proc says %q", answer)
	}
	return reloads, old, nil
}

// reloads is how many the master has done. It says nothing while it starts anew.
func (h *haproxy) reloads(t *testing.T) (n int) {
	t.Helper()
	servertest.Eventually(t, "the master says how often it has reloaded", func() (err error) {
		n, _, err = h.workers()
		return err
	})
	return n
}

// reload is what an operator does, by SIGUSR2.
func (h *haproxy) reload(t *testing.T) {
	t.Helper()
	before := h.reloads(t)
	h.process.Signal(t, syscall.SIGUSR2)
	servertest.Eventually(t, "haproxy has reloaded", func() error {
		now, _, err := h.workers()
		if err == nil && now == before {
			err = fmt.Errorf("%d reloads", now)
		}
		return err
	})
}

// session opens one that lands on a member, and keeps it until the test ends.
func (h *haproxy) session(t *testing.T, on *member) {
	t.Helper()
	servertest.Eventually(t, "a session lands on "+on.name, func() error {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", h.port))
		if err != nil {
			return err
		}
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		greeting, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil && strings.TrimSpace(greeting) != on.name {
			err = fmt.Errorf("it is on %q", greeting)
		}
		if err != nil {
			_ = conn.Close()
			return err
		}
		t.Cleanup(func() { _ = conn.Close() })
		return nil
	})
}

// member is a server that says its name to whoever connects.
type member struct{ name string }

// listen starts one, until the test ends.
func listen(t *testing.T, port int) *member {
	t.Helper()
	m := &member{fmt.Sprint(port)}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				_, _ = fmt.Fprintln(conn, m.name)
				_, _ = conn.Read(make([]byte, 1)) // until it is left
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Wait()
	})
	return m
}
