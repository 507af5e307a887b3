package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// byMembers is a cluster whose store pgbaton has no access to: it asks the members.
type byMembers struct {
	servertest.DCS
	cluster *servertest.PatroniCluster
}

// Block is the store's block in pgbaton's config.
func (b byMembers) Block() string {
	var members []string
	for _, m := range b.cluster.Members {
		members = append(members, m.API())
	}
	return fmt.Sprintf("patroni {\n  members = [\"%s\"]\n}", strings.Join(members, `", "`))
}

// TestSwitchoversByTheMembersAlone: with an hour, a switchover is known before, and nobody
// notices it. Without one it is known when the leader ends its connections, and only
// what is under way then fails.
func TestSwitchoversByTheMembersAlone(t *testing.T) {
	consul := servertest.Consul(t)
	c := servertest.Patroni(t, consul, 3)
	e := newEdge(t, byMembers{consul, c}, c, edgeSettings{})

	old, next := c.Leader(t), c.Replicas(t)[0]
	w := startWriters(t, e.port, 8)
	at := time.Now().Add(5 * time.Second).UTC().Format(time.RFC3339)
	c.Ctl(t, "switchover", c.Scope, "--leader", old.Name, "--candidate", next.Name, "--scheduled", at, "--force")
	through(e.port).landsOn(t, next)
	w.Progress(t, 100)
	c.AwaitReady(t)
	failed, missing := w.End(t, next)
	if noticed, _ := e.noticed(t, failed); len(noticed)+len(missing) > 0 {
		t.Errorf("with an hour: %d errors, first of them %v; %d acknowledged rows missing; pgbaton:\n%s", len(noticed), errors.Join(noticed...), len(missing), e.daemon.Output())
	}
	t.Logf("with an hour: %d errors, longest stall %v", len(failed), w.Stall())

	e.isCaptured(t, next.Port)

	old, next = next, c.Replicas(t)[0]
	w = startWriters(t, e.port, 8)
	c.Switchover(t, next)
	through(e.port).landsOn(t, next)
	w.Progress(t, 100)
	failed, missing = w.End(t, next)
	// Each of them has one transaction under way, or a few until its connections are gone
	// as well.
	if len(failed) > 8*4 || len(missing) > 0 {
		t.Errorf("at once: %d errors, first of them %v; %d acknowledged rows missing; pgbaton:\n%s", len(failed), errors.Join(failed...), len(missing), e.daemon.Output())
	}
	t.Logf("at once, from %s to %s: %d errors, longest stall %v", old.Name, next.Name, len(failed), w.Stall())
	e.nothingHeld(t)
	stopDaemon(t, e.daemon)
}

// isCaptured captures the store, and renders from that alone.
func (e *edge) isCaptured(t *testing.T, leader int) {
	t.Helper()
	config, state := filepath.Join(e.dir, "pgbaton.hcl"), filepath.Join(e.dir, "captured.yaml")
	e.pgbaton(t, "capture", "-config", config, "-out", state)
	if out := e.pgbaton(t, "render", "-config", config, "-state", state); !strings.Contains(out, fmt.Sprintf("port=%d", leader)) {
		text, _ := os.ReadFile(state)
		t.Errorf("from what was captured:\n%s\nit renders:\n%s", text, out)
	}
}
