package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// planted is a secret in each place where one may stand. None is part of a word
// of pgbaton's.
var planted = map[string]string{
	"token": "tok-3f9b1c77", "basic": "basic-88ae01", "env token": "envtok-77e2aa", "url": "urlpw-5512ab",
	"rest": "restpw-90fe11", "sql": "sqlpw-41cc09", "console": "consolepw-7d30", "key": "kvpw-66b2f0", "json": "jsonpw-1bb8d4",
	"stats": "statspw-c03e5d", "database": "dbpw-2f6e90", "userlist": "userpw-e8871b", "vrrp": "vrrppw9", "pgpool": "poolpw-5b1d73", "var": "varpw-0d44c2", "old": "oldpw-19ab3e",
}

// spots replaces «NAME» by what is planted there.
func spots(text string) string {
	for name, value := range planted {
		text = strings.ReplaceAll(text, "«"+name+"»", value)
	}
	return text
}

// shown fails if any of what is planted is in a text.
func shown(t *testing.T, what, text string) {
	t.Helper()
	for name, value := range planted {
		if strings.Contains(text, value) {
			t.Errorf("%s: the secret of %q is in\n%s", what, name, text)
		}
	}
}

// field writes the files of a test, with the secrets planted.
func field(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil { //nolint:gosec // pgbouncer's check is never root's
			t.Fatal(err)
		}
	}
	t.Setenv("STATE_DIRECTORY", filepath.Join(dir, "state"))
	for name, text := range files {
		servertest.File(t, filepath.Join(dir, name), spots(text), 0o600)
	}
	return dir
}

const secretState = `kv:
  app/db_password: «key»
  app/settings: '{"user": "app", "password": "«json»"}'
`

// Each of these goes wrong where a secret stands, so that the error is about it.
func TestErrorsHideSecrets(t *testing.T) {
	t.Setenv("CONSUL_HTTP_TOKEN", planted["env token"])
	const file = "log_level = \"trace\"\nfile {\n path = \"state.yaml\"\n}\n"
	target := func(kind, settings, contents string) string {
		return fmt.Sprintf("target %q \"a\" {\n template {\n contents = <<EOT\n%s\nEOT\n destination = \"out\"\n perms = \"0600\"\n }\n %s\n}\n", kind, contents, settings)
	}
	haproxy := "global\ndefaults\n mode http\n timeout client 1s\n timeout connect 1s\n timeout server 1s\nlisten a\n bind 127.0.0.1:1\n"
	for name, c := range map[string]struct {
		config string
		args   []string
		code   int
		says   string // proof that it is the error which is meant
	}{
		"syntax of a config":    {"consul {\n token = \"«token»\n}\n", []string{"check"}, exitConfig, "c.hcl:"},
		"an expression":         {"consul {\n token = «token»\n}\n" + target("exec", "command = [\"true\"]", "x"), []string{"check"}, exitConfig, "c.hcl:2"},
		"a setting unknown":     {"consul {\n tokne = \"«token»\" # token = «token»\n}\n" + target("exec", "command = [\"true\"]", "x"), []string{"check"}, exitConfig, `did you mean "token"?`},
		"a setting's place":     {"consul {\n auth {\n  password = \"«basic»\" extra\n }\n}\n" + target("exec", "command = [\"true\"]", "x"), []string{"check"}, exitConfig, "c.hcl:3"},
		"a var unknown":         {file + target("exec", "vars = { stats_auth = \"admin:«var»\" }\n command = [\"true\"]", "x"), []string{"check"}, exitConfig, "no template asks for var"},
		"a template's line":     {file + target("exec", "command = [\"true\"]", "password=«var» {{ servce \"a\" }}"), []string{"check"}, exitConfig, `did you mean "service"?`},
		"a value in a function": {file + target("exec", "command = [\"true\"]", "{{ key \"app/db_password\" | parseInt }}"), []string{"render"}, exitConfig, "parseInt"},
		"a value that is JSON":  {file + target("exec", "command = [\"true\"]", "{{ index (key \"app/settings\" | parseJSON) \"password\" | parseBool }}"), []string{"render"}, exitConfig, "parseBool"},
		"haproxy's words":       {file + target("haproxy", "pid_file = \"/x\"", haproxy+" stats auth admin:«stats» admin:«stats»\n «stats» {{ key \"app/db_password\" }}"), []string{"render", "-check"}, exitRefused, "<hidden>"},
		"pgbouncer's words":     {file + target("pgbouncer", "", "[databases]\na = host=b password=«database» «database»=1\n[pgbouncer]\nauth_type = any\n"), []string{"render", "-check"}, exitRefused, "refused"},
		"keepalived's words":    {file + target("keepalived", "", "vrrp_instance a {\n interface lo\n virtual_router_id 1\n authentication {\n auth_type PASS\n auth_pass «vrrp»\n }\n «vrrp» yes\n}"), []string{"render", "-check"}, exitRefused, "<hidden>"},
		"pgpool's words":        {file + target("pgpool", "", "sr_check_password = «pgpool» «pgpool»"), []string{"render", "-check"}, exitRefused, "<hidden>"},
		"a check's words":       {file + target("exec", "command = [\"true\"]\n check = [\"sh\", \"-c\", \"cat {file}; exit 1\"]", "\"ada\" \"«userlist»\"\npassword: «var»\n{{ key \"app/db_password\" }}"), []string{"render", "-check"}, exitRefused, "<hidden>"},
		"a command's words":     {file + target("exec", "command = [\"sh\", \"-c\", \"cat $PGBATON_DESTINATION; exit 1\"]", "\"ada\" \"«userlist»\""), []string{"run", "-once", "-timeout", "300ms"}, exitFailed, "<hidden>"},
		"debug output":          {file + target("exec", "command = [\"sh\", \"-c\", \"cat $PGBATON_DESTINATION\"]", "\"ada\" \"«userlist»\""), []string{"run", "-once"}, exitDone, "<hidden>"},
		"a store that is away": {"log_level = \"trace\"\nconsul {\n address = \"http://ops:«url»@127.0.0.1:1\"\n token = \"«token»\"\n auth {\n username = \"u\"\n password = \"«basic»\"\n }\n}\n" +
			target("exec", "command = [\"true\"]", "{{ key \"a\" }}"), []string{"run", "-once", "-timeout", "300ms"}, exitWaiting, "127.0.0.1:1"},
		"capture of what is away": {"consul {\n address = \"http://ops:«url»@127.0.0.1:1\"\n token = \"«token»\"\n}\n" + target("exec", "command = [\"true\"]", "{{ key \"a\" }}"), []string{"capture", "-timeout", "300ms"}, exitWaiting, "key a"},
		"consul-template's file":  {"consul = { address = \"127.0.0.1:1\" token = \"«token»\" tokn = \"«token»\" }\ntemplate { contents = \"{{ key \\\"a\\\" }}\" destination = \"out\" command = \"APP_PASSWORD=«var» true\" comand = \"APP_PASSWORD=«var»\" }\n", []string{"check"}, exitConfig, "c.hcl:"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := field(t, map[string]string{"c.hcl": c.config, "state.yaml": secretState})
			code, stdout, stderr := try(t, append(c.args, "-config", filepath.Join(dir, "c.hcl"))...)
			if code != c.code || !strings.Contains(stderr, c.says) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, c.code, c.says, stderr)
			}
			shown(t, "standard error", stderr)
			shown(t, "standard output", stdout)
		})
	}
}

// A diff says that a secret is another one, and not which; -secrets does.
func TestDiffHidesSecrets(t *testing.T) {
	dir := field(t, map[string]string{
		"state.yaml": secretState, "userlist.txt": "\"ada\" \"«old»\"\n\"bob\" \"«userlist»\"\n",
		"c.hcl": "file {\n path = \"state.yaml\"\n}\ntarget \"exec\" \"a\" {\n command = [\"true\"]\n template {\n destination = \"userlist.txt\"\n contents = <<EOT\n\"ada\" \"{{ key \"app/db_password\" }}\"\n\"bob\" \"«userlist»\"\n\"eve\" \"new-pw\"\nEOT\n }\n" +
			" template {\n destination = \"new.ini\"\n contents = <<EOT\na = host=b password=«database»\nsettings={{ key \"app/settings\" }}\nEOT\n }\n}\n",
	})
	code, stdout, stderr := try(t, "diff", "-config", filepath.Join(dir, "c.hcl"))
	if code != exitChanges || !strings.Contains(stdout, "\n-\"ada\" \"<hidden ") || !strings.Contains(stdout, "\n+\"ada\" \"<hidden ") || !strings.Contains(stdout, "\n \"bob\" \"<hidden ") {
		t.Errorf("exit code %d, %s:\n%s", code, stderr, stdout)
	}
	shown(t, "diff", stdout+stderr)
	code, stdout, _ = try(t, "diff", "-secrets", "-config", filepath.Join(dir, "c.hcl"))
	if code != exitChanges || !strings.Contains(stdout, planted["key"]) || !strings.Contains(stdout, planted["old"]) {
		t.Errorf("with -secrets: exit code %d:\n%s", code, stdout)
	}
}

// What is rendered elsewhere is no wider than where it belongs.
func TestRenderOutIsNoWider(t *testing.T) {
	dir := field(t, map[string]string{
		"state.yaml": secretState, "users": "old\n",
		"c.hcl": "file {\n path = \"state.yaml\"\n}\ntarget \"exec\" \"a\" {\n command = [\"true\"]\n template {\n destination = \"users\"\n contents = \"new\"\n }\n}\n",
	})
	out := filepath.Join(dir, "out")
	code, _, stderr := try(t, "render", "-out", out, "-config", filepath.Join(dir, "c.hcl"))
	info, err := os.Stat(filepath.Join(out, dir, "users"))
	if code != exitDone || err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("exit code %d, %s: %v, %v", code, stderr, info, err)
	}
}

// buffer is what a daemon prints while somebody reads it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// The daemon at trace level, with everything out of order that it logs in to: what
// it prints, tells systemd, and keeps in its state folder.
func TestDaemonHidesSecrets(t *testing.T) {
	// A member that repeats what it was told.
	rest := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		http.Error(w, fmt.Sprintf("no entry for %s with password=%s", user, password), http.StatusUnauthorized)
	}))
	t.Cleanup(rest.Close)
	dir := field(t, map[string]string{
		"rest": "«rest»\n", "sql": "«sql»\n", "console": "«console»\n",
		"state.yaml": secretState + fmt.Sprintf("  service/main/initialize: \"1\"\n  service/main/leader: pg1\n  service/main/members/pg1: {conn_url: 'postgres://ops:«url»@127.0.0.1:1/postgres', api_url: '%s/patroni', role: primary, state: running, timeline: 1}\n", rest.URL),
		"c.hcl": `log_level = "trace"
file {
  path = "state.yaml"
}
log_file {
  path = "DIR/log"
}
status {
  listen = "127.0.0.1:PORT"
}
cluster "patroni" "main" {
  confirm = ["patroni-api", "sql", "role"]
  api {
    user          = "ops"
    password_file = "rest"
  }
  sql {
    password_file = "sql"
  }
}
target "exec" "refused" {
  template {
    destination = "users"
    contents    = "\"ada\" \"«userlist»\""
  }
  check   = ["sh", "-c", "cat {file}; exit 1"]
  command = ["true"]
}
target "exec" "fails" {
  template {
    destination = "env"
    contents    = "PGPASSWORD=\"{{ key \"app/db_password\" }}\""
  }
  command = ["sh", "-c", "cat $PGBATON_DESTINATION; exit 1"]
}
target "pgbouncer" "edge" {
  template {
    destination = "pgbouncer.ini"
    contents    = "[databases]\na = host={{ (cluster \"main\").Leader.Host }} password={{ key \"app/db_password\" }}\n[pgbouncer]\nauth_type = any\n"
  }
  socket        = "DIR"
  user          = "ops"
  password_file = "console"
  hold          = true
}
`,
	})
	config := filepath.Join(dir, "c.hcl")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	listen := fmt.Sprint(servertest.FreePort(t))
	servertest.File(t, config, strings.NewReplacer("DIR", dir, "PORT", listen).Replace(string(text)), 0o600)
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = systemd.Close() })
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	var told buffer
	go func() {
		for b := make([]byte, 64<<10); ; {
			n, err := systemd.Read(b)
			if err != nil {
				return
			}
			_, _ = told.Write(append(b[:n:n], '\n'))
		}
	}()

	var log buffer
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int)
	go func() {
		code <- run(ctx, []string{"run", "-config", config}, stdio{in: strings.NewReader(""), out: &log, err: &log})
	}()
	servertest.Eventually(t, "everything went wrong", func() error {
		for _, part := range []string{"does not work", "exec.refused", "exec.fails", "pgbouncer.edge", "open console", "<hidden>"} {
			if !strings.Contains(log.String(), part) {
				return fmt.Errorf("the log has no %q yet:\n%s", part, log.String())
			}
		}
		if !strings.Contains(told.String(), "<hidden>") {
			return fmt.Errorf("systemd is told %s", told.String())
		}
		return nil
	})
	for _, args := range [][]string{{"status"}, {"status", "-json"}} {
		code, stdout, stderr := try(t, append(args, "-config", config)...)
		if code != exitFailed || !strings.Contains(stdout, "<hidden>") && !strings.Contains(stdout, `\u003chidden\u003e`) {
			t.Errorf("%v: exit code %d, %s: %s", args, code, stderr, stdout)
		}
		shown(t, strings.Join(args, " "), stdout+stderr)
	}
	for _, path := range []string{"status.json", "readyz"} {
		resp, err := http.Get("http://127.0.0.1:" + listen + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !strings.Contains(string(body), "exec.refused") {
			t.Errorf("%s: %v: %s", path, err, body)
		}
		shown(t, path, string(body))
	}
	cancel()
	<-code
	shown(t, "log", log.String())
	shown(t, "status", told.String())
	kept := 0
	err = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || (filepath.Dir(path) == dir && entry.Name() != "log") || !entry.Type().IsRegular() {
			return err
		}
		kept++
		content, err := os.ReadFile(path)
		shown(t, path, string(content))
		return err
	})
	if err != nil || kept < 4 {
		t.Errorf("%d files were looked through, %v", kept, err)
	}
}
