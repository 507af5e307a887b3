package integration

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestFrozenPastEverything: pgbaton stands still while it holds traffic. Its guard
// releases it, the leader moves, and then pgbaton goes on with what it knew.
func TestFrozenPastEverything(t *testing.T) {
	consul := servertest.Consul(t)
	c := servertest.Patroni(t, consul, 2, servertest.DynamicConfig("maximum_lag_on_failover", 1<<30))
	e := newEdge(t, consul, c, edgeSettings{cluster: `hold_timeout = "3s"`})
	old := c.Leader(t)
	before := e.leadsTo(t)
	callOff := e.askSwitchover(t)
	e.isHeld(t, true)
	e.daemon.Signal(t, syscall.SIGSTOP)
	servertest.Eventually(t, "the guard releases what is held", func() error { return e.logged("released what was held") })
	callOff()
	next := c.Replicas(t)[0]
	c.Switchover(t, next)
	c.AwaitReady(t)
	if now := e.leadsTo(t); now != before || next.Name == old.Name {
		t.Fatalf("while pgbaton stands still its file leads to %s and then to %s", before, now)
	}
	told, logged := len(e.pooler.Output()), len(e.daemon.Output())
	e.daemon.Signal(t, syscall.SIGCONT)
	through(e.port).landsOn(t, next)
	servertest.Eventually(t, "nothing is left to do", func() error {
		if n := strings.Count(e.daemon.Output(), "applied:"); n != 2 {
			return fmt.Errorf("it applied %d times:\n%s", n, e.daemon.Output())
		}
		return nil
	})
	e.nothingHeld(t)
	// By what it knew, a switchover, it would hold the traffic of a leader that leads no
	// more. That this one is lost it may learn a moment before it hears of the next one. A
	// PAUSE of the console's own database is how it asks.
	paused := strings.Contains(strings.ReplaceAll(e.pooler.Output()[told:], "PAUSE 'pgbouncer'", ""), "PAUSE")
	learnt := e.daemon.Output()[logged:]
	if held := strings.Count(learnt, "traffic held:"); held != strings.Count(learnt, "phase=lost names=") || paused != (held > 0) {
		t.Errorf("it holds by what it knew:\n%s\npgbaton:\n%s", e.pooler.Output()[told:], e.daemon.Output())
	}
	stopDaemon(t, e.daemon)
}

// leadsTo is the port of the leader in the file.
func (e *edge) leadsTo(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(e.ini)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if _, rest, is := strings.Cut(line, " port="); is && strings.HasPrefix(line, "*") {
			port, _, _ := strings.Cut(rest, " ")
			return strings.TrimSpace(port)
		}
	}
	t.Fatal(errors.New("it has no entry for all databases:\n" + string(content)))
	return ""
}
