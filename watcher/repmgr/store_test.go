package repmgr_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
	"github.com/pgbaton/pgbaton/watcher/repmgr"
	"github.com/pgbaton/pgbaton/watcher/watchertest"
)

func open(t testing.TB, c repmgr.Config) watcher.Store {
	t.Helper()
	store, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func address(n *servertest.RepmgrNode) string { return fmt.Sprintf("127.0.0.1:%d", n.Port) }

// follower reads a cluster as pgbaton does.
type follower struct {
	sub    *watcher.Subscription
	source cluster.Source
	before cluster.Cluster
}

func follow(t *testing.T, store watcher.Store) *follower {
	t.Helper()
	source, err := (&cluster.Repmgr{}).Source(cluster.Place{Name: "main"})
	if err != nil {
		t.Fatal(err)
	}
	w := watcher.New(map[string]watcher.Store{watcher.Catalog: store}, hclog.NewNullLogger())
	f := &follower{sub: w.Subscribe(), source: source}
	f.sub.Want(map[watcher.Query]struct{}{source.Queries(nil)[0]: {}})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		_ = store.(*repmgr.Store).Close()
	})
	return f
}

// until waits until the cluster is so, and confirmed.
func (f *follower) until(t *testing.T, what string, is func(c cluster.Cluster) error) (c cluster.Cluster) {
	t.Helper()
	servertest.Eventually(t, what, func() error {
		known := f.sub.Snapshot()
		a := known[f.source.Queries(nil)[0]]
		if a.Err != nil || a.Presence != watcher.Present {
			return fmt.Errorf("%v: %w", a.Presence, a.Err)
		}
		for _, p := range a.Value.([]watcher.Pair) {
			if strings.Contains(p.Value, servertest.RepmgrPassword) {
				t.Fatalf("a password got through: %s", p.Value)
			}
		}
		c = f.source.Decode(f.before, known)
		f.before = c
		return is(c)
	})
	return c
}

// leads says that a node leads, with so many who follow, and so many problems.
func leads(n *servertest.RepmgrNode, replicas, problems int) func(cluster.Cluster) error {
	return func(c cluster.Cluster) error {
		if c.Leader == nil || c.Leader.Name != n.Name || c.Leader.Port != n.Port || len(c.Replicas) != replicas || len(c.Problems) != problems {
			return fmt.Errorf("leader %+v, members %+v, problems %q", c.Leader, c.Members, c.Problems)
		}
		return nil
	}
}

// TestCluster follows a real cluster from one of its nodes: a promotion, an old primary
// that comes back by itself, and its way back into the cluster.
func TestCluster(t *testing.T) {
	c := servertest.Repmgr(t, 2)
	one, two := c.Nodes[0], c.Nodes[1]
	f := follow(t, open(t, repmgr.Config{Nodes: []string{address(two)}}))

	steady := f.until(t, "node1 leads", leads(one, 1, 0))
	system := one.Ask(t, "SELECT system_identifier::text FROM pg_control_system()")
	if r := steady.Replicas[0]; steady.System != system || steady.Timeline != 1 || steady.Key != (cluster.LeaderKey{Name: "node1", Session: "1", Created: 1}) ||
		r.State != "streaming" || !r.LagKnown || r.Timeline != 1 || r.Tags["upstream"] != "node1" || r.Tags["location"] != "default" {
		t.Errorf("cluster %+v, replica %+v", steady, r)
	}

	one.Stop()
	gone := f.until(t, "nobody leads", func(c cluster.Cluster) error {
		if c.Leader != nil || len(c.Replicas) != 1 {
			return fmt.Errorf("leader %+v", c.Leader)
		}
		return nil
	})
	if m := gone.Member("node1"); m == nil || m.State != "unreachable" || gone.System != system {
		t.Errorf("node1 is %+v", m)
	}

	two.Promote(t)
	f.until(t, "node2 leads", leads(two, 0, 0))
	if k := f.before.Key; k.Created != 2 || k.Session != "2" {
		t.Errorf("its key is %+v", k)
	}

	one.Start(t, false)
	both := f.until(t, "node1 is seen beside it", leads(two, 0, 1))
	if m := both.Member("node1"); m == nil || m.Role != "primary" || m.State != "running" || !strings.Contains(both.Problems[0], "node1 takes writes on timeline 1 beside the leader node2 on 2") {
		t.Errorf("node1 is %+v, problems %q", m, both.Problems)
	}

	one.Shutdown()
	one.Rejoin(t, two)
	f.until(t, "node1 follows", leads(two, 1, 0))
}

// TestRights: a login without rights says which it lacks, and what is not needed is done
// without.
func TestRights(t *testing.T) {
	c := servertest.Repmgr(t, 1)
	n := c.Nodes[0]
	n.Exec(t, "repmgr", "CREATE ROLE watcher LOGIN", "REVOKE EXECUTE ON FUNCTION pg_control_system(), pg_control_checkpoint() FROM PUBLIC")
	fails := func(what string, config repmgr.Config, want string) {
		t.Helper()
		config.Nodes = []string{address(n)}
		_, err := open(t, config).Fetch(t.Context(), watcher.Query{Kind: watcher.Prefix, Path: "repmgr/main/"}, 0)
		if err == nil || !strings.Contains(err.Error(), want) || hint.Of(err) == "" {
			t.Errorf("%s: error %v, hint %q; want %q", what, err, hint.Of(err), want)
		}
	}
	fails("no rights", repmgr.Config{User: "watcher"}, "permission denied for schema repmgr")
	fails("another database", repmgr.Config{Database: "postgres"}, `"repmgr.nodes" does not exist`)
	fails("nobody", repmgr.Config{User: "nobody-here"}, `role "nobody-here" does not exist`)
	n.Exec(t, "repmgr", "GRANT USAGE ON SCHEMA repmgr TO watcher", "GRANT SELECT ON repmgr.nodes TO watcher")
	follow(t, open(t, repmgr.Config{Nodes: []string{address(n)}, User: "watcher"})).until(t, "node1 leads", leads(n, 0, 0))
}

func TestBadConfigs(t *testing.T) {
	for want, c := range map[string]repmgr.Config{
		"nodes is empty":                 {},
		"address in nodes is none":       {Nodes: []string{"postgres://u:secret@10.0.0.1"}},
		"an address in nodes is none":    {Nodes: []string{"10.0.0.1:99999"}},
		"has 10.0.0.1:5432 twice":        {Nodes: []string{"10.0.0.1:5432", "10.0.0.1"}},
		`interval "1ms" is no time from`: {Nodes: []string{"10.0.0.1:5432"}, Interval: "1ms"},
		"read password_file":             {Nodes: []string{"10.0.0.1:5432"}, PasswordFile: "/none"},
		"read the repmgr block":          {Nodes: []string{"10.0.0.1:5432"}, SSLMode: "often"},
	} {
		if _, err := c.Open(); err == nil || !strings.Contains(err.Error(), want) || hint.Of(err) == "" || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %v, hint %q; want %q", err, hint.Of(err), want)
		}
	}
}

// given is a cluster of one, whose priority changes.
func given(t *testing.T, n *servertest.RepmgrNode, at string) watchertest.Given {
	t.Helper()
	priority := 100
	store := open(t, repmgr.Config{Nodes: []string{at}})
	t.Cleanup(func() { _ = store.(*repmgr.Store).Close() })
	return watchertest.Given{
		Store: store, Folder: "repmgr/main/", Key: "repmgr/main/nodes/1", Moving: true,
		Turn: func(t testing.TB) func(string) bool {
			t.Helper()
			priority++
			want := fmt.Sprintf(`"priority":%d`, priority)
			n.Exec(t, "repmgr", fmt.Sprintf("UPDATE repmgr.nodes SET priority = %d", priority))
			return func(value string) bool { return strings.Contains(value, want) }
		},
	}
}

func TestContract(t *testing.T) {
	n := servertest.Repmgr(t, 1).Nodes[0]
	watchertest.RunGiven(t, func(t *testing.T) watchertest.Given { return given(t, n, address(n)) })
}

func TestFaults(t *testing.T) {
	n := servertest.Repmgr(t, 1).Nodes[0]
	at := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	line := faulttest.NewLine(t, at, address(n))
	// Its conninfo leads over the line too.
	_, port, _ := strings.Cut(at, ":")
	n.Exec(t, "repmgr", fmt.Sprintf("UPDATE repmgr.nodes SET conninfo = 'postgresql://repmgr:%s@127.0.0.1:%s/repmgr'", servertest.RepmgrPassword, port))
	watchertest.RunGivenFaults(t, func(t *testing.T) (watchertest.Given, watchertest.Faults) {
		return given(t, n, at), watchertest.Faults{
			Away: func(t testing.TB) func() { return line.Cut(t) },
			Mute: func(t testing.TB) func() {
				n.Freeze()
				return n.Thaw
			},
			Slow: func(t testing.TB) func() {
				line.Spoil(t, faulttest.Latency)
				return func() { line.Mend(t) }
			},
			Cut: func(t testing.TB) { line.Cut(t)() },
		}
	})
}
