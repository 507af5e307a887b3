//go:build amd64

package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// stand is a pgbaton beside one daemon, on a state file in the place of a store:
// two members, and a leader that the test moves between them.
type stand struct {
	dir   string
	ports [2]int   // by member: where it would listen
	files []string // the destinations

	// valid is the daemon's own check of what is at its destinations now.
	valid func() error
	// serves is the port of the leader that the daemon leads to.
	serves func() (int, error)

	// arm and lost are called before each fault, and after it; boot starts the daemon anew on its files.
	arm  func()
	lost func(calls []faulttest.Call)
	boot func(t *testing.T)

	whole map[string][]image // by destination: what a run without a fault left there, by member
}

// stands are the daemons that pgbaton is broken beside.
var stands = map[string]func(*testing.T) *stand{
	"two files": scriptStand, "haproxy": haproxyStand, "pgbouncer": bouncerStand,
}

// image is a file as it was found.
type image struct {
	content string
	mode    fs.FileMode
	stat    syscall.Stat_t // its owner, and its inode
}

func (i image) same(other image) bool { return i.content == other.content && i.mode == other.mode }

// newStand makes the folder and the config; target is its target block.
func newStand(t *testing.T, target string, files ...string) *stand {
	t.Helper()
	s := &stand{
		dir: servertest.PostgresDir(t), whole: map[string][]image{},
		arm: func() {}, lost: func([]faulttest.Call) {},
	}
	copy(s.ports[:], servertest.FreePorts(t, 2))
	for _, f := range files {
		s.files = append(s.files, filepath.Join(s.dir, f))
	}
	servertest.File(t, s.config(), strings.ReplaceAll(fmt.Sprintf(`state_dir = "DIR/state"
file {
  path = "DIR/state.yaml"
}
cluster "patroni" "main" {
  scope   = "batman"
  confirm = ["none"]
}
%s`, target), "DIR", s.dir), 0o644)
	s.lead(t, 0)
	return s
}

func (s *stand) config() string { return filepath.Join(s.dir, "pgbaton.hcl") }

// lead makes a member the leader.
func (s *stand) lead(t *testing.T, member int) {
	t.Helper()
	next := filepath.Join(s.dir, "state.yaml.next")
	servertest.File(t, next, fmt.Sprintf(`kv:
  service/batman/initialize: "7226"
  service/batman/config: {ttl: 30, loop_wait: 10, retry_timeout: 10}
  service/batman/leader: pg%d
  service/batman/members/pg1: {conn_url: "postgres://127.0.0.1:%d/postgres", role: %s, state: running, timeline: 1}
  service/batman/members/pg2: {conn_url: "postgres://127.0.0.1:%d/postgres", role: %s, state: running, timeline: 1}
`, member+1, s.ports[0], [2]string{"master", "replica"}[member], s.ports[1], [2]string{"replica", "master"}[member]), 0o644)
	if err := os.Rename(next, filepath.Join(s.dir, "state.yaml")); err != nil {
		t.Fatal(err)
	}
}

// once is a pgbaton that brings the target in sync and ends.
func (s *stand) once(t *testing.T) *exec.Cmd {
	t.Helper()
	return s.as(t, binary, "run", "-once", "-config", s.config())
}

// as is a command of the user postgres in the stand's folder.
func (s *stand) as(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	servertest.AsPostgres(t, cmd)
	return cmd
}

// run starts the daemon, and waits until a member leads.
func (s *stand) run(t *testing.T, member int) *servertest.Process {
	t.Helper()
	s.lead(t, member)
	p := servertest.Start(t, s.as(t, binary, "run", "-config", s.config()))
	s.follows(t, p, member)
	return p
}

// follows waits until a member leads, on disk and in the daemon.
func (s *stand) follows(t *testing.T, p *servertest.Process, member int) {
	t.Helper()
	servertest.Eventually(t, "the new leader is followed", func() error {
		if p.Exited() {
			t.Fatalf("pgbaton ended:\n%s", p.Output())
		}
		return s.settled(t, member)
	})
}

// sync runs once to its end, without a fault.
func (s *stand) sync(t *testing.T) {
	t.Helper()
	if out, err := s.once(t).CombinedOutput(); err != nil {
		t.Fatalf("pgbaton without a fault: %v\n%s", err, out)
	}
}

// firstFile writes the files for a daemon that does not start without, which is
// an error as long as it does not run.
func (s *stand) firstFile(t *testing.T) {
	t.Helper()
	out, err := s.once(t).CombinedOutput()
	if _, missing := os.Stat(s.files[0]); err == nil || missing != nil {
		t.Fatalf("the daemon does not run yet: error %v, file %v\n%s", err, missing, out)
	}
}

// learn sees what a run without a fault leaves, for each leader.
func (s *stand) learn(t *testing.T) {
	t.Helper()
	for member := range s.ports {
		s.lead(t, member)
		s.sync(t)
		for f, i := range s.look(t) {
			s.whole[f] = append(s.whole[f], i)
		}
		if err := s.settled(t, member); err != nil {
			t.Fatalf("without a fault: %v", err)
		}
	}
}

// look reads the destinations. One that is not there is empty.
func (s *stand) look(t *testing.T) map[string]image {
	t.Helper()
	out := map[string]image{}
	for _, f := range s.files {
		i, err := read(f)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		out[f] = i
	}
	return out
}

func read(path string) (image, error) {
	info, err := os.Stat(path)
	if err != nil {
		return image{}, err
	}
	content, err := os.ReadFile(path)
	return image{string(content), info.Mode(), *info.Sys().(*syscall.Stat_t)}, err
}

// intact says whether each destination is whole: one of the files that runs
// without a fault left there, which the daemon takes.
func (s *stand) intact(t *testing.T) error {
	t.Helper()
	for f, i := range s.look(t) {
		if !i.same(s.whole[f][0]) && !i.same(s.whole[f][1]) {
			return fmt.Errorf("%s is neither of its whole files: mode %v, %d bytes\n%s", f, i.mode, len(i.content), i.content)
		}
	}
	return s.valid()
}

// settled says whether a member leads, on disk and in the daemon, and whether
// nothing else lies about.
func (s *stand) settled(t *testing.T, member int) error {
	t.Helper()
	for f, i := range s.look(t) {
		if !i.same(s.whole[f][member]) {
			return fmt.Errorf("%s is not that of pg%d:\n%s", f, member+1, i.content)
		}
		if _, err := os.Lstat(filepath.Join(filepath.Dir(f), "."+filepath.Base(f)+".pgbaton")); err == nil {
			return fmt.Errorf("a staged file of %s was left behind", f)
		}
	}
	port, err := s.serves()
	if err == nil && port != s.ports[member] {
		err = fmt.Errorf("the daemon leads to port %d, pg%d is on %d", port, member+1, s.ports[member])
	}
	return err
}

// scriptStand has two files that are checked as one set, and a daemon that copies
// what it serves when it is told.
func scriptStand(t *testing.T) *stand {
	t.Helper()
	return scriptStandOn(t, func(string) {})
}

// scriptStandOn prepares the folder of its files first.
func scriptStandOn(t *testing.T, prepare func(dir string)) *stand {
	t.Helper()
	s := newStand(t, `
target "exec" "app" {
  template {
    contents    = "port={{ (cluster \"main\").Leader.Port }}\n"
    destination = "DIR/etc/one.conf"
    perms       = "0640"
  }
  template {
    contents    = "one agrees: port={{ (cluster \"main\").Leader.Port }}\n"
    destination = "DIR/etc/two.conf"
    perms       = "0600"
  }
  check   = ["sh", "-c", "grep -qx \"one agrees: $(cat {file:one.conf})\" {file:two.conf}"]
  command = ["sh", "-c", "cat DIR/etc/one.conf DIR/etc/two.conf > DIR/served.$$ && mv DIR/served.$$ DIR/served"]
}
`, "etc/one.conf", "etc/two.conf")
	etc := filepath.Join(s.dir, "etc")
	if out, err := s.as(t, "mkdir", etc).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	prepare(etc)
	// Each of them alone is all that this daemon could check of a set half swapped in.
	s.valid = func() error { return nil }
	s.serves = func() (port int, err error) {
		content, err := os.ReadFile(filepath.Join(s.dir, "served"))
		if err != nil {
			return 0, err
		}
		var again int
		if _, err := fmt.Sscanf(string(content), "port=%d\none agrees: port=%d", &port, &again); err != nil || port != again {
			return 0, fmt.Errorf("it serves %q: %w", content, err)
		}
		return port, nil
	}
	s.boot = func(t *testing.T) {
		if out, err := s.as(t, "sh", "-c", "cat etc/one.conf etc/two.conf > served").CombinedOutput(); err != nil {
			t.Fatalf("the daemon starts: %v: %s", err, out)
		}
	}
	s.learn(t)
	return s
}

// haproxyStand has a real HAProxy in master-worker mode.
func haproxyStand(t *testing.T) *stand {
	t.Helper()
	s, _ := newHAProxy(t, "")
	return s
}

// newHAProxy starts it with further vars of its template. Its read-write port is
// beside.
func newHAProxy(t *testing.T, vars string) (s *stand, master *haproxy) {
	t.Helper()
	ports := servertest.FreePorts(t, 2)
	s = newStand(t, fmt.Sprintf(`
target "haproxy" "lb" {
  template {
    source      = "builtin:haproxy.cfg"
    destination = "DIR/haproxy.cfg"
  }
  vars = {
    listen_address  = "127.0.0.1"
    read_write_port = %d
    read_only_port  = %d
    stats_socket    = "DIR/admin.sock"
    log             = ""
    user            = ""
    group           = ""
%s
  }
  master_socket = "DIR/master.sock"
}
`, ports[0], ports[1], vars), "haproxy.cfg")
	program := servertest.Need(t, "haproxy")
	s.valid = func() error {
		out, err := exec.Command(program, "-c", "-f", s.files[0]).CombinedOutput()
		if err != nil {
			return fmt.Errorf("haproxy -c: %w: %s", err, out)
		}
		return nil
	}
	s.serves = func() (int, error) {
		answer, err := ask(filepath.Join(s.dir, "master.sock"), "@1 show servers state primary")
		for line := range strings.Lines(answer) {
			// The name, and the port as the last but two of a server's fields.
			if f := strings.Fields(line); len(f) > 20 && f[3] == "leader" {
				var port int
				_, err := fmt.Sscan(f[18], &port)
				return port, err
			}
		}
		return 0, fmt.Errorf("no server named leader in %q: %w", answer, err)
	}
	s.firstFile(t)
	master = &haproxy{socket: filepath.Join(s.dir, "master.sock"), port: ports[0]}
	master.process = servertest.Start(t, s.as(t, program, "-W", "-S", master.socket, "-f", s.files[0]))
	servertest.Eventually(t, "haproxy serves", func() error { _, err := s.serves(); return err })
	s.learn(t)
	return s, master
}

// ask says one line to HAProxy's master.
func ask(socket, line string) (string, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return "", err
	}
	var answer strings.Builder
	lines := bufio.NewScanner(conn)
	for lines.Scan() && lines.Text() != "" { // it stays open after its answer
		answer.WriteString(lines.Text() + "\n")
	}
	return answer.String(), lines.Err()
}

// bouncerStand has a real PgBouncer, told over its console.
func bouncerStand(t *testing.T) *stand {
	t.Helper()
	port := servertest.FreePort(t)
	s := newStand(t, fmt.Sprintf(`
target "pgbouncer" "edge" {
  template {
    source      = "builtin:pgbouncer.ini"
    destination = "DIR/pgbouncer.ini"
    perms       = "0640"
  }
  vars = {
    databases       = ["app"]
    listen_addr     = "127.0.0.1"
    listen_port     = %d
    unix_socket_dir = "DIR"
    auth_type       = "trust"
    auth_file       = "DIR/userlist.txt"
    pidfile         = ""
    stats_users     = ["postgres"]
  }
  socket = "DIR"
  port   = %d
}
`, port, port), "pgbouncer.ini")
	servertest.File(t, filepath.Join(s.dir, "userlist.txt"), "\"postgres\" \"\"\n", 0o644)
	s.valid = func() error { return nil } // it has no check of its own
	s.serves = func() (int, error) { return leadsTo(t, port) }
	s.firstFile(t)
	servertest.PgBouncer(t, s.files[0], port)
	s.learn(t)
	return s
}

// leadsTo is the port of the server that a pgbouncer has for the database app.
func leadsTo(t *testing.T, port int) (leads int, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@127.0.0.1:%d/pgbouncer?sslmode=disable&default_query_exec_mode=simple_protocol", port))
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, "SHOW DATABASES")
	if err != nil {
		return 0, err
	}
	all, err := pgx.CollectRows(rows, pgx.RowToMap)
	if err != nil {
		return 0, err
	}
	for _, row := range all {
		if row["name"] == "app" {
			_, err := fmt.Sscan(fmt.Sprint(row["port"]), &leads)
			return leads, err
		}
	}
	return 0, errors.New("it has no database app")
}
