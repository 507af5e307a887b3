package pgbouncer_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/pgbouncer"
)

func TestFollow(t *testing.T) {
	b := newBouncer(t)
	b.commit(t, b.config("app = host=10.0.0.1"))
	b.start(t)
	want := b.commit(t, b.config("app = host=10.0.0.2 port=05433 dbname='other one'\nnew =\n* = host=10.0.0.9"))
	for _, c := range []pgbouncer.Config{
		{Socket: b.dir, Port: b.port, User: "root"},
		{Host: "127.0.0.1", Port: b.port, User: "root"},
		{Consoles: []string{fmt.Sprintf("%s:%d", b.dir, b.port), fmt.Sprintf("127.0.0.1:%d", b.port)}, User: "root"},
	} {
		mark, err := b.daemon(t, c).Follow(t.Context(), want, reload.Mark{})
		if err != nil {
			t.Fatalf("%+v: %v (hint: %s)", c, err, hint.Of(err))
		}
		if mark.Proof != reload.Followed || !strings.HasPrefix(mark.How, "RELOAD over ") || !strings.Contains(mark.How, fmt.Sprint(b.port)) {
			t.Errorf("%+v: mark %+v", c, mark)
		}
	}
}

func TestFollowSeesThatPgbouncerDoesNot(t *testing.T) {
	b := newBouncer(t)
	b.commit(t, b.config("app = host=10.0.0.1"))
	b.start(t)
	d := b.daemon(t, pgbouncer.Config{Socket: b.dir, Port: b.port, User: "root"})

	// The file is not the one that pgbouncer reads.
	want := b.commit(t, b.config("app = host=10.0.0.2"))
	b.put(t, b.ini, b.config("app = host=10.0.0.1"))
	_, err := d.Follow(t.Context(), want, reload.Mark{})
	if err == nil || !strings.Contains(err.Error(), "database app is still at 10.0.0.1:5432/app, not 10.0.0.2:5432/app") {
		t.Errorf("error %v", err)
	}
	if hint.Of(err) == "" {
		t.Error("no hint")
	}

	// A file that fails to parse is applied up to the bad line.
	want = b.commit(t, b.config("a = host=10.0.0.3\nbroken\napp = host=10.0.0.4"))
	if _, err = d.Follow(t.Context(), want, reload.Mark{}); err == nil ||
		// From 1.25 on RELOAD itself says so.
		!strings.Contains(err.Error(), "database app is still at 10.0.0.1") && !strings.Contains(err.Error(), "RELOAD failed") {
		t.Errorf("error %v", err)
	}

	// A port does not move with a reload.
	running := b.port
	b.port = servertest.FreePort(t)
	want = b.commit(t, b.config("app = host=10.0.0.5"))
	if _, err = d.Follow(t.Context(), want, reload.Mark{}); err == nil ||
		!strings.Contains(err.Error(), fmt.Sprintf("listens on port %d, and %s:5 wants %d", running, b.ini, b.port)) {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(hint.Of(err), "restart pgbouncer") {
		t.Errorf("hint %q", hint.Of(err))
	}
}

func TestFollowOneConsoleOfTwoIsAway(t *testing.T) {
	b := newBouncer(t)
	b.commit(t, b.config("app = host=10.0.0.1"))
	b.start(t)
	want := b.commit(t, b.config("app = host=10.0.0.2"))
	here := fmt.Sprintf("%s:%d", b.dir, b.port)
	away := "/nowhere:6432"
	_, err := b.daemon(t, pgbouncer.Config{Consoles: []string{away, here}, User: "root"}).Follow(t.Context(), want, reload.Mark{})
	if err == nil || !strings.Contains(err.Error(), away) || strings.Contains(err.Error(), here) {
		t.Errorf("error %v, want one that names %s alone", err, away)
	}
	// The other followed all the same.
	conn, err := pgconn.Connect(t.Context(), fmt.Sprintf("host=%s port=%d user=root dbname=pgbouncer", b.dir, b.port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	results, err := conn.Exec(t.Context(), "SHOW DATABASES").ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if rows := fmt.Sprintf("%s", results[0].Rows); !strings.Contains(rows, "10.0.0.2") {
		t.Errorf("it did not follow: %s", rows)
	}
}

func TestFollowHintsAtAnAbsentConsole(t *testing.T) {
	b := newBouncer(t)
	_, err := b.daemon(t, pgbouncer.Config{Socket: "/nowhere"}).Follow(t.Context(), b.commit(t, b.config(app)), reload.Mark{})
	if !strings.Contains(hint.Of(err), "start pgbouncer") {
		t.Errorf("hint %q", hint.Of(err))
	}
}

func TestFollowLogin(t *testing.T) {
	b := newBouncer(t)
	users := filepath.Join(b.dir, "users.txt")
	b.put(t, users, "\"baton\" \"it's\"\n\"other\" \"x\"\n")
	content := strings.ReplaceAll(b.config("app = host=10.0.0.1", "auth_file = "+users), "auth_type = any\nadmin_users = root", "auth_type = scram-sha-256\nadmin_users = baton")
	want := b.commit(t, content)
	b.start(t)
	right := servertest.File(t, filepath.Join(b.dir, "right"), "it's\n", 0o600)
	wrong := servertest.File(t, filepath.Join(b.dir, "wrong"), "its\n", 0o600)
	x := servertest.File(t, filepath.Join(b.dir, "x"), "x", 0o600)

	with := func(user, file string) error {
		c := pgbouncer.Config{Socket: b.dir, Port: b.port, User: user, PasswordFile: file}
		if user == "" { // over the socket root is let in
			c.Socket, c.Host = "", "127.0.0.1"
		}
		d := b.daemon(t, c)
		_, err := d.Follow(t.Context(), want, reload.Mark{})
		return err
	}
	if err := with("baton", right); err != nil {
		t.Errorf("right password: %v", err)
	}
	for _, tc := range []struct{ name, user, file, mentions string }{
		{"wrong password", "baton", wrong, "as baton"},
		{"no password", "baton", "", "as baton"},
		{"no admin", "other", x, "as other"},
		{"default user over TCP", "", "", "as pgbouncer"},
		{"no password file", "baton", "/nowhere/password", "read password_file"},
	} {
		err := with(tc.user, tc.file)
		if err == nil || !strings.Contains(err.Error(), tc.mentions) || hint.Of(err) == "" {
			t.Errorf("%s: error %v, hint %q", tc.name, err, hint.Of(err))
		}
		if err != nil && (strings.Contains(err.Error(), "its") || strings.Contains(err.Error(), "it's")) {
			t.Errorf("%s: error %v shows the password", tc.name, err)
		}
	}
}

func TestFollowFrozenConsole(t *testing.T) {
	b := newBouncer(t)
	want := b.commit(t, b.config("app = host=10.0.0.1"))
	b.start(t)
	b.process.Signal(t, syscall.SIGSTOP)
	d := b.daemon(t, pgbouncer.Config{Socket: b.dir, Port: b.port, User: "root", Timeout: "300ms"})
	_, err := d.Follow(t.Context(), want, reload.Mark{})
	if err == nil || !strings.Contains(hint.Of(err), "does not answer") {
		t.Errorf("error %v, hint %q", err, hint.Of(err))
	}
	b.process.Signal(t, syscall.SIGCONT)
}

func TestFollowNobodyListens(t *testing.T) {
	b := newBouncer(t)
	want := b.commit(t, b.config("app = host=10.0.0.1"))
	d := b.daemon(t, pgbouncer.Config{Host: "127.0.0.1", Port: b.port})
	_, err := d.Follow(t.Context(), want, reload.Mark{})
	at := net.JoinHostPort("127.0.0.1", fmt.Sprint(b.port))
	if err == nil || !strings.Contains(err.Error(), "open console "+at) || !strings.Contains(hint.Of(err), "start pgbouncer") {
		t.Errorf("error %v, hint %q", err, hint.Of(err))
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, tc := range []struct {
		name     string
		config   pgbouncer.Config
		mentions string
	}{
		{"socket and host", pgbouncer.Config{Socket: "/run", Host: "h"}, "socket and host"},
		{"consoles and socket", pgbouncer.Config{Socket: "/run", Consoles: []string{"/run:1"}}, "consoles"},
		{"consoles and port", pgbouncer.Config{Port: 1, Consoles: []string{"/run:1"}}, "consoles"},
		{"console without port", pgbouncer.Config{Consoles: []string{"/run"}}, `"/run": it has no port`},
		{"console without host", pgbouncer.Config{Consoles: []string{":6432"}}, "no host"},
		{"console with a bad port", pgbouncer.Config{Consoles: []string{"a:70000"}}, "a:70000"},
		{"console twice", pgbouncer.Config{Consoles: []string{"/run:1", "/run:1"}}, "twice"},
		{"relative socket", pgbouncer.Config{Socket: "run"}, "absolute"},
		{"relative config file", pgbouncer.Config{ConfigFile: "a.ini"}, "config_file"},
		{"port", pgbouncer.Config{Port: 70000}, "port"},
		{"timeout", pgbouncer.Config{Timeout: "5"}, "timeout"},
	} {
		if _, err := tc.config.Daemon(hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), tc.mentions) {
			t.Errorf("%s: error %v, want %q", tc.name, err, tc.mentions)
		}
	}
}
