package pgpool_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/pgpool"
)

// rig is a real pgpool before real servers. The first takes writes, the others are in
// recovery.
type rig struct {
	dir       string
	conf      string
	passFile  string
	port, pcp int
	servers   []*servertest.Postgres
	process   *servertest.Process
}

// rigged starts n servers, and no pgpool yet.
func rigged(t *testing.T, n int) *rig {
	t.Helper()
	ports := servertest.FreePorts(t, 2)
	r := &rig{dir: servertest.PostgresDir(t), port: ports[0], pcp: ports[1]}
	r.conf = filepath.Join(r.dir, "pgpool.conf")
	r.passFile = servertest.PgPoolFolder(t, r.dir)
	base := servertest.NewPostgres(t, r.dir, "base")
	base.Start(t, false)
	base.Exec(t, "postgres", "CREATE TABLE landed (id int)")
	base.Shutdown()
	for i := range n {
		s := base.Copy(t, fmt.Sprint("server", i))
		s.Start(t, i > 0)
		r.servers = append(r.servers, s)
	}
	return r
}

// file is a config whose backends are servers, each "NUMBER PLACE" in their order; the place
// "" leaves it out. more are further lines.
func (r *rig) file(places []string, more ...string) []reload.File {
	var b strings.Builder
	fmt.Fprintf(&b, `backend_clustering_mode = 'streaming_replication'
listen_addresses = '127.0.0.1'
port = %d
socket_dir = '%[2]s'
pcp_listen_addresses = '127.0.0.1'
pcp_port = %[3]d
pcp_socket_dir = '%[2]s'
pid_file_name = '%[2]s/pgpool.pid'
logdir = '%[2]s'
num_init_children = 4
max_pool = 1
sr_check_user = 'postgres'
sr_check_period = 0 # seconds
failover_on_backend_error = off
search_primary_node_timeout = 2s
`, r.port, r.dir, r.pcp)
	number := 0
	for i, place := range places {
		if place == "" {
			continue
		}
		fmt.Fprintf(&b, "# pgbaton: backend %d is %s\nbackend_hostname%[1]d = '127.0.0.1'\nbackend_port%[1]d = %[3]d\nbackend_weight%[1]d = %[4]d\n", number, place, r.servers[i].Port, i+1)
		number++
	}
	for _, line := range more {
		b.WriteString(line + "\n")
	}
	return []reload.File{{Path: r.conf, Staged: r.conf, Content: []byte(b.String()), Mode: 0o644}}
}

// put puts a config into place.
func (r *rig) put(t *testing.T, set []reload.File) []reload.File {
	t.Helper()
	servertest.File(t, r.conf, string(set[0].Content), 0o644)
	return set
}

func (r *rig) start(t *testing.T, places ...string) {
	t.Helper()
	r.put(t, r.file(places))
	r.process = servertest.PgPool(t, r.conf, r.port, r.pcp)
}

func (r *rig) daemon(t *testing.T, c pgpool.Config) reload.Daemon {
	t.Helper()
	c.Host, c.Port = "127.0.0.1", r.pcp
	if c.PassFile == "" {
		c.PassFile = r.passFile
	}
	d, err := c.Daemon(hclog.New(&hclog.LoggerOptions{Output: testWriter{t}, Level: hclog.Debug}))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// lands is the number of the server that takes a write through pgpool.
func (r *rig) lands(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable&default_query_exec_mode=simple_protocol", r.port))
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	port := 0
	if err := conn.QueryRow(ctx, "INSERT INTO landed VALUES (1) RETURNING inet_server_port()").Scan(&port); err != nil {
		return 0, err
	}
	for i, s := range r.servers {
		if s.Port == port {
			return i, nil
		}
	}
	return 0, fmt.Errorf("on port %d", port)
}

func (r *rig) landsOn(t *testing.T, want int) {
	t.Helper()
	servertest.Eventually(t, fmt.Sprint("a write lands on server ", want), func() error {
		have, err := r.lands(t.Context())
		if err == nil && have != want {
			err = fmt.Errorf("it is on server %d", have)
		}
		return err
	})
}

// follows wants a Follow to succeed, and what it did.
func (r *rig) follows(t *testing.T, d reload.Daemon, set []reload.File, did string) {
	t.Helper()
	begun := time.Now()
	mark, err := d.Follow(t.Context(), r.put(t, set), reload.Mark{})
	if err != nil {
		t.Fatalf("%v (hint: %s)\n%s", err, hint.Of(err), r.process.Output())
	}
	t.Logf("told after %v, seen after %v: %s", mark.Told.Sub(begun).Round(time.Millisecond), time.Since(begun).Round(time.Millisecond), mark.How)
	if have, _, _ := strings.Cut(mark.How, " over pcp"); mark.Proof != reload.Followed || have != did {
		t.Errorf("mark %+v, want that it did %q", mark, did)
	}
	v, can := reload.As[reload.Verifier](d)
	if !can {
		t.Fatal("it can't be asked")
	}
	if _, err := v.Verify(t.Context(), set, mark); err != nil {
		t.Errorf("asked afterwards: %v", err)
	}
}

// fails wants a Follow to fail, with words and a hint.
func (r *rig) fails(t *testing.T, d reload.Daemon, set []reload.File, mentions ...string) {
	t.Helper()
	_, err := d.Follow(t.Context(), r.put(t, set), reload.Mark{})
	if err == nil || hint.Of(err) == "" {
		t.Fatalf("error %v, hint %q", err, hint.Of(err))
	}
	for _, words := range mentions {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("error %v, want %q in it", err, words)
		}
	}
	if strings.Contains(err.Error()+hint.Of(err), servertest.PgPoolPassword) {
		t.Error("the error shows the password")
	}
}

// TestFollowsTheLeader moves the leader from a server that is dead, then from one that hangs
// with pgpool's sessions to it, and lets the others come back.
func TestFollowsTheLeader(t *testing.T) {
	t.Parallel()
	r := rigged(t, 3)
	r.start(t, "primary", "standby", "standby")
	d := r.daemon(t, pgpool.Config{})
	r.follows(t, d, r.file([]string{"primary", "standby", "standby"}), "reload")
	r.landsOn(t, 0)
	r.follows(t, d, r.file([]string{"primary", "standby", "standby"}), "reload") // it is safe to repeat

	r.servers[0].Kill()
	r.servers[1].Promote(t)
	r.follows(t, d, r.file([]string{"detached", "primary", "standby"}), "promote 1, reload, attach 2")
	r.landsOn(t, 1)

	r.servers[0].Start(t, true)
	r.follows(t, d, r.file([]string{"standby", "primary", "standby"}), "reload, attach 0")
	r.landsOn(t, 1)

	// A session that hangs with the old leader ends with it.
	conn, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable&default_query_exec_mode=simple_protocol", r.port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), "INSERT INTO landed VALUES (2)"); err != nil {
		t.Fatal(err)
	}
	r.servers[1].Freeze()
	hangs := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "INSERT INTO landed VALUES (3)")
		hangs <- err
	}()
	r.servers[0].Promote(t)
	r.follows(t, d, r.file([]string{"primary", "detached", "standby"}), "promote 0, reload, attach 2")
	if err := <-hangs; err == nil {
		t.Error("a write on a server that hangs succeeded")
	}
	r.landsOn(t, 0)

	// What hangs is not attached: pgpool would wait for it, and serve nobody.
	r.fails(t, d, r.file([]string{"primary", "standby", "standby"}), fmt.Sprintf("backend 127.0.0.1:%d does not answer, and is left detached", r.servers[1].Port))
	r.landsOn(t, 0)
	v, _ := reload.As[reload.Verifier](d)
	if _, err := v.Verify(t.Context(), r.file([]string{"primary", "standby", "standby"}), reload.Mark{}); err == nil || !strings.Contains(err.Error(), "is detached, and the file wants it otherwise") {
		t.Errorf("asked while a standby is detached: %v", err)
	}
	r.servers[1].Thaw()
	r.servers[1].Shutdown()
	r.servers[1].Start(t, true)
	r.follows(t, d, r.file([]string{"primary", "standby", "standby"}), "reload, attach 1")

	// The next leader was not attached, and the one before hangs.
	r.follows(t, d, r.file([]string{"primary", "detached", "standby"}), "reload, detach 1")
	r.servers[0].Freeze()
	r.servers[1].Promote(t)
	r.follows(t, d, r.file([]string{"detached", "primary", "standby"}), "reload, promote 2, attach 1")
	r.landsOn(t, 1)

	// Likewise, and nobody else is attached.
	r.servers[0].Thaw()
	r.servers[0].Kill()
	r.servers[0].Start(t, true)
	r.follows(t, d, r.file([]string{"detached", "primary", "detached"}), "reload, detach 2")
	r.servers[1].Freeze()
	r.servers[0].Promote(t)
	r.follows(t, d, r.file([]string{"primary", "detached", "detached"}), "reload, detach 1, attach 0")
	r.landsOn(t, 0)
}

// TestLedAstray: pgpool asks for itself who is primary whenever a backend is attached. Where
// it finds another than pgbaton, the others stay detached.
func TestLedAstray(t *testing.T) {
	t.Parallel()
	r := rigged(t, 3)
	r.start(t, "primary", "standby", "standby")
	d := r.daemon(t, pgpool.Config{})
	r.follows(t, d, r.file([]string{"primary", "detached", "standby"}), "reload, detach 1")
	r.servers[1].Promote(t) // a second primary, of the higher number
	r.fails(t, d, r.file([]string{"primary", "standby", "standby"}), "took another backend for the primary as soon as a standby was attached")
	r.landsOn(t, 0)
	// Sessions are not ended again and again for it.
	r.fails(t, d, r.file([]string{"primary", "standby", "standby"}), "left detached for 10m0s")
	r.follows(t, d, r.file([]string{"primary", "detached", "standby"}), "reload, attach 2")
	r.landsOn(t, 0)
}

// TestNumbers: a reload adds backends and takes others out; one that was renumbered takes a
// restart, and the leader is followed all the same.
func TestNumbers(t *testing.T) {
	t.Parallel()
	r := rigged(t, 3)
	r.start(t, "primary", "standby", "")
	d := r.daemon(t, pgpool.Config{})
	r.follows(t, d, r.file([]string{"primary", "standby", "standby"}), "reload, attach 2")
	r.follows(t, d, r.file([]string{"primary", "standby", ""}), "reload, detach 2")
	r.follows(t, d, r.file([]string{"primary", "standby", "standby"}), "reload, attach 2")

	r.servers[0].Kill()
	r.servers[2].Promote(t)
	renumbered := r.file([]string{"", "standby", "primary"})
	r.fails(t, d, renumbered, "it follows this only when it is started: backend 0 is 127.0.0.1:", "backend 1 is 127.0.0.1:")
	r.landsOn(t, 2)

	restarts := r.daemon(t, pgpool.Config{Restart: []string{"sh", "-c", "kill -INT $(cat " + r.dir + "/pgpool.pid)"}})
	r.follows(t, restarts, renumbered, "restart, attach 0")
	r.landsOn(t, 2)

	// The leader has another address.
	r.servers[0].Start(t, true)
	r.servers[0].Promote(t)
	r.servers[2].Kill()
	moved := r.file([]string{"primary", "standby", ""})
	r.fails(t, d, moved, fmt.Sprintf("pgpool has no backend 127.0.0.1:%d, which is to be primary", r.servers[0].Port), "it follows this only when it is started")
	mark, err := restarts.Follow(t.Context(), r.put(t, moved), reload.Mark{})
	if err != nil || !strings.Contains(mark.How, "restart") {
		t.Errorf("mark %+v, error %v", mark, err)
	}
	r.landsOn(t, 0)
}

// TestNewLeader: a server that pgpool has never heard of leads at once, and the one before is
// dead.
func TestNewLeader(t *testing.T) {
	t.Parallel()
	r := rigged(t, 3)
	r.start(t, "primary", "standby", "")
	d := r.daemon(t, pgpool.Config{})
	r.landsOn(t, 0)
	r.servers[0].Kill()
	r.servers[2].Promote(t)
	r.follows(t, d, r.file([]string{"detached", "standby", "primary"}), "reload, promote 1, attach 2")
	r.landsOn(t, 2)
}

// TestSettings: what a reload follows is seen, and what takes a restart is told.
func TestSettings(t *testing.T) {
	t.Parallel()
	r := rigged(t, 1)
	r.start(t, "primary")
	d := r.daemon(t, pgpool.Config{})
	r.follows(t, d, r.file([]string{"primary"}, "log_connections = true", "health_check_timeout = 60", "connect_timeout = 2000", "client_idle_limit = 60"), "reload")
	r.fails(t, d, r.file([]string{"primary"}, "max_pool = 2", "log_connections = off"), "max_pool is 1, and line 20 of "+r.conf+" wants 2")
	r.follows(t, r.daemon(t, pgpool.Config{Restart: []string{"sh", "-c", "kill -INT $(cat " + r.dir + "/pgpool.pid)"}}),
		r.file([]string{"primary"}, "max_pool = 2"), "reload, restart")
	r.fails(t, r.daemon(t, pgpool.Config{Restart: []string{"false"}}), r.file([]string{"primary"}, "max_pool = 3"), "restart pgpool: run false")

	// A file that says nothing of places is reloaded, and nothing is moved.
	plain := r.file([]string{"primary"}, "max_pool = 2")
	plain[0].Content = []byte(strings.ReplaceAll(string(plain[0].Content), "# pgbaton:", "#"))
	r.follows(t, d, plain, "reload")
}

// TestPCPRefuses: whoever can't be asked is named, and so is what to do.
func TestPCPRefuses(t *testing.T) {
	t.Parallel()
	r := rigged(t, 1)
	r.start(t, "primary")
	set := r.file([]string{"primary"})
	wrong := servertest.File(t, filepath.Join(t.TempDir(), "pcppass"), "*:*:pgbaton:wrong-"+servertest.PgPoolPassword+"\n", 0o600)
	r.fails(t, r.daemon(t, pgpool.Config{PassFile: wrong}), set, fmt.Sprintf("pcp_node_info at 127.0.0.1:%d as pgbaton: ", r.pcp))
	r.fails(t, r.daemon(t, pgpool.Config{User: "nobody"}), set, "as nobody: ")
	r.fails(t, r.daemon(t, pgpool.Config{Folder: "/nowhere"}), set, "/nowhere/pcp_node_info")
	r.process.Stop()
	r.fails(t, r.daemon(t, pgpool.Config{}), set, "pcp_node_info at 127.0.0.1:")
}

func TestConfigRefuses(t *testing.T) {
	for _, c := range []pgpool.Config{{Port: 80}, {Port: 70000}, {Folder: "bin"}, {CheckUser: "root"}, {Timeout: "x"}} {
		if _, err := c.Daemon(hclog.NewNullLogger()); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	c := pgpool.Config{PassFile: "pcppass"}
	if c.Resolve("/etc/pgbaton"); c.PassFile != "/etc/pgbaton/pcppass" {
		t.Errorf("the file is %s", c.PassFile)
	}
}
