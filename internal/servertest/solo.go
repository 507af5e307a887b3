package servertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres is a PostgreSQL server without a Patroni: whoever runs the test decides
// when it takes writes. It replicates from nobody, unless it is a Replica.
type Postgres struct {
	Port int
	Addr string // where it listens beside loopback, and trusts everyone; "" is nowhere

	data string
	more []string // further settings
	proc *Process // nil while it does not run
}

// NewPostgres makes a data folder below dir, for a server that does not run yet.
func NewPostgres(t testing.TB, dir, name string) *Postgres {
	t.Helper()
	s := &Postgres{Port: FreePort(t), data: filepath.Join(dir, name)}
	asPostgres(t, filepath.Join(PostgresBin(t), "initdb"), "-D", s.data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")
	return s
}

// Copy makes another server of what a stopped one has: the same system, as a
// replica is.
func (s *Postgres) Copy(t testing.TB, name string) *Postgres {
	t.Helper()
	c := &Postgres{Port: FreePort(t), data: filepath.Join(filepath.Dir(s.data), name)}
	asPostgres(t, "cp", "-a", s.data, c.data)
	return c
}

// Replica makes a replica of a stopped server: started in recovery, it streams from it.
func (s *Postgres) Replica(t testing.TB, name string) *Postgres {
	t.Helper()
	c := s.Copy(t, name)
	c.more = append(c.more, fmt.Sprintf("primary_conninfo=host=127.0.0.1 port=%d user=postgres sslmode=disable", s.Port), "wal_retrieve_retry_interval=100ms",
		"max_connections=100") // no fewer than initdb notes for a server that never ran
	return c
}

// Secure makes a stopped server speak TLS, with the certificate "server" that an authority
// issued, and ask everybody but the superuser for a password.
func (s *Postgres) Secure(t testing.TB, a *Authority) {
	t.Helper()
	for from, to := range map[string]string{"server.pem": "server.crt", "server-key.pem": "server.key"} {
		asPostgres(t, "install", "-m", "600", a.Path(from), filepath.Join(s.data, to))
	}
	hba := filepath.Join(s.data, "pg_hba.conf")
	asPostgres(t, "sh", "-c", fmt.Sprintf("printf '%%s\\n' 'host all postgres 127.0.0.1/32 trust' 'host all all all scram-sha-256' >%[1]s.new && cat %[1]s >>%[1]s.new && mv %[1]s.new %[1]s", hba))
	s.more = append(s.more, "ssl=on")
}

func asPostgres(t testing.TB, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = "/tmp", postgresEnv()
	AsPostgres(t, cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Start starts the server, in recovery or not, and waits until it takes queries.
// It ends with the test.
func (s *Postgres) Start(t testing.TB, recovery bool) {
	t.Helper()
	if recovery {
		asPostgres(t, "touch", filepath.Join(s.data, "standby.signal"))
	}
	addresses := "127.0.0.1"
	if s.Addr != "" {
		addresses += "," + s.Addr
		asPostgres(t, "sh", "-c", "echo host all all all trust >>"+filepath.Join(s.data, "pg_hba.conf"))
	}
	cmd := exec.Command(filepath.Join(PostgresBin(t), "postgres"), "-D", s.data, "-p", fmt.Sprint(s.Port))
	settings := []string{
		"listen_addresses=" + addresses, "unix_socket_directories=", "fsync=off", "full_page_writes=off", "max_connections=60",
		"shared_buffers=8MB", "restart_after_crash=off", "log_min_messages=fatal",
	}
	for _, setting := range append(settings, s.more...) {
		cmd.Args = append(cmd.Args, "-c", setting)
	}
	cmd.Dir, cmd.Env = "/tmp", postgresEnv()
	AsPostgres(t, cmd)
	s.proc = Start(t, cmd)
	t.Cleanup(s.Kill)
	Eventually(t, "postgres takes queries", func() error {
		if s.proc.Exited() {
			t.Fatalf("postgres ended:\n%s", s.proc.Output())
		}
		conn, err := s.Dial(t.Context(), "postgres")
		if err == nil {
			err = conn.Close(t.Context())
		}
		return err
	})
}

// Demand lets these users in by password alone, from now on.
func (s *Postgres) Demand(t testing.TB, users ...string) {
	t.Helper()
	asPostgres(t, "sed", "-i", "1i host all "+strings.Join(users, ",")+" all scram-sha-256", filepath.Join(s.data, "pg_hba.conf"))
	s.Exec(t, "postgres", "SELECT pg_reload_conf()")
}

// Dial connects as the superuser, to the server itself.
func (s *Postgres) Dial(ctx context.Context, database string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.Port, database))
}

// Exec runs statements, each a transaction of its own.
func (s *Postgres) Exec(t testing.TB, database string, statements ...string) {
	t.Helper()
	conn, err := s.Dial(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// Ask is the one value that a query yields.
func (s *Postgres) Ask(t testing.TB, query string) (value string) {
	t.Helper()
	conn, err := s.Dial(t.Context(), "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.QueryRow(t.Context(), query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

// Promote ends the recovery, and waits until the server takes writes.
func (s *Postgres) Promote(t testing.TB) {
	t.Helper()
	s.Exec(t, "postgres", "SELECT pg_promote(true, 60)")
}

// Runs says whether the server was started, and neither stopped nor killed since.
func (s *Postgres) Runs() bool { return s.proc != nil }

// Stop ends the server as pg_ctl's immediate mode does: the next start recovers.
func (s *Postgres) Stop() { s.stop(syscall.SIGQUIT) }

// Shutdown ends the server as pg_ctl's fast mode does, in good order.
func (s *Postgres) Shutdown() { s.stop(syscall.SIGINT) }

func (s *Postgres) stop(how syscall.Signal) {
	if s.proc == nil {
		return
	}
	s.Thaw()
	_ = s.proc.Cmd.Process.Signal(how)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = s.proc.Wait(ctx)
	s.Kill()
}

// Kill ends the server and its children with SIGKILL.
func (s *Postgres) Kill() {
	if s.proc == nil {
		return
	}
	signalTree(s.proc.Pid(), syscall.SIGKILL)
	<-s.proc.done
	s.proc = nil
	_ = os.Remove(filepath.Join(s.data, "postmaster.pid"))
}

// Freeze stops the server and its children where they stand: their connections
// stay open and say nothing.
func (s *Postgres) Freeze() { signalTree(s.proc.Pid(), syscall.SIGSTOP) }

// Thaw lets them go on.
func (s *Postgres) Thaw() { signalTree(s.proc.Pid(), syscall.SIGCONT) }
