package haproxy_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/haproxy"
)

// staged stages files that are named for a directory which does not exist.
func staged(t *testing.T, contents ...string) []reload.File {
	t.Helper()
	dir := t.TempDir()
	var set []reload.File
	for i, content := range contents {
		name := []string{"haproxy.cfg", "more.cfg", "some.map"}[i]
		path := servertest.File(t, filepath.Join(dir, "."+name+".staged"), content, 0o644)
		set = append(set, reload.File{Path: filepath.Join(dir, name), Staged: path, Content: []byte(content), Mode: 0o644})
	}
	return set
}

func TestCheck(t *testing.T) {
	servertest.Need(t, "haproxy")
	good := config(1)
	more := "backend other\n  mode tcp\n  server a 127.0.0.1:9\n"
	for _, tc := range []struct {
		name     string
		set      []reload.File
		mentions string // "" passes
	}{
		{"good", staged(t, good), ""},
		{"two configs and a map", staged(t, good+"  use_backend other if { dst_port 2 }\n", more, "no config\n"), ""},
		{"unknown keyword", staged(t, good+"  zork\n"), "haproxy.cfg:9]"},
		{"error in the second", staged(t, good, more+"  zork\n"), "more.cfg:4]"},
		{"no final newline", staged(t, strings.TrimSuffix(good, "\n")), "haproxy.cfg:8]"},
		{"cut off", staged(t, good[:len(good)/2]), "haproxy.cfg"},
		{"no listener", staged(t, "defaults\n  mode tcp\n"), "will not start (no listener)"},
		{"empty", staged(t, ""), "will not start (no listener)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := daemon(t, haproxy.Config{MasterSocket: "/nowhere"}).Check(t.Context(), tc.set)
			if tc.mentions == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if !errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), tc.mentions) || hint.Of(err) == "" {
				t.Fatalf("error %v, want a refusal that says %q", err, tc.mentions)
			}
			if strings.Contains(err.Error(), ".staged") {
				t.Errorf("error %v shows a staged path", err)
			}
		})
	}
}

func TestCheckGivesNoAnswer(t *testing.T) {
	set := staged(t, config(1))
	hangs := servertest.File(t, filepath.Join(t.TempDir(), "stub"), "#!/bin/sh\necho at \"$3\"\nsleep 600 & wait\n", 0o755)
	for _, tc := range []struct{ name, binary, mentions, hinted string }{
		{"missing", "no-such-haproxy", "no-such-haproxy", "install no-such-haproxy or correct binary"},
		{"hangs", hangs, "timed out after 300ms: at " + set[0].Path, "timeout sets how long"},
	} {
		err := daemon(t, haproxy.Config{MasterSocket: "/nowhere", Binary: tc.binary, Timeout: "300ms"}).Check(t.Context(), set)
		if err == nil || errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), tc.mentions) || !strings.Contains(hint.Of(err), tc.hinted) {
			t.Errorf("%s: error %v, hint %q", tc.name, err, hint.Of(err))
		}
	}
}

func TestCheckHasNoMoreRightsThanTheMaster(t *testing.T) {
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	dir, err := os.MkdirTemp("/tmp", "pgbaton-test-") //nolint:usetesting // another user has to enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	socket, port := filepath.Join(dir, "master"), servertest.FreePort(t)
	cfg := servertest.File(t, filepath.Join(dir, "haproxy.cfg"), config(port), 0o644)
	cmd := exec.Command(servertest.Need(t, "haproxy"), "-W", "-S", socket, "-f", cfg)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	servertest.Start(t, cmd)
	servertest.Eventually(t, "haproxy listens", servertest.Listening(fmt.Sprintf("127.0.0.1:%d", port)))
	servertest.Eventually(t, "haproxy's master listens", func() error {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		return c.Close()
	})

	stub := servertest.File(t, filepath.Join(dir, "stub"), "#!/bin/sh\nid -u\nexit 1\n", 0o755)
	set := []reload.File{{Path: cfg, Staged: cfg}}
	err = daemon(t, haproxy.Config{MasterSocket: socket, Binary: stub}).Check(t.Context(), set)
	if err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf(": %d", uid)) {
		t.Errorf("error %v, want a check that ran as %d", err, uid)
	}
	if err := daemon(t, haproxy.Config{MasterSocket: socket}).Check(t.Context(), set); err != nil {
		t.Error(err)
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, tc := range []struct {
		config   haproxy.Config
		mentions string
	}{
		{haproxy.Config{}, "exactly one"},
		{haproxy.Config{MasterSocket: "/a", PIDFile: "/b"}, "exactly one"},
		{haproxy.Config{MasterSocket: "a"}, "master_socket"},
		{haproxy.Config{PIDFile: "a"}, "pid_file"},
		{haproxy.Config{PIDFile: "/a", Timeout: "x"}, "timeout"},
	} {
		if _, err := tc.config.Daemon(hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), tc.mentions) {
			t.Errorf("%+v: error %v, want %q", tc.config, err, tc.mentions)
		}
	}
}
