package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// byNodes is a cluster whose store its nodes are: one is enough to begin with.
type byNodes struct {
	servertest.DCS // nil: there is none
	node           *servertest.RepmgrNode
}

// Block is the store's block in pgbaton's config.
func (b byNodes) Block() string {
	return fmt.Sprintf("repmgr {\n  nodes = [\"127.0.0.1:%d\"]\n}", b.node.Port)
}

// TestRepmgr follows a cluster that repmgr keeps: through a promotion, and past an old
// primary that comes back by itself.
func TestRepmgr(t *testing.T) {
	c := servertest.Repmgr(t, 2)
	one, two := c.Nodes[0], c.Nodes[1]
	e := edgeOf(t, byNodes{node: two}, edgeSettings{cluster: `cluster "repmgr" "main" {}`})
	e.start(t)
	landsOn := func(n *servertest.RepmgrNode) {
		t.Helper()
		servertest.Eventually(t, "a session lands on "+n.Name, func() error {
			port, err := through(e.port).write(t)
			if err == nil && port != n.Port {
				err = fmt.Errorf("it is on port %d", port)
			}
			return err
		})
	}
	landsOn(one)
	servertest.Eventually(t, "pgbaton has applied its files", func() error { return e.logged("applied:") })
	w := startWriters(t, e.port, 8)

	one.Shutdown() // which lets the standby have all
	two.Promote(t)
	landsOn(two)
	w.Progress(t, 100)
	failed := w.Failures()
	if len(failed) > 8*4 {
		t.Errorf("%d errors, first of them %v; pgbaton:\n%s", len(failed), errors.Join(failed...), e.daemon.Output())
	}
	t.Logf("a promotion: %d errors, longest stall %v", len(failed), w.Stall())

	e.isCaptured(t, two.Port)

	one.Start(t, false)
	servertest.Eventually(t, "the old primary is seen", func() error { return e.logged("node1 takes writes on timeline 1 beside the leader node2 on 2") })
	servertest.Eventually(t, "there is an alarm", func() error { return e.logged("two members take writes") })
	w.Progress(t, 100)
	if failed := w.Failures(); len(failed) > 0 {
		t.Errorf("errors beside the old primary: %v", failed)
	}
	rows := w.Rows()
	if have := two.Ask(t, "SELECT count(*)::text FROM rows"); len(have) < len(fmt.Sprint(rows)) || len(have) == len(fmt.Sprint(rows)) && have < fmt.Sprint(rows) {
		t.Errorf("%d rows were acknowledged, %s are there", rows, have)
	}
	captured, err := os.ReadFile(filepath.Join(e.dir, "captured.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(e.daemon.Output()+string(captured), servertest.RepmgrPassword) {
		t.Error("a password is in the log, or was captured")
	}

	one.Shutdown()
	one.Rejoin(t, two)
	servertest.Eventually(t, "the alarm is over", func() error { return e.logged("one member takes writes again") })
	e.nothingHeld(t)
	stopDaemon(t, e.daemon)
}
