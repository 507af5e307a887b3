//go:build bench

package failover

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// observer sees what really happens: the leader key by a blocking query, and
// each server by asking it directly.
type observer struct {
	host string // at which the servers are asked

	mu    sync.Mutex
	now   *primary
	seen  []*primary // all of them, in order
	keys  []keyChange
	known map[*servertest.PatroniMember]bool // whether it was last seen in recovery
}

// primary is a server that takes writes, from when that was first seen.
type primary struct {
	member *servertest.PatroniMember
	start  string // when its postmaster started: a restarted one is another
	at     time.Time
	gone   chan struct{} // closed when the next one is seen
}

type keyChange struct {
	at     time.Time
	leader string // "" while there is none
}

const (
	askEvery = 5 * time.Millisecond
	hiccup   = time.Minute // until the floor tries the same server again
)

// observe watches until the test ends.
func observe(t *testing.T, keys store, c *servertest.PatroniCluster, host string) *observer {
	t.Helper()
	o := &observer{host: host, known: map[*servertest.PatroniMember]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	leader := c.Leader(t)
	wg.Go(func() { keys.watch(ctx, c.Key("leader"), o.noteKey) })
	for _, m := range c.Members {
		wg.Go(func() { o.watchServer(ctx, m, m == leader) })
	}
	servertest.Eventually(t, "the observer sees the leader", func() error {
		if o.primary() == nil {
			return fmt.Errorf("%s takes no writes", leader.Name)
		}
		return nil
	})
	return o
}

// noteKey notes what the leader key holds.
func (o *observer) noteKey(leader string, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.keys); n == 0 || o.keys[n-1].leader != leader {
		o.keys = append(o.keys, keyChange{at, leader})
	}
}

// watchServer asks one server. Whichever leads when it begins is the first
// primary.
func (o *observer) watchServer(ctx context.Context, m *servertest.PatroniMember, leads bool) {
	url := direct(o.host, m, "postgres") + "&connect_timeout=1"
	var conn *pgconn.PgConn
	for ; ctx.Err() == nil; pause(ctx, askEvery) {
		limited, cancel := context.WithTimeout(ctx, time.Second)
		var err error
		if conn == nil {
			if conn, err = pgconn.Connect(limited, url); err != nil {
				conn = nil
				cancel()
				continue
			}
		}
		results, err := conn.Exec(limited, "SELECT pg_is_in_recovery(), pg_postmaster_start_time()").ReadAll()
		if err == nil && len(results) == 1 && len(results[0].Rows) == 1 {
			row := results[0].Rows[0]
			o.saw(m, string(row[0]) == "t", string(row[1]), leads)
			leads = false
		} else {
			_ = conn.Close(limited)
			conn = nil
		}
		cancel()
	}
	if conn != nil {
		_ = conn.Close(ctx)
	}
}

// saw decides whether there is a new primary: a server that left recovery, or
// the present one, restarted. An old one that comes back to its senses and has
// not heard the news is none, unless the present one has made way for it: Patroni
// 3.0 on etcd, when it wakes up, writes its name over the leader key of another.
func (o *observer) saw(m *servertest.PatroniMember, recovery bool, start string, leads bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	promoted := o.known[m]
	o.known[m] = recovery
	restarted := o.now != nil && o.now.member == m && o.now.start != start
	again := o.now != nil && o.now.member != m && o.known[o.now.member]
	if recovery || !promoted && !restarted && !again && !leads {
		return
	}
	next := &primary{member: m, start: start, at: time.Now(), gone: make(chan struct{})}
	if o.now != nil {
		close(o.now.gone)
	}
	o.now = next
	o.seen = append(o.seen, next)
}

func (o *observer) primary() *primary {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

// since is the first primary that was seen after a moment; nil if none was yet.
func (o *observer) since(begin time.Time) *primary {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.seen {
		if p.at.After(begin) {
			return p
		}
	}
	return nil
}

// named is when the leader key first named a member after a moment; zero if it
// did not yet.
func (o *observer) named(begin time.Time, member string) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, k := range o.keys {
		if k.at.After(begin) && k.leader == member {
			return k.at
		}
	}
	return time.Time{}
}

// route is the floor: it leads to the primary, and whoever takes it is told at
// once when there is another.
func (o *observer) route() route {
	var tried *primary
	return func(ctx context.Context) (*pgconn.PgConn, <-chan struct{}, error) {
		p := o.primary()
		if p == tried {
			// It failed, or it would not be asked for again. What was only a hiccup
			// brings no news.
			select {
			case <-p.gone:
			case <-ctx.Done():
			case <-time.After(hiccup):
			}
			p = o.primary()
		}
		tried = p
		conn, err := pgconn.Connect(ctx, direct(o.host, p.member, database))
		return conn, p.gone, err
	}
}

// direct is the URL of a server itself, at one of the addresses at which it
// listens.
func direct(host string, m *servertest.PatroniMember, database string) string {
	return fmt.Sprintf("postgres://postgres@%s:%d/%s?sslmode=disable", host, m.Port, database)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
