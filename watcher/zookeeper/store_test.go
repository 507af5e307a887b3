package zookeeper_test

import (
	"fmt"
	"testing"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher/watchertest"
	"github.com/pgbaton/pgbaton/watcher/zookeeper"
)

func open(t testing.TB, c *zookeeper.Config, hosts ...string) *zookeeper.Store {
	t.Helper()
	c.Hosts = hosts
	store, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := store.(*zookeeper.Store)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// below is a harness whose keys are below a znode of their own: a JVM takes seconds.
func below(t *testing.T, c *servertest.ZooKeeperEnsemble, hosts ...string) watchertest.Harness {
	t.Helper()
	at := "/" + t.Name()
	return watchertest.Harness{
		Store:  open(t, &zookeeper.Config{Chroot: at}, hosts...),
		Put:    func(t testing.TB, key, value string) { t.Helper(); c.Put(t, at+"/"+key, value) },
		Delete: func(t testing.TB, key string) { t.Helper(); c.Delete(t, at+"/"+key) },
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	c := servertest.ZooKeeper(t, 1)
	watchertest.Run(t, func(t *testing.T) watchertest.Harness { return below(t, c, c.Servers[0].Addr) })
}

// TestFaults breaks three servers, and the lines to them.
func TestFaults(t *testing.T) {
	t.Parallel()
	c := servertest.ZooKeeper(t, 3)
	watchertest.RunFaults(t, func(sub *testing.T) (watchertest.Harness, watchertest.Faults) {
		var lines []*faulttest.Line
		var hosts []string
		for _, s := range c.Servers {
			at := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(sub))
			lines, hosts = append(lines, faulttest.NewLine(sub, at, s.Addr)), append(hosts, at)
		}
		return below(sub, c, hosts...), watchertest.Faults{
			Away: func(testing.TB) func() { // the servers are t's, and outlive one fault
				c.Kill()
				return func() { c.Launch(t) }
			},
			Mute: func(testing.TB) func() {
				for _, s := range c.Servers {
					s.Freeze(t)
				}
				return func() {
					for _, s := range c.Servers {
						s.Thaw(t)
					}
					c.Await(t)
				}
			},
			Slow: func(t testing.TB) func() {
				for _, l := range lines {
					l.Spoil(t, faulttest.Latency)
				}
				return func() {
					for _, l := range lines {
						l.Mend(t)
					}
				}
			},
			Cut: func(t testing.TB) {
				for _, l := range lines {
					l.Cut(t)()
				}
			},
			Older: func(testing.TB) func() { return c.Keep(t) },
		}
	})
}
