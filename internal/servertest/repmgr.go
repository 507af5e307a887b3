package servertest

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// RepmgrCluster is a cluster of real PostgreSQL servers on loopback that repmgr keeps.
// Every connection to them is trusted.
type RepmgrCluster struct {
	Nodes []*RepmgrNode // node1, which is the primary at first, node2, …

	dir string
}

// RepmgrNode is one server, and what repmgr knows of it.
type RepmgrNode struct {
	*Postgres
	ID   int
	Name string

	config string
}

// RepmgrPassword is in the conninfo of each node, where it is of no use.
const RepmgrPassword = "not-for-anybody"

// Repmgr starts n servers, registers the first as primary and clones the others from it.
// There is no repmgrd: whoever runs the test decides.
func Repmgr(t testing.TB, n int) *RepmgrCluster {
	t.Helper()
	Need(t, "repmgr")
	c := &RepmgrCluster{dir: PostgresDir(t)}
	for i := range n {
		node := &RepmgrNode{ID: i + 1, Name: fmt.Sprint("node", i+1)}
		if i == 0 {
			node.Postgres = NewPostgres(t, c.dir, node.Name)
		} else {
			node.Postgres = &Postgres{Port: FreePort(t), data: filepath.Join(c.dir, node.Name)}
		}
		node.more = []string{"wal_log_hints=on", "full_page_writes=on", "wal_keep_size=256MB"}
		node.config = File(t, filepath.Join(c.dir, node.Name+".conf"), fmt.Sprintf(`node_id=%d
node_name='%s'
conninfo='host=127.0.0.1 port=%d user=repmgr dbname=repmgr connect_timeout=2 password=%s'
data_directory='%s'
pg_bindir='%s'
service_start_command='/bin/true'
log_level='WARNING'
`, node.ID, node.Name, node.Port, RepmgrPassword, node.data, PostgresBin(t)), 0o644)
		c.Nodes = append(c.Nodes, node)
		if i == 0 {
			node.Start(t, false)
			node.Exec(t, "postgres", "CREATE ROLE repmgr SUPERUSER LOGIN", "CREATE DATABASE repmgr OWNER repmgr")
			node.Run(t, "primary", "register")
			continue
		}
		node.Run(t, append(c.Nodes[0].login(), "standby", "clone", "--fast-checkpoint")...)
		node.Start(t, true)
		node.Run(t, "standby", "register", "--wait-sync=30")
	}
	return c
}

// login are the options that lead to the node.
func (n *RepmgrNode) login() []string {
	return []string{"-h", "127.0.0.1", "-p", fmt.Sprint(n.Port), "-U", "repmgr", "-d", "repmgr"}
}

// Run runs repmgr on the node.
func (n *RepmgrNode) Run(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, "repmgr", append([]string{"-f", n.config}, args...)...)
	cmd.Dir, cmd.Env = "/tmp", postgresEnv()
	AsPostgres(t, cmd)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("repmgr %s on %s: %v\n%s", strings.Join(args, " "), n.Name, err, out)
	}
	return string(out)
}

// Promote has repmgr promote the node; the primary must not run.
func (n *RepmgrNode) Promote(t testing.TB) {
	t.Helper()
	n.Run(t, "standby", "promote")
}

// Rejoin has repmgr rewind a node that was shut down, and follow another one.
func (n *RepmgrNode) Rejoin(t testing.TB, leader *RepmgrNode) {
	t.Helper()
	leader.Exec(t, "postgres", "CHECKPOINT") // what pg_rewind compares is the timeline of the last one
	n.Run(t, append(leader.login(), "node", "rejoin", "--force-rewind", "--no-wait")...)
	n.Start(t, true)
	n.Run(t, "standby", "register", "--force", "--wait-sync=30")
}
