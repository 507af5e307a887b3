package integration

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// edge is a pgbouncer in front of a cluster, with a pgbaton beside it.
type edge struct {
	dir     string
	ini     string
	port    int
	page    listener
	config  string
	store   servertest.DCS
	cluster *servertest.PatroniCluster
	daemon  *servertest.Process
	pooler  *servertest.Process
}

// edgeSettings are what differs between edges.
type edgeSettings struct {
	cluster string // further settings of the cluster block, or, without Patroni, the block
	target  string // of the target block
	vars    string // of the template
	blocks  string // beside them
}

// newEdge starts pgbaton and pgbouncer, and waits until a session lands on the
// leader.
func newEdge(t *testing.T, store servertest.DCS, c *servertest.PatroniCluster, s edgeSettings) *edge {
	t.Helper()
	s.cluster = fmt.Sprintf("cluster \"patroni\" \"main\" {\n  scope = %q\n%s\n}", c.Scope, s.cluster)
	e := edgeOf(t, store, s)
	e.cluster = c
	e.awaitLeader(t)
	e.start(t)
	through(e.port).landsOn(t, c.Leader(t))
	servertest.Eventually(t, "pgbaton has applied its files", func() error { return e.logged("applied:") })
	return e
}

// edgeOf is an edge with nothing running yet.
func edgeOf(t *testing.T, store servertest.DCS, s edgeSettings) *edge {
	t.Helper()
	ports := servertest.FreePorts(t, 2)
	e := &edge{dir: servertest.PostgresDir(t), port: ports[0], page: listener{ports[1]}, store: store}
	e.ini = filepath.Join(e.dir, "pgbouncer.ini")
	servertest.File(t, filepath.Join(e.dir, "users"), "\"postgres\" \"\"\n", 0o644)
	e.config = e.page.block() + fmt.Sprintf(`
%s
%s
target "pgbouncer" "edge" {
  template {
    source      = "builtin:pgbouncer.ini"
    destination = %q
  }
  vars = {
    listen_addr     = "127.0.0.1"
    listen_port     = %[4]d
    unix_socket_dir = %[5]q
    pidfile         = "%[5]s/pgbouncer.pid"
    auth_type       = "trust"
    auth_file       = "%[5]s/users"
    stats_users     = ["postgres"]
%[6]s
  }
  socket = %[5]q
  port   = %[4]d
  hold   = true
%[7]s
}
%[8]s
`, store.Block(), s.cluster, e.ini, e.port, e.dir, s.vars, s.target, s.blocks)
	return e
}

// start starts pgbaton, and pgbouncer on what it wrote.
func (e *edge) start(t *testing.T) {
	t.Helper()
	e.daemon = startDaemon(t, e.dir, e.config, e.ini)
	e.pooler = servertest.PgBouncer(t, e.ini, e.port)
}

// awaitLeader is for an earlier test that stopped Patroni for longer than its key
// lives.
func (e *edge) awaitLeader(t *testing.T) {
	t.Helper()
	servertest.Eventually(t, "the cluster has a leader", func() error {
		_, found, err := e.store.Lookup(e.cluster.Key("leader"))
		if err == nil && !found {
			err = errors.New("no leader key")
		}
		return err
	})
}

// logged says whether pgbaton's log has a text.
func (e *edge) logged(text string) error { return logged(e.daemon, text) }

// logged says whether a daemon has printed text.
func logged(daemon *servertest.Process, text string) error {
	if out := daemon.Output(); !strings.Contains(out, text) {
		return fmt.Errorf("the log has no %q:\n%s", text, out)
	}
	return nil
}

// paused reads which databases are paused.
func (e *edge) paused(t *testing.T) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@127.0.0.1:%d/pgbouncer?sslmode=disable&default_query_exec_mode=simple_protocol", e.port))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, "SHOW DATABASES")
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		values, err := row.Values()
		name := ""
		for i, f := range row.FieldDescriptions() {
			switch f.Name {
			case "name":
				name = fmt.Sprint(values[i])
			case "paused":
				out[name] = fmt.Sprint(values[i]) == "1"
			}
		}
		return struct{}{}, err
	})
	return out, err
}

// isHeld waits until a query through the pgbouncer waits, or no longer does.
func (e *edge) isHeld(t *testing.T, want bool) {
	t.Helper()
	servertest.Eventually(t, fmt.Sprintf("traffic is held: %v", want), func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := through(e.port).writeWithin(ctx)
		switch {
		case want && err == nil:
			return errors.New("a query went through")
		case want && !errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("a query did not wait: %w", err)
		case !want && err != nil:
			return fmt.Errorf("a query did not go through: %w", err)
		}
		return nil
	})
}

// askSwitchover puts the failover key that asks for a switchover, as an operator
// does, with every Patroni stopped: so nobody acts on it. The returned function
// calls it off and lets them go on.
func (e *edge) askSwitchover(t *testing.T) (callOff func()) {
	t.Helper()
	for _, m := range e.cluster.Members {
		m.FreezePatroni(t)
	}
	key := e.cluster.Key("failover")
	value := fmt.Sprintf(`{"leader":%q,"member":"pg9"}`, e.cluster.Leader(t).Name)
	e.store.Put(t, key, value)
	var once sync.Once
	callOff = func() {
		once.Do(func() {
			e.store.Put(t, key, "{}")
			for _, m := range e.cluster.Members {
				m.Thaw(t)
			}
		})
	}
	t.Cleanup(callOff)
	return callOff
}

// startWriters starts n writers through a port.
func startWriters(t *testing.T, port, n int) *servertest.Writers {
	t.Helper()
	return servertest.StartWriters(t, through(port).url, n)
}

// noticed are the failures that clients had to notice: all but those of transactions
// that began in the second before traffic was held. How many those are is how
// fast a machine is, which the benchmarks measure: on an idle one there are none.
func (e *edge) noticed(t *testing.T, failed []error) (noticed, underWay []error) {
	t.Helper()
	var held []time.Time
	for line := range strings.Lines(e.daemon.Output()) {
		if at, _, is := strings.Cut(line, " [INFO]  pgbaton: traffic held: "); is {
			if when, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(at)); err == nil {
				held = append(held, when)
			}
		}
	}
	for _, err := range failed {
		var f servertest.Failure
		if errors.As(err, &f) && slices.ContainsFunc(held, func(at time.Time) bool { return f.Begun.Before(at) && at.Sub(f.Begun) < time.Second }) {
			underWay = append(underWay, err)
			continue
		}
		noticed = append(noticed, err)
	}
	return noticed, underWay
}
