//go:build bench

package failover

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// doors are where a contestant's writers go in, as URLs; "" if it has no such
// door.
type doors struct{ bench, second, other string }

// titles name the contestants in the tables.
var titles = map[string]string{
	"floor":              "floor: told, and connects directly",
	"ct-pgbouncer":       "consul-template + SIGHUP + pgbouncer",
	"ct-pgbouncer-tuned": "the same, server_login_retry=1, server_fast_close=1",
	"haproxy-patroni":    "HAProxy with Patroni REST checks",
	"multihost":          "libpq-style multi-host (pgx), read-write",
	"pgbaton-pgbouncer":  "**pgbaton + pgbouncer**",
	"pgbaton-haproxy":    "**pgbaton + HAProxy**",
}

// contestant is one of them during one event.
type contestant struct {
	name   string
	bench  *fleet
	second *fleet // nil if it has no such door
	other  *fleet
}

// reconnect is what a writer waits before it connects again, as a pool does. The
// floor waits for news instead.
const reconnect = 50 * time.Millisecond

// open starts a contestant's processes for the length of a test. It returns its
// doors, the way for its writers, and what a writer waits before it tries again.
func (s *stage) open(t *testing.T, name string) (d doors, way func() route, again time.Duration) {
	t.Helper()
	at := host(slices.Index(contestantNames, name))
	switch name {
	case "floor":
		return d, s.seen.route, 0
	case "ct-pgbouncer":
		d = s.consulTemplatePgBouncer(t, at, "")
	case "ct-pgbouncer-tuned":
		d = s.consulTemplatePgBouncer(t, at, "server_login_retry = 1\nserver_fast_close = 1\n")
	case "haproxy-patroni":
		d = s.haproxyPatroni(t, at)
	case "multihost":
		d = doors{bench: s.multihost(at)}
	case "pgbaton-pgbouncer":
		d = s.pgbatonPgBouncer(t)
	case "pgbaton-haproxy":
		d = s.pgbatonHAProxy(t)
	default:
		t.Fatalf("no contestant %q", name)
	}
	return d, func() route { return through(d.bench) }, reconnect
}

// enter opens a contestant and starts its writers.
func (s *stage) enter(t *testing.T, name string) *contestant {
	t.Helper()
	d, way, again := s.open(t, name)
	c := &contestant{name: name}
	n, pace := s.plan.load, s.plan.pace
	if name == "floor" && n > unpooled {
		n, pace = unpooled, pace*unpooled/time.Duration(n)
	}
	c.bench = &fleet{table: table(name), run: s.run, pace: pace, again: again, multi: s.plan.multi}
	c.bench.sail(t, n, way)
	c.second = s.beside(t, name, d.second)
	c.other = s.beside(t, name, d.other)
	return c
}

// beside starts the two writers that only watch over another database.
func (s *stage) beside(t *testing.T, name, url string) *fleet {
	if url == "" {
		return nil
	}
	f := &fleet{table: table(name), run: s.run, pace: 2 * paceOfFew, again: reconnect}
	f.sail(t, 2, func() route { return through(url) })
	return f
}

func (c *contestant) fleets() []*fleet {
	return slices.DeleteFunc([]*fleet{c.bench, c.second, c.other}, func(f *fleet) bool { return f == nil })
}

// multihost is one URL with all members, as libpq takes it. Without a
// connect_timeout a hung host would end the search.
func (s *stage) multihost(at string) string {
	url := "postgres://postgres@"
	for i, m := range s.cluster.Members {
		if i > 0 {
			url += ","
		}
		url += fmt.Sprintf("%s:%d", at, m.Port)
	}
	return url + "/" + database + "?sslmode=disable&target_session_attrs=read-write&connect_timeout=3"
}

// behind are the doors of a pooler or balancer on one port each.
func behind(port, otherPort int) doors {
	url := func(port int, database string) string {
		return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable&connect_timeout=30", port, database)
	}
	return doors{url(port, database), url(port, secondDatabase), url(otherPort, otherDatabase)}
}

// await polls until cond holds. It is false at the limit.
func await(t *testing.T, limit time.Duration, cond func() bool) bool {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < limit; pause(t.Context(), 20*time.Millisecond) {
		if cond() {
			return true
		}
		if t.Context().Err() != nil {
			t.Fatal("the test ended")
		}
	}
	return false
}

// endpoint is the one member of the cluster that is left in peace.
func (s *stage) endpoint() *servertest.PatroniMember { return s.other.Members[0] }
