package doctor_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/doctor"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// configFor is a config for a server, with more lines of its file.
func configFor(t *testing.T, port int, lines ...string) doctor.Config {
	t.Helper()
	content := fmt.Sprintf("pg_host = 127.0.0.1\npg_port = %d\n%s\n", port, strings.Join(lines, "\n"))
	c, mistakes := doctor.Read(content)
	for _, m := range mistakes {
		t.Fatalf("%s: %v", m.Text, m.Err)
	}
	return c
}

func newServer(t *testing.T, c doctor.Config) *doctor.Server {
	t.Helper()
	s, err := doctor.NewServer(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// examined are the reasons in one text; "" is well.
func examined(t *testing.T, e doctor.Examiner) string {
	t.Helper()
	return strings.Join(doctor.Reasons(e.Examine(t.Context())), "\n")
}

// TestChecks: what a check comes to on a real server.
func TestChecks(t *testing.T) {
	pg := servertest.NewPostgres(t, servertest.PostgresDir(t), "pg")
	pg.Start(t, false)
	for _, c := range []struct{ check, why string }{
		{`"SELECT 1"`, ""},
		{`"SELECT 6" > "5"`, ""},
		{`"SELECT 3" > "5"`, `"SELECT 3": it is "3", not > "5"`},
		{`"SELECT 5" = "5"`, ""},
		{`"SELECT 'a#b'" = "a#b"`, ""},
		{`"SELECT 1 AS ""x y""" <= "1"`, ""},
		{`"SELECT false" = "t"`, `"SELECT false": it is "f", not = "t"`},
		{`"SELECT 1 WHERE false"`, `"SELECT 1 WHERE false": it yields 0 rows, not one`},
		{`"SELECT 1 UNION SELECT 2"`, `"SELECT 1 UNION SELECT 2": it yields 2 rows, not one`},
		{`"SELECT NULL" < "5"`, `"SELECT NULL": it yields nothing`},
		{`"SELECT ''"`, `"SELECT ''": it yields nothing`},
		{`"SELECT interval '7 s'" < "5"`, `"SELECT interval '7 s'": "00:00:07" is no number`},
		{`"SELECT 1; SELECT 2" = "2"`, ""}, // as pgDoctor: the last one counts
		{`"SELECT nothing"`, `"SELECT nothing": column "nothing" does not exist`},
		{`"SELECT 1" = "2"` + "\n" + `"SELECT 1" = "3"`, `"SELECT 1": it is "1", not = "2"` + "\n" + `"SELECT 1": it is "1", not = "3"`},
		{"", ""},
		{"pg_max_replication_lag = 0", ""}, // a server that is no replica does not lag
		{`"SELECT repeat('x', 3000)" = "x"`, `"SELECT repeat('x', 3000)": it is "xxx`},
		{`"SELECT repeat('x', 5000000)" = "x"`, `"SELECT repeat('x', 5000000)": `}, // it costs no more memory than it may
	} {
		got := examined(t, newServer(t, configFor(t, pg.Port, c.check)))
		if got != c.why && (!strings.Contains(c.check, "repeat") || !strings.HasPrefix(got, c.why) || len(got) > 600) {
			t.Errorf("%s: %q, want %q", c.check, got, c.why)
		}
	}
}

// TestOneConnection: looks share a connection, which is as fresh for each as a new one,
// and one that ended while it was idle says nothing of the server.
func TestOneConnection(t *testing.T) {
	pg := servertest.NewPostgres(t, servertest.PostgresDir(t), "pg")
	pg.Start(t, false)
	s := newServer(t, configFor(t, pg.Port,
		`"SELECT pg_advisory_lock(1) IS NULL; SET work_mem = '70MB'; BEGIN; SELECT 1"`,
		`"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbaton doctor'" = "1"`,
	))
	backend := func() string {
		return pg.Ask(t, "SELECT string_agg(pid || '/' || state, ' ') FROM pg_stat_activity WHERE application_name = 'pgbaton doctor'")
	}
	if why := examined(t, s); why != "" {
		t.Fatal(why)
	}
	first := backend()
	if locks := pg.Ask(t, "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'"); locks != "0" {
		t.Errorf("%s locks stay", locks)
	}
	for range 3 {
		if why := examined(t, s); why != "" {
			t.Fatal(why)
		}
	}
	if now := backend(); now != first || !strings.HasSuffix(now, "/idle") {
		t.Errorf("the connection was %s, and is %s", first, now)
	}
	pg.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgbaton doctor'")
	if why := examined(t, s); why != "" {
		t.Errorf("its connection was ended: %s", why)
	}
	if now := backend(); now == first {
		t.Error("it is the same connection")
	}

	pg.Stop()
	if why := examined(t, s); !strings.Contains(why, fmt.Sprintf("log in to 127.0.0.1:%d: dial tcp", pg.Port)) || !strings.Contains(why, "connection refused") {
		t.Errorf("a server that is down: %q", why)
	}
	pg.Start(t, false)
	if why := examined(t, s); why != "" {
		t.Errorf("it is up again: %s", why)
	}
}

// TestCheckThatHangs: a check has its time, the server does not go on with it, and what
// follows has its say.
func TestCheckThatHangs(t *testing.T) {
	pg := servertest.NewPostgres(t, servertest.PostgresDir(t), "pg")
	pg.Start(t, false)
	s := newServer(t, configFor(t, pg.Port, "check_timeout = 0.2", `"SELECT pg_sleep(1000)"`, `"SELECT 2" = "3"`))
	want := `"SELECT pg_sleep(1000)": no answer within 200ms` + "\n" + `"SELECT 2": it is "2", not = "3"`
	for range 2 {
		if why := examined(t, s); why != want {
			t.Errorf("%q, want %q", why, want)
		}
	}
	if busy := pg.Ask(t, "SELECT count(*)::text FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"); busy != "0" {
		t.Errorf("the server sleeps still")
	}

	// A server that hangs as a whole.
	s = newServer(t, configFor(t, pg.Port, "check_timeout = 0.2", "pg_connection_timeout = 0.3", `"SELECT 1"`, `"SELECT 2"`))
	if why := examined(t, s); why != "" {
		t.Fatal(why)
	}
	pg.Freeze()
	if why := examined(t, s); why != `"SELECT 1": no answer within 200ms` {
		t.Errorf("frozen: %q", why)
	}
	if why := examined(t, s); why != fmt.Sprintf("log in to 127.0.0.1:%d: no answer within 300ms", pg.Port) {
		t.Errorf("frozen, at the login: %q", why)
	}
	pg.Thaw()
	if why := examined(t, s); why != "" {
		t.Errorf("thawed: %s", why)
	}
}

// TestShared: who asks at once shares a look, and nobody waits longer than he can.
func TestShared(t *testing.T) {
	pg := servertest.NewPostgres(t, servertest.PostgresDir(t), "pg")
	pg.Start(t, false)
	pg.Exec(t, "postgres", "CREATE SEQUENCE looks")
	server := newServer(t, configFor(t, pg.Port, `"SELECT nextval('looks') FROM pg_sleep(0.3)"`))
	shared := doctor.NewShared(server, 10*time.Second, server.Limit())
	var all sync.WaitGroup
	errs := make([]error, 50)
	for i := range errs {
		all.Go(func() { errs[i] = shared.Examine(t.Context()) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if looks := pg.Ask(t, "SELECT last_value::text FROM looks"); looks != "1" && looks != "2" { // 2 on a machine that is slow
		t.Errorf("50 who asked at once made %s looks", looks)
	}

	hanging := newServer(t, configFor(t, pg.Port, "check_timeout = 3", `"SELECT 1"`, `"SELECT pg_sleep(2)"`))
	shared = doctor.NewShared(hanging, 300*time.Millisecond, hanging.Limit())
	if why := examined(t, shared); why != `"SELECT pg_sleep(2)": no answer after 300ms` {
		t.Errorf("who can't wait is told %q", why)
	}
	shared.Close()
	if why := examined(t, shared); why != "nobody looks here any more: ask again" {
		t.Errorf("once it is closed: %q", why)
	}
}

// TestLag: a replica whose replay is paused with writes going on lags; an idle one, one
// that was promoted and a primary do not. One that is cut off lags by the time since.
func TestLag(t *testing.T) {
	primary := servertest.NewPostgres(t, servertest.PostgresDir(t), "primary")
	replica := primary.Replica(t, "replica")
	primary.Start(t, false)
	primary.Exec(t, "postgres", "CREATE TABLE written (at timestamptz)", "CREATE ROLE looker LOGIN")
	replica.Start(t, true)
	const limit = "pg_max_replication_lag = 1.5"
	s := newServer(t, configFor(t, replica.Port, limit, "pg_user = looker")) // who sees no more than anybody
	naive := newServer(t, configFor(t, replica.Port, `"SELECT extract('epoch' from (now()-pg_last_xact_replay_timestamp())) AS replication_lag;" < "1.5"`))
	own := newServer(t, configFor(t, replica.Port, strings.Replace(documentedCheck(t), `"15"`, `"1.5"`, 1)))
	well := func(what string) {
		t.Helper()
		servertest.Eventually(t, what, func() error { return s.Examine(t.Context()) })
	}
	lags := func(what string) {
		t.Helper()
		servertest.Eventually(t, what, func() error {
			if why := examined(t, s); !strings.HasPrefix(why, "replication lag: the replica is ") || !strings.HasSuffix(why, " behind, more than 1.5s") {
				return fmt.Errorf("it says %q", why)
			}
			return nil
		})
	}
	write := func() { primary.Exec(t, "postgres", "INSERT INTO written VALUES (now())") }

	well("a replica that follows")
	servertest.Eventually(t, "pgDoctor's own check fails on an idle system", func() error {
		if examined(t, naive) == "" {
			return errors.New("it passes")
		}
		return nil
	})
	if why := examined(t, s); why != "" {
		t.Errorf("an idle replica: %s", why)
	}
	if why := examined(t, own); why != "" {
		t.Errorf("an idle replica, by the check of the documentation: %s", why)
	}

	replica.Exec(t, "postgres", "SELECT pg_wal_replay_pause()")
	if why := examined(t, s); why != "" {
		t.Errorf("paused, and nothing to replay: %s", why)
	}
	write()
	lags("replay is paused with writes going on")
	if examined(t, own) == "" {
		t.Error("replay is paused with writes going on, and the check of the documentation passes")
	}
	replica.Exec(t, "postgres", "SELECT pg_wal_replay_resume()")
	well("replay goes on")

	// The first write after a rest is no lag of all that rest.
	primary.Exec(t, "postgres", "SELECT pg_sleep(1.6)")
	if why := examined(t, s); why != "" {
		t.Errorf("an idle replica: %s", why)
	}
	replica.Exec(t, "postgres", "SELECT pg_wal_replay_pause()")
	write()
	if why := examined(t, s); why != "" {
		t.Errorf("right after a write: %s", why)
	}
	replica.Exec(t, "postgres", "SELECT pg_wal_replay_resume()")
	well("replay goes on")

	primary.Shutdown()
	lags("a replica that is cut off")
	primary.Start(t, false)
	well("it is back")

	replica.Promote(t)
	if why := examined(t, s); why != "" {
		t.Errorf("promoted: %s", why)
	}
}

// documentedCheck is the last snippet of docs/doctor.md.
func documentedCheck(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(page), "```pgdoctor\n")
	check, _, ended := strings.Cut(parts[len(parts)-1], "```")
	if !ended || !strings.Contains(check, "pg_last_wal_replay_lsn()") {
		t.Fatalf("the last snippet is %q", check)
	}
	return check
}

// TestThroughPgBouncer: a server may be behind a pooler that gives each transaction
// another connection, and takes few settings at the login.
func TestThroughPgBouncer(t *testing.T) {
	dir := servertest.PostgresDir(t)
	pg := servertest.NewPostgres(t, dir, "pg")
	pg.Start(t, false)
	port := servertest.FreePort(t)
	users := servertest.File(t, filepath.Join(dir, "users"), "\"postgres\" \"\"\n", 0o644)
	ini := servertest.File(t, filepath.Join(dir, "pgbouncer.ini"), fmt.Sprintf("[databases]\n* = host=127.0.0.1 port=%d\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = trust\nauth_file = %s\npool_mode = transaction\n",
		pg.Port, port, users), 0o644)
	servertest.PgBouncer(t, ini, port)
	s := newServer(t, configFor(t, port, "check_timeout = 0.3", "pg_max_replication_lag = 1", `"SELECT 1"`, `"SELECT pg_sleep(100)"`))
	for range 3 {
		if why := examined(t, s); why != `"SELECT pg_sleep(100)": no answer within 300ms` {
			t.Error(why)
		}
	}
	servertest.Eventually(t, "nothing of it goes on in the server", func() error {
		if busy := pg.Ask(t, "SELECT count(*)::text FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(100)%' AND state = 'active'"); busy != "0" {
			return fmt.Errorf("%s sleep", busy)
		}
		return nil
	})
	s = newServer(t, configFor(t, port, "pg_max_replication_lag = 1", `"SELECT 1"`))
	for range 3 {
		if why := examined(t, s); why != "" {
			t.Error(why)
		}
	}
}
