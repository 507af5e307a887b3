package pgbouncer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/pgbouncer"
)

const app = "app = host=127.0.0.1 port=5432"

func TestCheckPasses(t *testing.T) {
	b := newBouncer(t)
	b.put(t, filepath.Join(b.dir, "users.txt"), `"root" ""`)
	b.put(t, filepath.Join(b.dir, "rest.ini"), "pool_mode = transaction\n")
	for _, tc := range []struct {
		name string
		set  []reload.File
	}{
		{"one file", []reload.File{b.file(t, "pgbouncer.ini", b.config(app))}},
		{"databases last", []reload.File{b.file(t, "pgbouncer.ini", "[pgbouncer]\nauth_type=any\n[databases]\n"+app)}},
		{"only a fallback", []reload.File{b.file(t, "pgbouncer.ini", b.config("* = host=127.0.0.1"))}},
		{"no section pgbouncer", []reload.File{b.file(t, "pgbouncer.ini", "[databases]\n"+app)}},
		{"header and setting in one line", []reload.File{b.file(t, "pgbouncer.ini", "[databases] "+app+"\n[pgbouncer] auth_type=any\n")}},
		{"include from the disk", []reload.File{b.file(t, "pgbouncer.ini", b.config(app, "%include rest.ini"))}},
		{"includes of the set, relative and absolute", []reload.File{
			b.file(t, "pgbouncer.ini", b.config("%include databases.ini", "%include "+b.dir+"/tail.ini")),
			b.file(t, "databases.ini", app+"\n"),
			b.file(t, "tail.ini", "pool_mode = session\nlogfile = /nowhere/log\n"),
		}},
		{"auth_file on the disk", []reload.File{b.file(t, "pgbouncer.ini", b.config(app, "auth_type = trust", "auth_file = users.txt"))}},
		{"auth_file of the set", []reload.File{
			b.file(t, "pgbouncer.ini", b.config(app, "auth_type = trust", "auth_file = "+b.dir+"/fresh.txt")),
			b.file(t, "fresh.txt", `"root" ""`),
		}},
		{"settings that reach outside", []reload.File{b.file(t, "pgbouncer.ini", b.config(app, "user = root", "syslog = 1",
			"unix_socket_group = root", "logfile = /nowhere/log", "pidfile = /nowhere/pid"))}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := b.daemon(t, pgbouncer.Config{}).Check(t.Context(), tc.set); err != nil {
				t.Errorf("%v (hint: %s)", err, hint.Of(err))
			}
		})
	}
	if _, err := os.Stat(filepath.Join(b.dir, "log")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dry run wrote to the daemon's log: %v", err)
	}
}

func TestCheckRefuses(t *testing.T) {
	b := newBouncer(t)
	loop := b.file(t, "loop.ini", "%include "+b.dir+"/loop.ini")
	for _, tc := range []struct {
		name     string
		set      []reload.File
		mentions string // %s is the directory
		hinted   string
	}{
		{
			"bad value",
			[]reload.File{b.file(t, "pgbouncer.ini", b.config(app, "pool_mode = sometimes"))},
			"(%s/pgbouncer.ini:11)", "at the line",
		},
		{"bad value in a file of the set", []reload.File{
			b.file(t, "pgbouncer.ini", b.config(app, "%include tail.ini")),
			b.file(t, "tail.ini", "\n\npool_mode = sometimes\n"),
		}, "(%s/tail.ini:3)", "at the line"},
		{"syntax", []reload.File{b.file(t, "pgbouncer.ini", "[databases]\napp\n")}, "(%s/pgbouncer.ini:2)", "at the line"},
		{"unknown setting", []reload.File{b.file(t, "pgbouncer.ini", b.config(app, "zork = 1"))}, "zork", "at the line"},
		{"value before a section", []reload.File{b.file(t, "pgbouncer.ini", app)}, "value without section", "at the line"},
		{"bad connection", []reload.File{b.file(t, "pgbouncer.ini", b.config("app = host=a zork=1"))}, "zork", "at the line"},
		{"no databases", []reload.File{b.file(t, "pgbouncer.ini", b.config(""))}, "%s/pgbouncer.ini: no entry in [databases]", "no such database"},
		{"an include turned empty", []reload.File{
			b.file(t, "pgbouncer.ini", b.config("%include databases.ini")), b.file(t, "databases.ini", ""),
		}, "no entry in [databases]", "no such database"},
		{"empty file", []reload.File{b.file(t, "pgbouncer.ini", "")}, "no entry in [databases]", "no such database"},
		{
			"missing include",
			[]reload.File{b.file(t, "pgbouncer.ini", b.config("%include absent.ini"))},
			"%s/absent.ini: no such file (included by", "directory of the main file",
		},
		{"include of itself", []reload.File{b.file(t, "pgbouncer.ini", b.config("%include loop.ini")), loop}, "nested too deep", "includes itself"},
		{
			"missing auth_file",
			[]reload.File{b.file(t, "pgbouncer.ini", b.config(app, "auth_type = md5", "auth_file = %s/absent.txt"))},
			"auth_file", "add a template",
		},
		{"auth_file that pgbouncer may not read", []reload.File{
			b.file(t, "pgbouncer.ini", b.config(app, "auth_type = md5", "auth_file = secret.txt")),
			{Path: b.dir + "/secret.txt", Mode: 0o600},
		}, "could not open auth_file %s/secret.txt: Permission denied", "able to read it"},
		{"file that pgbouncer may not read", []reload.File{
			b.file(t, "pgbouncer.ini", b.config(app, "%include secret.ini")), {Path: b.dir + "/secret.ini", Mode: 0o600},
		}, `"%s/secret.ini": Permission denied`, "postgres has to be able to read it"},
		{"NUL", []reload.File{b.file(t, "pgbouncer.ini", b.config(app+"\x00"))}, "NUL", "end there"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := b.daemon(t, pgbouncer.Config{}).Check(t.Context(), tc.set)
			want := strings.ReplaceAll(tc.mentions, "%s", b.dir)
			if !errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), want) {
				t.Fatalf("error %v, want a refusal that says %q", err, want)
			}
			if !strings.Contains(hint.Of(err), tc.hinted) {
				t.Errorf("hint %q, want %q", hint.Of(err), tc.hinted)
			}
			if strings.Contains(err.Error(), "pgbaton-check-") || strings.Contains(err.Error(), ".staged") {
				t.Errorf("error %v shows a private path", err)
			}
		})
	}
}

func TestCheckReadsTheFileThatIncludesTheSet(t *testing.T) {
	b := newBouncer(t)
	b.put(t, b.ini, b.config("%include databases.ini"))
	d := b.daemon(t, pgbouncer.Config{ConfigFile: b.ini})
	if err := d.Check(t.Context(), []reload.File{b.file(t, "databases.ini", app)}); err != nil {
		t.Error(err)
	}
	err := d.Check(t.Context(), []reload.File{b.file(t, "databases.ini", "\n"+app+" zork=1")})
	if !errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), b.dir+"/databases.ini:2") {
		t.Errorf("error %v", err)
	}
}

func TestCheckWithoutSystemd(t *testing.T) {
	// A build that tells systemd nothing is known by its socket.
	b := newBouncer(t)
	stub := servertest.File(t, filepath.Join(b.dir, "stub"), "#!/bin/sh\nunset NOTIFY_SOCKET\nexec pgbouncer \"$@\"\n", 0o755)
	d := b.daemon(t, pgbouncer.Config{Binary: stub})
	if err := d.Check(t.Context(), []reload.File{b.file(t, "pgbouncer.ini", b.config(app))}); err != nil {
		t.Error(err)
	}
}

func TestCheckGivesNoAnswer(t *testing.T) {
	b := newBouncer(t)
	pid := filepath.Join(b.dir, "child")
	script := func(name, body string) string {
		return servertest.File(t, filepath.Join(b.dir, name), "#!/bin/sh\n"+body+"\n", 0o755)
	}
	for _, tc := range []struct {
		name     string
		config   pgbouncer.Config
		mentions string
		hinted   string
	}{
		{"missing binary", pgbouncer.Config{Binary: "no-such-pgbouncer"}, "no-such-pgbouncer", "install no-such-pgbouncer or correct binary"},
		{"hangs", pgbouncer.Config{Binary: script("hangs", "sleep 600 & echo $! >"+pid+"; wait"), Timeout: "500ms"}, "timed out after 500ms", "by hand"},
		{"is something else", pgbouncer.Config{Binary: "true"}, "ended before it was ready", "whether binary is pgbouncer"},
		{"not executable", pgbouncer.Config{Binary: b.ini}, "as postgres in " + b.dir, "able to enter"},
		{"unknown user", pgbouncer.Config{CheckUser: "no-such-user"}, "no-such-user", "the user that pgbouncer runs as"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b.put(t, b.ini, "")
			err := b.daemon(t, tc.config).Check(t.Context(), []reload.File{b.file(t, "pgbouncer.ini", b.config(app))})
			if err == nil || errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), tc.mentions) {
				t.Fatalf("error %v, want one that is no refusal and says %q", err, tc.mentions)
			}
			if !strings.Contains(hint.Of(err), tc.hinted) {
				t.Errorf("hint %q, want %q", hint.Of(err), tc.hinted)
			}
		})
	}
	data, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the hanging check's child ends", func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		if err == nil && !strings.Contains(string(stat), ") Z ") {
			return errors.New("it is alive")
		}
		return nil
	})
}

func TestCheckEndsWithItsContext(t *testing.T) {
	b := newBouncer(t)
	stub := servertest.File(t, filepath.Join(b.dir, "stub"), "#!/bin/sh\nexec sleep 600\n", 0o755)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := b.daemon(t, pgbouncer.Config{Binary: stub}).Check(ctx, []reload.File{b.file(t, "pgbouncer.ini", b.config(app))})
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, proc.ErrTimeout) || errors.Is(err, reload.ErrRefused) {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestCheckRunsWithThePoolersRights(t *testing.T) {
	b := newBouncer(t)
	out := filepath.Join(b.dir, "id")
	stub := servertest.File(t, filepath.Join(b.dir, "stub"), "#!/bin/sh\nid -u >"+out+"\npwd >>"+out+"\nexit 3\n", 0o755)
	_ = b.daemon(t, pgbouncer.Config{Binary: stub}).Check(t.Context(), []reload.File{b.file(t, "pgbouncer.ini", b.config(app))})
	got, err := os.ReadFile(out)
	if want := fmt.Sprintf("%d\n%s\n", b.uid, b.dir); err != nil || string(got) != want {
		t.Errorf("ran as and in %q, %v; want %q", got, err, want)
	}
	if _, err := (&pgbouncer.Config{CheckUser: "root"}).Daemon(hclog.NewNullLogger()); err == nil {
		t.Error("check_user = root is taken")
	}
}

func TestCheckWarns(t *testing.T) {
	b := newBouncer(t)
	var log bytes.Buffer
	d, err := (&pgbouncer.Config{}).Daemon(hclog.New(&hclog.LoggerOptions{Output: &log}))
	if err != nil {
		t.Fatal(err)
	}
	b.commit(t, b.config(app))
	cut, _, _ := strings.Cut(b.config(app), "auth_type")
	if err := d.Check(t.Context(), []reload.File{b.file(t, "pgbouncer.ini", cut)}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "auth_type is no longer set") {
		t.Errorf("no warning of a file cut off: %s", log.String())
	}
	log.Reset()
	if err := d.Check(t.Context(), []reload.File{b.file(t, "pgbouncer.ini", b.config(app)+"[pgbouncer]\npool_mode = session\n")}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "starts again from the defaults") {
		t.Errorf("no warning of a second section: %s", log.String())
	}
}

func TestCheckIncludeOfAFIFO(t *testing.T) {
	b := newBouncer(t)
	if err := syscall.Mkfifo(filepath.Join(b.dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := b.daemon(t, pgbouncer.Config{}).Check(t.Context(), []reload.File{b.file(t, "pgbouncer.ini", b.config("%include fifo"))})
	if !errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("error %v", err)
	}
}
