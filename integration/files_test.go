package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// twoMembers is a cluster in a state file whose members are two real servers: the first
// leads, until it is moved.
type twoMembers struct {
	dir, state    string
	first, second *servertest.Postgres
}

// newTwoMembers starts the servers, the second as a replica of the first, which has run the
// statements.
func newTwoMembers(t *testing.T, statements ...string) *twoMembers {
	t.Helper()
	m := &twoMembers{dir: servertest.PostgresDir(t), first: servertest.NewPostgres(t, servertest.PostgresDir(t), "pg1")}
	m.first.Start(t, false)
	m.first.Exec(t, "postgres", append([]string{"CREATE DATABASE app"}, statements...)...)
	m.first.Shutdown()
	m.second = m.first.Replica(t, "pg2")
	m.first.Start(t, false)
	m.second.Start(t, true)
	m.state = filepath.Join(m.dir, "state.yaml")
	m.say(t, "pg1", [2]int{})
	return m
}

// say writes who leads, and where the members' poolers are, if anywhere.
func (m *twoMembers) say(t *testing.T, leader string, poolers [2]int) {
	t.Helper()
	text := "kv:\n  service/batman/leader: " + leader + "\n"
	for i, s := range []*servertest.Postgres{m.first, m.second} {
		name, role, proxy, state := fmt.Sprint("pg", i+1), "replica", "", "running"
		if !s.Runs() {
			state = "stopped"
		}
		if name == leader {
			role = "primary"
		}
		if poolers[i] > 0 {
			proxy = fmt.Sprintf(`, proxy_url: "postgres://127.0.0.1:%d/postgres"`, poolers[i])
		}
		text += fmt.Sprintf("  service/batman/members/%s: {conn_url: \"postgres://127.0.0.1:%d/postgres\"%s, role: %s, state: %s}\n", name, s.Port, proxy, role, state)
	}
	servertest.File(t, m.state+".new", text, 0o644)
	if err := os.Rename(m.state+".new", m.state); err != nil {
		t.Fatal(err)
	}
}

// move lets the first server go, and the second lead.
func (m *twoMembers) move(t *testing.T) {
	t.Helper()
	m.first.Shutdown()
	m.second.Promote(t)
	m.say(t, "pg2", [2]int{})
}

// block are the store and the cluster.
func (m *twoMembers) block() string {
	return fmt.Sprintf("file {\n  path = %q\n}\ncluster \"patroni\" \"main\" {\n  scope   = \"batman\"\n  confirm = [\"sql\"]\n  sql {\n    sslmode = \"disable\"\n  }\n}\n", m.state)
}

// file is a target with one built-in template, which nobody is told of.
func (m *twoMembers) file(builtin, name, vars string) (block, path string) {
	path = filepath.Join(m.dir, name)
	return fmt.Sprintf(`target "exec" %q {
  template {
    source      = "builtin:%s"
    destination = %q
  }
  vars    = { %s }
  command = ["true"]
}
`, filepath.Base(name), builtin, path, vars), path
}

// psql asks a server for its port, in whatever way the arguments and the environment lead there.
func psql(t *testing.T, env []string, conninfo string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), servertest.Need(t, "psql"), "-XAtqc", myPlace, conninfo)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/nowhere", "LC_ALL=C"}, env...)
	servertest.AsPostgres(t, cmd)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// leadsTo waits until psql is led to a server.
func leadsTo(t *testing.T, env []string, conninfo, want string) {
	t.Helper()
	servertest.Eventually(t, conninfo+" leads to "+want, func() error {
		if have, err := psql(t, env, conninfo); err != nil || have != want {
			return fmt.Errorf("%s: %w", have, errors.Join(err, errors.New("not there")))
		}
		return nil
	})
}

// TestFilesForLibpq: psql goes where pg_service.conf, .pgpass, a URI and WAL-G's environment
// lead, before and after the leader moves.
func TestFilesForLibpq(t *testing.T) {
	t.Parallel()
	const password = `p:a\ss 'word"`
	m := newTwoMembers(t, "SET password_encryption = 'scram-sha-256'", "CREATE ROLE app LOGIN PASSWORD 'p:a\\ss ''word\"'", "CREATE ROLE reporter LOGIN PASSWORD 'other'")
	for _, s := range []*servertest.Postgres{m.first, m.second} {
		s.Demand(t, "app", "reporter")
	}
	servertest.File(t, filepath.Join(m.dir, "app.password"), password+"\n", 0o644)
	servertest.File(t, filepath.Join(m.dir, "reporter.password"), "other", 0o644)
	if err := os.Mkdir(filepath.Join(m.dir, "env"), 0o755); err != nil {
		t.Fatal(err)
	}
	servertest.OwnedByPostgres(t, filepath.Join(m.dir, "env"))
	services, serviceFile := m.file("pg_service.conf", "pg_service.conf", `databases = ["app"], user = "app"`)
	passwords, passfile := m.file("pgpass", "pgpass", fmt.Sprintf(`user = "app", password_file = "%[1]s/app.password", more_users = { reporter = "%[1]s/reporter.password" }`, m.dir))
	uris, uriFile := m.file("uri", "uris", `databases = ["app"], roles = ["leader", "replica"], user = "reporter"`)
	single, singleFile := m.file("uri", "uri", `databases = ["app"], multi_host = false, user = "app"`)
	walg, envFile := m.file("wal-g.env", "wal-g.env", fmt.Sprintf(`user = "app", database = "app", passfile = %q, envdir = "%s/env", member = "pg2"`, passfile, m.dir))
	standby, standbyFile := m.file("wal-g.env", "standby.env", fmt.Sprintf(`role = "standby", user = "app", database = "app", passfile = %q, member = "pg2"`, passfile))
	p := startDaemon(t, m.dir, m.block()+services+passwords+uris+single+walg+standby, serviceFile, passfile, uriFile, singleFile, envFile, standbyFile)

	for path, want := range map[string]os.FileMode{passfile: 0o600, envFile: 0o600, filepath.Join(m.dir, "env/PGHOST"): 0o600, serviceFile: 0o644, uriFile: 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	env := []string{"PGSERVICEFILE=" + serviceFile, "PGPASSFILE=" + passfile}
	is := func(s *servertest.Postgres, user string) string { return fmt.Sprintf("%d app %s", s.Port, user) }
	uri := func(path string, line int) string { return strings.Split(read(t, path), "\n")[line] }
	// Without its password nobody gets in: so .pgpass is what opens the door.
	servertest.Eventually(t, "nobody gets in without a password", func() error {
		if said, err := psql(t, env[:1], "service=app"); err == nil || !strings.Contains(said, "no password supplied") {
			return fmt.Errorf("psql says %q, %w", said, errors.Join(err, errors.New("not refused")))
		}
		return nil
	})
	leadsTo(t, env, "service=app", is(m.first, "app"))
	leadsTo(t, env, "service=app_ro", is(m.second, "app"))
	leadsTo(t, env, uri(uriFile, 0), is(m.first, "reporter"))
	leadsTo(t, env, uri(uriFile, 1), is(m.second, "reporter"))
	leadsTo(t, env, uri(singleFile, 0), is(m.first, "app"))
	if have := walgRuns(t, envFile); have != "" {
		t.Errorf("the environment leads to %q, and it is not this machine's turn", have)
	}
	if have, want := walgRuns(t, standbyFile), is(m.second, "app"); have != want {
		t.Errorf("the standby's environment leads to %q, want %q", have, want)
	}
	if have, want := waleRuns(t, filepath.Join(m.dir, "env")), is(m.first, "app"); have != want {
		t.Errorf("the folder leads to %q, want %q", have, want)
	}

	// The next leader is found at once, with files that are of before.
	before := read(t, uriFile)
	m.first.Shutdown()
	m.second.Promote(t)
	leadsTo(t, env, "service=app", is(m.second, "app"))
	leadsTo(t, env, "service=app_ro", is(m.second, "app"))
	leadsTo(t, env, strings.Split(before, "\n")[0], is(m.second, "reporter"))

	// And the files follow.
	m.say(t, "pg2", [2]int{})
	servertest.Eventually(t, "the files follow", func() error {
		for path, want := range map[string]string{
			serviceFile: fmt.Sprintf("port=%d\n", m.second.Port), uriFile: fmt.Sprintf("@127.0.0.1:%d/", m.second.Port),
			singleFile: fmt.Sprintf("@127.0.0.1:%d/", m.second.Port), envFile: fmt.Sprintf("PGPORT=%d\n", m.second.Port),
			filepath.Join(m.dir, "env/PGPORT"): fmt.Sprintf("%d\n", m.second.Port), standbyFile: fmt.Sprintf("PGPORT=%d\n", m.second.Port),
		} {
			if text := read(t, path); !strings.Contains(text, want) {
				return fmt.Errorf("%s lacks %q:\n%s", path, want, text)
			}
		}
		return nil
	})
	leadsTo(t, env, uri(singleFile, 0), is(m.second, "app"))
	for _, path := range []string{envFile, standbyFile} {
		if have, want := walgRuns(t, path), is(m.second, "app"); have != want {
			t.Errorf("%s leads to %q, want %q", path, have, want)
		}
	}
	if have, want := waleRuns(t, filepath.Join(m.dir, "env")), is(m.second, "app"); have != want {
		t.Errorf("the folder leads to %q, want %q", have, want)
	}
	if out := p.Output(); strings.Contains(out, "ss 'word") {
		t.Errorf("the log has a password:\n%s", out)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// myPlace is what psql is asked.
const myPlace = "SELECT current_setting('port') || ' ' || current_database() || ' ' || current_user"

// walgRuns runs what the documentation has a timer run, with psql in the place of WAL-G, which
// Debian does not have: both read libpq's variables.
func walgRuns(t *testing.T, envFile string) string {
	t.Helper()
	command := documented(t, "../docs/files.md", "WAL-G and WAL-E")[0]
	backup := "wal-g backup-push /var/lib/postgresql/15/main"
	if !strings.Contains(command, backup) || !strings.Contains(command, "/etc/wal-g/env") {
		t.Fatalf("docs/files.md has another command: %s", command)
	}
	command = strings.NewReplacer("/etc/wal-g/env", envFile, backup, `psql -XAtqc "`+myPlace+`"`).Replace(command)
	return runAsPostgres(t, "/bin/sh", "-uc", command)
}

// documentedTarget is the first target below a heading of a document.
func documentedTarget(t *testing.T, path, heading string) string {
	t.Helper()
	_, part, found := strings.Cut(read(t, path), "\n## "+heading+"\n")
	_, part, begins := strings.Cut(part, "\ntarget ")
	part, _, ends := strings.Cut(part, "```")
	if !found || !begins || !ends {
		t.Fatalf("%s: there is no target below %q", path, heading)
	}
	return "target " + part
}

// waleRuns does the same with the folder of WAL-E.
func waleRuns(t *testing.T, folder string) string {
	t.Helper()
	return runAsPostgres(t, servertest.Need(t, "envdir"), folder, "psql", "-XAtqc", myPlace)
}

func runAsPostgres(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nowhere", "LC_ALL=C"}
	servertest.AsPostgres(t, cmd)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", args[0], err, out)
	}
	return strings.TrimSpace(string(out))
}
