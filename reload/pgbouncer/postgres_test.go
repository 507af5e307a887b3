package pgbouncer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
)

// server is a PostgreSQL on loopback that trusts everyone and knows its name.
type server struct {
	name    string
	port    int
	process *servertest.Process
}

// newServer starts one.
func newServer(t *testing.T, name string) *server {
	t.Helper()
	bin := filepath.Dir(postgresBinary(t))
	dir := servertest.PostgresDir(t)
	data := filepath.Join(dir, "data")
	if out, err := exec.Command("cp", "-a", cluster(t, bin), data).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	s := &server{name: name, port: servertest.FreePort(t)}
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(s.port), "-k", dir,
		"-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=60",
		// Nothing is left in /dev/shm if the server is killed.
		"-c", "dynamic_shared_memory_type=mmap", "-c", "cluster_name="+name)
	cmd.Dir = dir
	servertest.AsPostgres(t, cmd)
	s.process = servertest.Start(t, cmd)
	// At once, whoever is connected: asked politely it would wait for them.
	t.Cleanup(func() { _ = s.process.Cmd.Process.Signal(syscall.SIGQUIT) })
	servertest.Eventually(t, name+" is ready", func() error {
		c, err := pgconn.Connect(t.Context(), s.url("postgres"))
		if err != nil {
			return err
		}
		return c.Close(t.Context())
	})
	return s
}

// template is a cluster that was never started; initdb takes a second, a copy
// does not.
var template struct {
	once sync.Once
	dir  string
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(template.dir)
	os.Exit(code)
}

func cluster(t *testing.T, bin string) string {
	t.Helper()
	template.once.Do(func() {
		dir, err := os.MkdirTemp("", "pgbaton-template-") //nolint:usetesting // it is for all tests
		if err != nil {
			t.Fatal(err)
		}
		template.dir = dir
		cmd := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust",
			"--no-sync", "-E", "UTF8", "--locale=C")
		servertest.AsPostgres(t, cmd)
		cmd.Dir = dir
		user := cmd.SysProcAttr.Credential
		if err := os.Chown(dir, int(user.Uid), int(user.Gid)); err != nil {
			t.Fatal(err)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("initdb: %v: %s", err, out)
		}
	})
	return filepath.Join(template.dir, "data")
}

func postgresBinary(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		t.Fatal("postgresql is not installed: run the tests with `make test`, which installs what they need")
	}
	return found[len(found)-1]
}

func (s *server) url(database string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=%s", s.port, database)
}

func (s *server) address() reload.Address { return reload.Address{Host: "127.0.0.1", Port: s.port} }

// entry is one for [databases] that leads there.
func (s *server) entry(database string) string {
	return fmt.Sprintf("%s = host=127.0.0.1 port=%d dbname=postgres user=postgres", database, s.port)
}

// latch makes a query that runs on the server until it is let go.
func (s *server) latch(t *testing.T) (query string, let func()) {
	t.Helper()
	const lock = "SELECT pg_advisory_lock(1)"
	conn, err := pgconn.Connect(t.Context(), s.url("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Conn().Close() })
	c := &client{t, conn}
	if _, err := c.ask(lock); err != nil {
		t.Fatal(err)
	}
	return lock, func() {
		t.Helper()
		if _, err := c.ask("SELECT pg_advisory_unlock(1)"); err != nil {
			t.Error(err)
		}
	}
}

// freeze stops the server with all its processes, as a hung host would.
func (s *server) freeze(t *testing.T) {
	t.Helper()
	var all []int
	seen := map[int]bool{}
	// Again until there is no new one: a process may be forked meanwhile.
	for grown := true; grown; {
		grown = false
		for _, pid := range append([]int{s.process.Pid()}, children(t, s.process.Pid())...) {
			if !seen[pid] {
				seen[pid], grown = true, true
				all = append(all, pid)
				_ = syscall.Kill(pid, syscall.SIGSTOP)
			}
		}
	}
	// Before the server is asked to leave.
	t.Cleanup(func() {
		for _, pid := range all {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	})
}

func children(t *testing.T, of int) []int {
	t.Helper()
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", of))
	var all []int
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for _, f := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(f); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}

// client is a session through a pgbouncer.
type client struct {
	t    *testing.T
	conn *pgconn.PgConn
}

func (b *bouncer) client(t *testing.T, database string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Deadline)
	defer cancel()
	conn, err := pgconn.Connect(ctx, fmt.Sprintf("host=%s port=%d user=postgres dbname=%s", b.dir, b.port, database))
	if err != nil {
		t.Fatalf("connect to %s: %v", database, err)
	}
	t.Cleanup(func() { _ = conn.Conn().Close() })
	return &client{t, conn}
}

// through logs in, asks and leaves.
func (b *bouncer) through(ctx context.Context, database, query string) (string, error) {
	conn, err := pgconn.Connect(ctx, fmt.Sprintf("host=%s port=%d user=postgres dbname=%s", b.dir, b.port, database))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Conn().Close() }()
	results, err := conn.Exec(ctx, query).ReadAll()
	if err != nil {
		return "", err
	}
	return string(results[0].Rows[0][0]), nil
}

// ask runs a query and returns the first value of its last row.
func (c *client) ask(query string) (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), servertest.Deadline)
	defer cancel()
	results, err := c.conn.Exec(ctx, query).ReadAll()
	if err != nil {
		return "", err
	}
	for i := len(results) - 1; i >= 0; i-- {
		if rows := results[i].Rows; len(rows) > 0 {
			return string(rows[0][0]), nil
		}
	}
	return "", nil
}

// where asks which server answers.
const where = "SHOW cluster_name"

// answer is what a query that runs beside the test comes to.
type answer struct {
	value string
	err   error
	after time.Duration
}

// begin runs a query beside the test.
func (c *client) begin(query string) <-chan answer {
	done := make(chan answer, 1)
	start := time.Now()
	var started sync.WaitGroup
	started.Add(1)
	go func() {
		started.Done()
		value, err := c.ask(query)
		done <- answer{value, err, time.Since(start)}
	}()
	started.Wait()
	return done
}

// awaitAnswer returns what a query came to, which it must within the deadline.
func awaitAnswer(t *testing.T, what string, done <-chan answer) answer {
	t.Helper()
	select {
	case a := <-done:
		return a
	case <-time.After(servertest.Deadline):
		t.Fatalf("%s: no answer", what)
	}
	return answer{}
}

// stillWaits fails the test if a query has come to an end.
func stillWaits(t *testing.T, what string, done <-chan answer) {
	t.Helper()
	select {
	case a := <-done:
		t.Fatalf("%s: it did not wait: %q, %v", what, a.value, a.err)
	default:
	}
}

// console sends a command as an operator would, and returns the rows as text.
func (b *bouncer) console(t *testing.T, command string) string {
	t.Helper()
	out, err := b.command(t.Context(), command)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return out
}

func (b *bouncer) command(ctx context.Context, command string) (string, error) {
	conn, err := pgconn.Connect(ctx, fmt.Sprintf("host=%s port=%d user=root dbname=pgbouncer", b.dir, b.port))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Conn().Close() }()
	results, err := conn.Exec(ctx, command).ReadAll()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, r := range results {
		for _, row := range r.Rows {
			for i, v := range row {
				fmt.Fprintf(&out, "%s=%s ", r.FieldDescriptions[i].Name, v)
			}
			out.WriteString("\n")
		}
	}
	return out.String(), nil
}

// awaitWaiting waits until n clients of a database wait.
func (b *bouncer) awaitWaiting(t *testing.T, database string, n int) {
	t.Helper()
	servertest.Eventually(t, fmt.Sprintf("%d clients of %s wait", n, database), func() error {
		waiting := 0
		for line := range strings.Lines(b.console(t, "SHOW POOLS")) {
			if !strings.Contains(line, "database="+database+" ") {
				continue
			}
			_, rest, _ := strings.Cut(line, "cl_waiting=")
			count, _, _ := strings.Cut(rest, " ")
			k, _ := strconv.Atoi(count)
			waiting += k
		}
		if waiting != n {
			return fmt.Errorf("%d wait", waiting)
		}
		return nil
	})
}

// isPaused says whether SHOW DATABASES has a database as paused.
func (b *bouncer) isPaused(t *testing.T, database string) bool {
	t.Helper()
	for line := range strings.Lines(b.console(t, "SHOW DATABASES")) {
		if strings.HasPrefix(line, "name="+database+" ") {
			return strings.Contains(line, " paused=1 ")
		}
	}
	t.Fatalf("no database %s", database)
	return false
}

// pausedAsAWhole tells a PAUSE of the whole: "already" if it is in effect.
func (b *bouncer) pausedAsAWhole(t *testing.T) bool {
	t.Helper()
	_, err := b.command(t.Context(), "PAUSE pgbouncer")
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		t.Fatalf("PAUSE pgbouncer: %v", err)
	}
	return strings.Contains(said.Message, "already")
}
