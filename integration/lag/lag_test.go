//go:build bench

package lag

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

const (
	rounds   = 5
	maxBytes = "64kB"
	maxDelay = time.Second
	readers  = 20 * time.Millisecond // between two reads through a port
	beats    = 5 * time.Millisecond  // between two writes of a kilobyte
	quiet    = 3 * time.Second       // so long without a read from the replica, and it is out
	patience = 90 * time.Second
)

// limit is what a contestant calls too far behind.
type limit uint8

const (
	byBytes limit = iota
	byDelay
)

// contestant is a port that leads to replicas.
type contestant struct {
	name  string
	limit limit
	port  int

	mu    sync.Mutex
	reads []read
	stale []time.Duration // of each round: from the limit to the last read that was begun there
	late  []int           // of each round: reads after the limit
}

// read is one through a new connection.
type read struct {
	begun time.Time
	from  int // the port of the server; 0 if it failed
}

func TestStaleReads(t *testing.T) {
	consul := servertest.Consul(t)
	c := servertest.Patroni(t, consul, 3, servertest.DynamicConfig("maximum_lag_on_failover", 1<<40))
	s := &stage{consul: consul, cluster: c, pgbaton: build(t)}
	all := []*contestant{
		{name: "HAProxy, `/replica?lag=" + maxBytes + "`, its default interval of 2 s", limit: byBytes, port: s.patroniChecks(t)},
		{name: "**pgbaton + HAProxy**, `max_bytes = \"" + maxBytes + "\"`", limit: byBytes, port: s.haproxy(t, `max_bytes = "`+maxBytes+`"`)},
		{name: "**pgbaton + HAProxy**, `max_delay = \"1s\"`", limit: byDelay, port: s.haproxy(t, `max_delay = "1s"`)},
		{name: "**pgbaton + pgbouncer**, `max_delay = \"1s\"`", limit: byDelay, port: s.pgbouncer(t, `max_delay = "1s"`)},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	running.Go(func() { write(ctx, t, c.Leader(t)) })
	for _, c := range all {
		running.Go(func() { c.read(ctx) })
	}
	for n := range rounds {
		lame := c.Replicas(t)[n%2]
		for _, o := range all {
			servertest.Eventually(t, o.name+" leads to "+lame.Name, func() error { return o.lately(lame.Port, true) })
		}
		s.round(t, all, lame)
	}
	fmt.Printf("\n%s", table(all))
}

// round stops the replay of one replica until everybody has left it.
func (s *stage) round(t *testing.T, all []*contestant, lame *servertest.PatroniMember) {
	t.Helper()
	watched := observe(t, s.cluster.Leader(t), lame)
	replay := startup(t, lame)
	defer func() { _ = syscall.Kill(replay, syscall.SIGCONT) }()
	begun := time.Now()
	if err := syscall.Kill(replay, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		for c.lately(lame.Port, false) != nil {
			if time.Since(begun) > patience {
				break
			}
			time.Sleep(10 * time.Millisecond) // what is measured is time
		}
	}
	passed := watched.stop()
	for _, c := range all {
		c.sum(lame.Port, passed[c.limit], begun)
	}
}

// sum takes up what a round came to.
func (c *contestant) sum(port int, passed, begun time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var last time.Duration
	n := 0
	for _, r := range c.reads {
		if r.from == port && r.begun.After(begun) && r.begun.After(passed) {
			last, n = r.begun.Sub(passed), n+1
		}
	}
	c.stale, c.late = append(c.stale, last), append(c.late, n)
}

// lately is an error if a server had reads in the last seconds, or had none.
func (c *contestant) lately(port int, should bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := time.Now().Add(-quiet)
	if len(c.reads) == 0 || c.reads[0].begun.After(since) {
		return errors.New("it has not been watched for long enough")
	}
	has := slices.ContainsFunc(c.reads, func(r read) bool { return r.from == port && r.begun.After(since) })
	if has != should {
		return fmt.Errorf("reads come from there: %v", has)
	}
	return nil
}

// read reads through new connections until ctx ends.
func (c *contestant) read(ctx context.Context) {
	url := fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres_ro?sslmode=disable&default_query_exec_mode=simple_protocol&connect_timeout=2", c.port)
	if !strings.Contains(c.name, "pgbouncer") {
		url = strings.Replace(url, "postgres_ro", "postgres", 1)
	}
	for ctx.Err() == nil {
		r := read{begun: time.Now()}
		if conn, err := pgx.Connect(ctx, url); err == nil {
			if conn.QueryRow(ctx, "SELECT inet_server_port()").Scan(&r.from) != nil {
				r.from = 0
			}
			_ = conn.Close(ctx)
		}
		c.mu.Lock()
		c.reads = append(c.reads, r)
		c.mu.Unlock()
		pause(ctx, readers-time.Since(r.begun))
	}
}

// watch is when a replica passed the limits.
type watch struct {
	cancel context.CancelFunc
	done   chan struct{}
	passed map[limit]time.Time
}

// observe looks, all the time, how far a replica is behind its leader.
func observe(t *testing.T, leader, lame *servertest.PatroniMember) *watch {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watch{cancel: cancel, done: make(chan struct{}), passed: map[limit]time.Time{}}
	t.Cleanup(func() { cancel(); <-w.done })
	ask := func(m *servertest.PatroniMember, what string) func() int64 {
		conn, err := pgx.Connect(ctx, m.URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return func() (n int64) {
			_ = conn.QueryRow(ctx, "SELECT ("+what+" - '0/0')::bigint").Scan(&n)
			return n
		}
	}
	at, there := ask(leader, "pg_current_wal_lsn()"), ask(lame, "pg_last_wal_replay_lsn()")
	go func() {
		defer close(w.done)
		var moved time.Time
		var was int64
		for ctx.Err() == nil {
			begun := time.Now()
			is := there()
			if is != was {
				was, moved = is, begun
			}
			if n := at(); n-is > 64<<10 && w.passed[byBytes].IsZero() {
				w.passed[byBytes] = time.Now()
			}
			if w.passed[byDelay].IsZero() && !moved.IsZero() && begun.Sub(moved) > maxDelay {
				w.passed[byDelay] = moved.Add(maxDelay)
			}
			pause(ctx, time.Millisecond)
		}
	}()
	return w
}

func (w *watch) stop() map[limit]time.Time {
	w.cancel()
	<-w.done
	return w.passed
}

// write has the leader write a kilobyte now and then.
func write(ctx context.Context, t *testing.T, leader *servertest.PatroniMember) {
	conn, err := pgx.Connect(ctx, leader.URL())
	if err == nil {
		_, err = conn.Exec(ctx, "CREATE TABLE beats (at timestamptz, filler text)")
	}
	for err == nil && ctx.Err() == nil {
		_, err = conn.Exec(ctx, "INSERT INTO beats VALUES (clock_timestamp(), (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 32)))")
		pause(ctx, beats)
	}
	if ctx.Err() == nil {
		t.Errorf("the leader takes no writes: %v", err)
	}
}

// startup is the process of a replica that replays.
func startup(t *testing.T, m *servertest.PatroniMember) (pid int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), m.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.QueryRow(t.Context(), "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func table(all []*contestant) string {
	var b strings.Builder
	b.WriteString("| replicas behind | from the limit to the last read | reads in that time |\n|---|---|---|\n")
	for _, c := range all {
		sorted := slices.Sorted(slices.Values(c.stale))
		fmt.Fprintf(&b, "| %s | %.2f s (%.2f–%.2f s) | %v |\n", c.name, sorted[len(sorted)/2].Seconds(), sorted[0].Seconds(), sorted[len(sorted)-1].Seconds(), strings.Trim(fmt.Sprint(c.late), "[]"))
	}
	return b.String()
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
