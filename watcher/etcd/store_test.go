package etcd_test

import (
	"fmt"
	"testing"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/etcd"
	"github.com/pgbaton/pgbaton/watcher/watchertest"
)

func open(t testing.TB, c *etcd.Config, endpoints ...string) watcher.Store {
	t.Helper()
	c.Endpoints = endpoints
	store, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.(*etcd.Store).Close() })
	return store
}

func TestContract(t *testing.T) {
	watchertest.Run(t, func(t *testing.T) watchertest.Harness {
		c := servertest.Etcd(t, 1)
		return watchertest.Harness{Store: open(t, &etcd.Config{}, c.Servers[0].Addr), Put: c.Put, Delete: c.Delete}
	})
}

// TestFaults breaks three servers, and the lines to them.
func TestFaults(t *testing.T) {
	watchertest.RunFaults(t, func(t *testing.T) (watchertest.Harness, watchertest.Faults) {
		c := servertest.Etcd(t, 3)
		var lines []*faulttest.Line
		var endpoints []string
		for _, s := range c.Servers {
			at := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
			lines, endpoints = append(lines, faulttest.NewLine(t, at, s.Addr)), append(endpoints, at)
		}
		return watchertest.Harness{Store: open(t, &etcd.Config{}, endpoints...), Put: c.Put, Delete: c.Delete}, watchertest.Faults{
			Away: func(t testing.TB) func() {
				c.Kill()
				return func() { c.Launch(t) }
			},
			Mute: func(t testing.TB) func() {
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
			Older: func(t testing.TB) func() { return c.Keep(t) },
		}
	})
}
