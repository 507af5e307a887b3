package field

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

const clients = 4

// scene is one failure: a pgbouncer with a pgbaton beside it, and clients on the
// same machine that write through it.
type scene struct {
	*stage
	dir     string
	ini     string
	port    int
	config  string
	daemon  *servertest.Process
	pooler  *servertest.Process
	writers *servertest.Writers

	// lonely is a leader that was cut off while replication was not synchronous: what it
	// alone has is lost, and nobody promised anything else.
	lonely *servertest.PatroniMember

	watching context.CancelFunc
	torn     chan string // a file that was not whole, once it was seen; closed when nobody looks any more
}

// settings are what differs between scenes.
type settings struct {
	cluster string // further settings of the cluster block
	consul  string // of the consul block
}

// begin starts the edge and its clients, on a cluster that is whole.
func (s *stage) begin(t *testing.T, set settings) *scene {
	t.Helper()
	s.cluster.AwaitReady(t)
	e := &scene{stage: s, dir: servertest.PostgresDir(t), port: servertest.FreePort(t), torn: make(chan string, 1)}
	e.ini = filepath.Join(e.dir, "pgbouncer.ini")
	servertest.File(t, filepath.Join(e.dir, "users"), "\"postgres\" \"\"\n", 0o644)
	e.config = servertest.File(t, filepath.Join(e.dir, "pgbaton.hcl"), fmt.Sprintf(`
state_dir = "%[1]s/state"
consul {
  address = %[2]q
%[3]s
}
cluster "patroni" "main" {
  scope = %[4]q
%[5]s
}
target "pgbouncer" "edge" {
  template {
    source      = "builtin:pgbouncer.ini"
    destination = "%[1]s/pgbouncer.ini"
  }
  vars = {
    listen_addr     = %[6]q
    listen_port     = %[7]d
    unix_socket_dir = %[1]q
    pidfile         = "%[1]s/pgbouncer.pid"
    auth_type       = "trust"
    auth_file       = "%[1]s/users"
    stats_users     = ["postgres"]
  }
  socket = %[1]q
  port   = %[7]d
  hold   = true
}
`, e.dir, s.store, set.consul, s.cluster.Scope, set.cluster, s.edge.Addr, e.port), 0o644)
	e.start(t)
	e.pooler = s.edge.PgBouncer(t, e.ini, e.port)
	e.logs(t, "applied:")
	e.writers = servertest.StartWriters(t, e.url(), clients)
	e.watch(t)
	return e
}

// start starts pgbaton and waits until it has written its file.
func (e *scene) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(binary, "run", "-config", e.config)
	cmd.Dir = e.dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "GORACE=halt_on_error=1"}
	servertest.AsPostgres(t, cmd)
	e.daemon = e.edge.Start(t, cmd)
	servertest.Eventually(t, "pgbaton writes its file", func() error {
		_, err := os.Stat(e.ini)
		return errors.Join(err, e.alive())
	})
}

func (e *scene) alive() error {
	if e.daemon.Exited() {
		return fmt.Errorf("pgbaton ended:\n%s", e.daemon.Output())
	}
	return nil
}

// url is pgbouncer's Unix socket: the way of clients that no partition stops.
func (e *scene) url() string {
	return fmt.Sprintf("postgres://postgres@/postgres?host=%s&port=%d&default_query_exec_mode=simple_protocol&connect_timeout=5", e.dir, e.port)
}

// said counts a text in pgbaton's log.
func (e *scene) said(text string) int { return strings.Count(e.daemon.Output(), text) }

// logs waits until pgbaton has said a text.
func (e *scene) logs(t *testing.T, text string) {
	t.Helper()
	e.logsMore(t, text, 0)
}

// logsMore waits until pgbaton has said a text more often than before.
func (e *scene) logsMore(t *testing.T, text string, before int) {
	t.Helper()
	servertest.Eventually(t, "pgbaton says "+text, func() error {
		if e.said(text) > before {
			return nil
		}
		return errors.Join(e.alive(), fmt.Errorf("it says:\n%s", e.daemon.Output()))
	})
}

// watch looks at the file all the time: it is whole at every instant, and leads to
// one member.
func (e *scene) watch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	e.watching = cancel
	t.Cleanup(cancel)
	go func() {
		defer close(e.torn)
		for ctx.Err() == nil {
			if err := e.whole(); err != nil {
				e.torn <- err.Error()
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
}

// whole says whether the file leads to one member, and has its end.
func (e *scene) whole() error {
	content, err := os.ReadFile(e.ini)
	if err != nil {
		return err
	}
	leads := slices.DeleteFunc(slices.Clone(e.cluster.Members), func(m *servertest.PatroniMember) bool { return !e.leadsTo(string(content), m) })
	if len(leads) != 1 || !strings.HasSuffix(string(content), "\n") {
		return fmt.Errorf("the file is not whole:\n%s", content)
	}
	return nil
}

func (e *scene) leadsTo(content string, m *servertest.PatroniMember) bool {
	return strings.Contains(content, fmt.Sprintf("host=%s port=%d", m.Host, m.Port))
}

// stays is for while nothing is known: the file leads to a member still.
func (e *scene) stays(t *testing.T, m *servertest.PatroniMember) {
	t.Helper()
	if err := e.shows(m); err != nil {
		t.Error(err)
	}
}

// shows says whether the file leads to a member.
func (e *scene) shows(m *servertest.PatroniMember) error {
	content, err := os.ReadFile(e.ini)
	if err == nil && !e.leadsTo(string(content), m) {
		err = fmt.Errorf("the file does not lead to %s:\n%s", m.Name, content)
	}
	return err
}

// server is how the writers know a member.
func server(m *servertest.PatroniMember) string { return fmt.Sprintf("%s:%d", m.Host, m.Port) }

// writesOn waits until every client has written since the call, at a member.
func (e *scene) writesOn(t *testing.T, m *servertest.PatroniMember) {
	t.Helper()
	servertest.Eventually(t, "pgbaton follows "+m.Name, func() error {
		err := e.shows(m)
		if err != nil {
			err = fmt.Errorf("%w\npgbaton says:\n%s", err, e.daemon.Output())
		}
		return errors.Join(err, e.alive())
	})
	now := time.Now()
	e.writers.Everyone(t, now)
	servertest.Eventually(t, "rows are written at "+m.Name, func() error {
		if !slices.ContainsFunc(e.writers.Acks(now), func(a servertest.Ack) bool { return a.Server == server(m) }) {
			return errors.New("none so far")
		}
		return nil
	})
}

// end is the end of each scene, when all is mended: clients write on at whoever
// leads, and no row was lost or went astray.
func (e *scene) end(t *testing.T) {
	t.Helper()
	e.cluster.AwaitReady(t)
	leader := e.cluster.Leader(t)
	e.writesOn(t, leader)
	failed, missing := e.writers.End(t, leader)
	missing = slices.DeleteFunc(missing, func(id int) bool { return e.lonely != nil && e.writers.Ack(id).Server == server(e.lonely) })
	if len(missing) > 0 {
		t.Errorf("%d acknowledged rows are missing on %s", len(missing), leader.Name)
	}
	e.watching()
	for torn := range e.torn {
		t.Error(torn)
	}
	list := e.reigns(t)
	if len(list) == 0 {
		t.Errorf("pgbaton's log tells of no leader:\n%s", e.daemon.Output())
	} else if rows := astray(list, e.writers.Acks(list[0].followed)); len(rows) > 0 {
		t.Errorf("%d rows were written to a leader of before, after another was followed: %v", len(rows), rows[0])
	}
	out, err := e.pgbaton(t, "diff", "-config", e.config)
	if err != nil {
		t.Errorf("the file is not the wanted one: %v\n%s", err, out)
	}
	e.daemon.Signal(t, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := e.daemon.Wait(ctx); err != nil {
		t.Errorf("pgbaton after SIGTERM: %v\n%s", err, e.daemon.Output())
	}
	t.Logf("%d rows, %d errors, longest stall %v", e.writers.Rows(), len(failed), e.writers.Stall().Round(time.Millisecond))
}

// pgbaton runs a verb on the edge's machine.
func (e *scene) pgbaton(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = e.dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	servertest.AsPostgres(t, cmd)
	p := e.edge.Start(t, cmd)
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Deadline)
	defer cancel()
	err := p.Wait(ctx)
	return p.Output(), err
}
