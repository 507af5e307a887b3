package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/control"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/internal/status"
)

// listener is the status listener of a pgbaton.
type listener struct{ port int }

func (l listener) block() string {
	return fmt.Sprintf("status {\n  listen = \"127.0.0.1:%d\"\n}\n", l.port)
}

// get asks it for a page.
func (l listener) get(t *testing.T, path string) (code int, body string, err error) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", l.port, path))
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(content), err
}

// says waits until a page has a status code and all of some texts.
func (l listener) says(t *testing.T, path string, code int, texts ...string) {
	t.Helper()
	servertest.Eventually(t, fmt.Sprintf("%s says %d %q", path, code, texts), func() error {
		got, body, err := l.get(t, path)
		if err != nil {
			return err
		}
		for _, text := range texts {
			if got != code || !strings.Contains(body, text) {
				return fmt.Errorf("it says %d %s", got, body)
			}
		}
		return nil
	})
}

// stands asks a pgbaton through its socket how it stands, until cond is content.
func stands(t *testing.T, dir, what string, cond func(status.Status) error) (s status.Status) {
	t.Helper()
	servertest.Eventually(t, what, func() error {
		found, err := control.Find(t.Context(), filepath.Join(dir, "state"))
		if err != nil || len(found) != 1 {
			return fmt.Errorf("%d pgbatons, error %w", len(found), err)
		}
		s = found[0].Status
		return cond(s)
	})
	return s
}

// TestStatusOfAStoreThatIsAway: the store is frozen, then killed. Status says so, and
// since when what it said last could not be confirmed; pgbaton is not ready meanwhile.
func TestStatusOfAStoreThatIsAway(t *testing.T) {
	consul := servertest.Consul(t)
	dir, page := servertest.PostgresDir(t), listener{servertest.FreePort(t)}
	p := startDaemon(t, dir, page.block()+fmt.Sprintf(`
consul {
  address          = %q
  block_query_wait = "1s" # a frozen one is noticed 10 s after it should have answered
}
target "exec" "app" {
  template {
    contents    = "{{ key \"app/name\" }}\n"
    destination = "out"
  }
  command = ["true"]
}
`, consul.Addr))
	defer stopDaemon(t, p)
	page.says(t, "/healthz", 200, "alive")
	page.says(t, "/readyz", 503, "not ready\nexec.app waits for key app/name: absent since ")
	begun := time.Now()
	consul.Put(t, "app/name", "shop")
	page.says(t, "/readyz", 200, "ready\n")
	page.says(t, "/status.json", 200, `"line": "1 of 1 targets in sync"`, `"state": "answers"`)

	away := func(how string, stop func()) {
		t.Helper()
		stopped := time.Now()
		stop()
		page.says(t, "/readyz", 503, "store consul is stale since ")
		page.says(t, "/healthz", 200, "alive")
		page.measures(t, how+", as metrics say", func(all map[string]float64) error {
			if since := all[`pgbaton_store_staleness_seconds{store="consul"}`]; since <= 0 || since > time.Since(begun).Seconds() ||
				all[`pgbaton_store_stale{store="consul"}`] != 1 || all[`pgbaton_store_watches_failing{store="consul"}`] == 0 || all["pgbaton_ready"] != 0 {
				return fmt.Errorf("stale for %v s", since)
			}
			return nil
		})
		s := stands(t, dir, how, func(s status.Status) error {
			if st := s.Stores[0]; st.Name != "consul" || st.Reachable || st.State != status.StoreStale || st.Stale == nil || st.Stale.Words == "" {
				return fmt.Errorf("store %+v", st)
			}
			return nil
		})
		since := s.Stores[0].Stale.Since
		if since.Before(begun) || since.After(time.Now()) || since.After(stopped.Add(time.Second)) {
			t.Errorf("%s at %v: stale since %v", how, stopped, since)
		}
		if s.OK || !s.Targets[0].InSync || !strings.HasPrefix(s.Line, "1 of 1 targets in sync; store consul is stale since ") {
			t.Errorf("%s: %s; %+v", how, s.Line, s.Targets[0])
		}
	}
	back := func(start func()) {
		t.Helper()
		begun = time.Now()
		start()
		consul.Put(t, "app/name", fmt.Sprint("shop", begun.UnixNano()))
		page.says(t, "/readyz", 200, "ready\n")
		stands(t, dir, "all is well again", func(s status.Status) error {
			if !s.OK || s.Stores[0].Stale != nil {
				return fmt.Errorf("%s, %+v", s.Line, s.Stores[0])
			}
			return nil
		})
		page.counts(t, "all is well again, as metrics say", map[string]float64{
			`pgbaton_store_staleness_seconds{store="consul"}`: 0, `pgbaton_store_stale{store="consul"}`: 0, "pgbaton_ready": 1,
		})
	}
	away("frozen", func() { consul.Freeze(t) })
	back(func() { consul.Thaw(t) })
	away("killed", consul.Kill)
	back(func() { consul.Restart(t) })
}

// TestStatusHasNoSecrets plants secrets wherever pgbaton meets any, and lets what is told
// of errors quote them.
func TestStatusHasNoSecrets(t *testing.T) {
	consul := servertest.Consul(t)
	dir, page := servertest.PostgresDir(t), listener{servertest.FreePort(t)}
	consul.Put(t, "app/password", "SECRET-value")
	consul.Put(t, "service/batman/members/pg1", `{"conn_url": "postgres://u:SECRET-url@[::1/x"}`)
	servertest.File(t, filepath.Join(dir, "password"), "SECRET-file\n", 0o644)
	p := startDaemon(t, dir, page.block()+fmt.Sprintf(`
consul {
  address = %q
  token   = "SECRET-token"
  auth {
    username = "u"
    password = "SECRET-auth"
  }
}
cluster "patroni" "main" {
  scope = "batman"
  sql {
    user          = "u"
    password_file = "password"
  }
}
target "exec" "refused" {
  template {
    contents    = "password = SECRET-content {{ key \"app/password\" }}\n"
    destination = "refused"
  }
  vars    = {}
  check   = ["sh", "-c", "cat {file}; exit 1"]
  command = ["true"]
}
target "exec" "failing" {
  template {
    contents    = "{{ key \"app/password\" }}\n"
    destination = "failing"
  }
  command = ["sh", "-c", "echo SECRET-command; cat $PGBATON_DESTINATION; exit 1"]
}
target "exec" "broken" {
  template {
    contents    = "{{ key \"app/password\" | parseInt }}\n"
    destination = "broken"
  }
  command = ["true"]
}
target "pgbouncer" "gone" {
  template {
    contents    = "; SECRET-ini\n[databases]\n* = host=127.0.0.1 password=SECRET-db\n[pgbouncer]\nlisten_port = SECRET-port\n"
    destination = "pgbouncer.ini"
  }
  socket        = %q
  user          = "console"
  password_file = "password"
}
`, consul.Addr, dir))
	defer stopDaemon(t, p)
	s := stands(t, dir, "everything has failed", func(s status.Status) error {
		for _, target := range s.Targets {
			if target.Error == nil || target.Error.Words == "" {
				return fmt.Errorf("%s has no error, but %+v", target.ID, target)
			}
		}
		if len(s.Clusters[0].Problems) != 1 {
			return fmt.Errorf("cluster %+v", s.Clusters[0])
		}
		return nil
	})
	// What others said is for those who may open the socket, less what is known to be
	// secret. The checks of this test see something: the words quote what was planted.
	told, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, quoted := range []string{"SECRET-command", `password = \u003chidden\u003e`} {
		if !strings.Contains(string(told), quoted) {
			t.Errorf("no error quotes %s: %s", quoted, told)
		}
	}
	for _, never := range []string{"SECRET-token", "SECRET-auth", "SECRET-file", "SECRET-ini", "SECRET-db", "SECRET-content", "SECRET-value"} {
		if strings.Contains(string(told), never) {
			t.Errorf("the socket tells %s", never)
		}
	}
	for _, path := range []string{"/status.json", "/metrics", "/readyz", "/healthz", "/", "/v1/status", "/history.json"} {
		_, body, err := page.get(t, path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(body, "SECRET") {
			t.Errorf("%s tells secrets: %s", path, body)
		}
	}
	page.says(t, "/status.json", 200, "the check refuses the files", "the files are in place, but the daemon does not follow", "a template can't be rendered", `"key": "service/batman/members/pg1"`)
}

// TestOperatorsByTheirUsers: the daemon is postgres, and only root, postgres and the
// members of a group may change something, by the verbs that operators use.
func TestOperatorsByTheirUsers(t *testing.T) {
	const group, nobody = 4711, 65534
	dir := servertest.PostgresDir(t)
	putName(t, dir, "shop")
	config := fmt.Sprintf("state_dir = %q\nstatus {\n  listen = \"\"\n  group  = \"%d\"\n}\n%s", filepath.Join(dir, "state"), group, operated)
	path := servertest.File(t, filepath.Join(dir, "pgbaton.hcl"), config, 0o644)
	daemon := exec.Command(binary, "run", "-config", path)
	daemon.Dir = dir
	servertest.AsPostgres(t, daemon)
	postgres := *daemon.SysProcAttr.Credential
	daemon.SysProcAttr.Credential.Groups = []uint32{group}
	p := servertest.Start(t, daemon)
	servertest.Eventually(t, "the target is in sync", heard(p, "applied"))

	as := func(cred *syscall.Credential, args ...string) (string, error) {
		cmd := exec.Command(binary, append(args, "-state-dir", filepath.Join(dir, "state"))...)
		cmd.Dir = "/"
		cmd.Env = []string{"SUDO_USER=alice", "GORACE=atexit_sleep_ms=0"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, c := range []struct {
		name   string
		cred   *syscall.Credential
		looks  bool
		frozen string // by whom
		says   string // if it may not
	}{
		{"root", &syscall.Credential{}, true, "by root, via sudo by alice since", ""},
		{"postgres", &postgres, true, "by postgres since", ""},
		{"a member", &syscall.Credential{Uid: nobody, Gid: nobody, Groups: []uint32{group}}, true, "by nobody since", ""},
		{"a stranger", &syscall.Credential{Uid: nobody, Gid: nobody}, false, "", "permission denied (PGB053)\nhint: run it as root, as pgbaton's user, or as a member of the group"},
		{"postgres's group", &syscall.Credential{Uid: nobody, Gid: postgres.Gid}, false, "", "permission denied"},
	} {
		out, err := as(c.cred, "status")
		if looks := err == nil && strings.HasPrefix(out, "1 of 1 targets in sync"); looks != c.looks {
			t.Errorf("%s: status: %v\n%s", c.name, err, out)
		}
		out, err = as(c.cred, "freeze", "-reason", c.name)
		if froze := err == nil && strings.Contains(out, "exec.app: frozen "+c.frozen); froze != (c.frozen != "") || !strings.Contains(out, c.says) {
			t.Errorf("%s: freeze: %v\n%s", c.name, err, out)
		}
		if out, err = as(c.cred, "apply", "-force"); (err == nil) != (c.frozen != "") {
			t.Errorf("%s: apply: %v\n%s", c.name, err, out)
		}
		if out, err = as(c.cred, "thaw"); (err == nil && out == "exec.app: thawed\n") != (c.frozen != "") {
			t.Errorf("%s: thaw: %v\n%s", c.name, err, out)
		}
	}

	// Without the group in its config whoever is in the group of postgres may look, where
	// the folder lets him.
	servertest.File(t, path, strings.Replace(config, "group", "# group", 1), 0o644)
	if err := os.Chmod(filepath.Join(dir, "state"), 0o755); err != nil { //nolint:gosec // as a unit may have it
		t.Fatal(err)
	}
	p.Signal(t, syscall.SIGHUP)
	servertest.Eventually(t, "the config is taken up", heard(p, "config taken up"))
	own := &syscall.Credential{Uid: nobody, Gid: postgres.Gid}
	servertest.Eventually(t, "postgres's group looks", func() error {
		out, err := as(own, "status")
		if err != nil || !strings.HasPrefix(out, "1 of 1") {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	for _, verb := range [][]string{{"freeze"}, {"apply", "-force"}} {
		out, err := as(own, verb...)
		if want := "exec.app: not allowed: nobody may look, but change nothing; root and postgres may (PGB053)\nhint: "; err == nil || !strings.Contains(out, want) {
			t.Errorf("%v: %v\n%s", verb, err, out)
		}
	}
	if out, err := as(&syscall.Credential{Uid: nobody, Gid: nobody, Groups: []uint32{group}}, "status"); err == nil {
		t.Errorf("the group that was let in before: %s", out)
	}
	stopDaemon(t, p)
}

// TestStatusOverAReload: the listener stays where it was, or goes where it is wanted; one
// that can't be opened stops nothing, and is opened once it can be.
func TestStatusOverAReload(t *testing.T) {
	dir, ports := servertest.PostgresDir(t), servertest.FreePorts(t, 3)
	putName(t, dir, "shop")
	one, two, taken := listener{ports[0]}, listener{ports[1]}, listener{ports[2]}
	p := startDaemon(t, dir, one.block()+operated, filepath.Join(dir, "out"))
	defer stopDaemon(t, p)
	one.says(t, "/readyz", 200, "ready")
	held, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", one.port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()

	reloads := 0
	reload := func(blocks string) {
		t.Helper()
		servertest.File(t, filepath.Join(dir, "pgbaton.hcl"), fmt.Sprintf("state_dir = %q\n%s%s", filepath.Join(dir, "state"), blocks, operated), 0o644)
		p.Signal(t, syscall.SIGHUP)
		reloads++
		servertest.Eventually(t, "the config is taken up", func() error {
			if n := strings.Count(p.Output(), "config taken up"); n < reloads {
				return fmt.Errorf("%d times", n)
			}
			return nil
		})
	}
	reload(one.block())
	one.says(t, "/readyz", 200, "ready")
	// A connection from before is still answered: the listener was not touched.
	if _, err := fmt.Fprint(held, "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Error(err)
	}
	if answer, err := io.ReadAll(held); err != nil || !strings.Contains(string(answer), "alive") {
		t.Errorf("a connection over a reload: %q, %v", answer, err)
	}

	reload(two.block())
	two.says(t, "/readyz", 200, "ready")
	if _, _, err := one.get(t, "/healthz"); err == nil {
		t.Error("it is still where it was")
	}

	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", taken.port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	reload(taken.block())
	servertest.Eventually(t, "the log says why", heard(p, "address already in use"))
	putName(t, dir, "store")
	stands(t, dir, "the target goes on", func(s status.Status) error {
		content, err := os.ReadFile(filepath.Join(dir, "out"))
		if err == nil && (string(content) != "store\n" || !s.OK) {
			err = fmt.Errorf("%q, %s", content, s.Line)
		}
		return err
	})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	taken.says(t, "/readyz", 200, "ready")

	reload("")
	servertest.Eventually(t, "it is closed", func() error {
		if _, _, err := taken.get(t, "/healthz"); err == nil {
			return fmt.Errorf("it is open")
		}
		return nil
	})
}

// TestStopsWithOpenConnections: whoever is connected, and however slowly he speaks, does
// not keep pgbaton from ending.
func TestStopsWithOpenConnections(t *testing.T) {
	dir, page := servertest.PostgresDir(t), listener{servertest.FreePort(t)}
	putName(t, dir, "shop")
	p := startDaemon(t, dir, page.block()+operated+`
target "exec" "stuck" {
  template {
    contents    = "{{ key \"none\" }}"
    destination = "stuck"
  }
  command = ["true"]
}
`, filepath.Join(dir, "out"))
	page.says(t, "/healthz", 200, "alive")
	for i := range 20 {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", page.port))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, []string{"", "GET /status.json HT", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /healthz HTTP/1.1\r\nX: ", "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"}[i%5])
		u, err := net.Dial("unix", filepath.Join(dir, "state", "control.sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = u.Close() }()
		_, _ = io.WriteString(u, []string{"", "POST /v1/freeze HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"}[i%2])
	}
	found, err := control.Find(t.Context(), filepath.Join(dir, "state"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	answer := make(chan error, 1)
	go func() {
		_, err := found[0].Apply(context.Background(), control.Word{Target: "exec.stuck", Timeout: 600})
		answer <- err
	}()
	servertest.Eventually(t, "somebody waits for an answer", heard(p, "as an operator asks"))
	stopDaemon(t, p)
	if err := <-answer; err == nil {
		t.Error("it was applied")
	}
	if left, err := os.ReadDir(filepath.Join(dir, "state", "operator")); err != nil || len(left) > 0 {
		t.Errorf("a word that nobody waits for stays: %v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "state", "control.sock")); err == nil {
		t.Error("its socket stays")
	}
}

// TestSocketOfAKilledOne: what a killed pgbaton left is taken over by the next.
func TestSocketOfAKilledOne(t *testing.T) {
	dir := servertest.PostgresDir(t)
	putName(t, dir, "shop")
	p := startDaemon(t, dir, operated, filepath.Join(dir, "out"))
	s := stands(t, dir, "it answers", func(status.Status) error { return nil })
	if s.Process.PID != p.Pid() || s.Process.User != "postgres" {
		t.Errorf("process %+v", s.Process)
	}
	p.Kill()
	if found, err := control.Find(t.Context(), filepath.Join(dir, "state")); err != nil || len(found) != 0 {
		t.Errorf("a killed one answers: %+v, %v", found, err)
	}
	p = startDaemon(t, dir, operated)
	s = stands(t, dir, "the next one answers", func(s status.Status) error {
		if !s.OK {
			return fmt.Errorf("%s", s.Line)
		}
		return nil
	})
	if s.Process.PID != p.Pid() {
		t.Errorf("process %+v, not %d", s.Process, p.Pid())
	}
	if _, err := os.Stat(filepath.Join(dir, "state", "control-2.sock")); err == nil {
		t.Error("it took another name")
	}
	stopDaemon(t, p)
}
