package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// lockedBuffer may be written to and read at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// listensAsSystemd opens a notification socket, as systemd does, and keeps what is said.
func listensAsSystemd(t *testing.T) *lockedBuffer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	said := &lockedBuffer{}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := socket.Read(buf)
			if err != nil {
				return
			}
			_, _ = said.Write(append(buf[:n:n], []byte("\n\n")...))
		}
	}()
	t.Setenv("NOTIFY_SOCKET", path)
	return said
}

// TestNotifiesSystemd runs the daemon with a notification socket and reads what it
// says over its life.
func TestNotifiesSystemd(t *testing.T) {
	said, dir := listensAsSystemd(t), t.TempDir()
	t.Setenv("WATCHDOG_USEC", "40000")
	t.Setenv("WATCHDOG_PID", "")
	config := servertest.File(t, filepath.Join(dir, "c.hcl"), `
state_dir = "state"
file {
  path = "state.yaml"
}
target "exec" "a" {
  template {
    contents    = "{{ key \"k\" }}"
    destination = "out"
  }
  command = ["true"]
}
`, 0o600)
	state := filepath.Join(dir, "state.yaml")
	servertest.File(t, state, "{}", 0o600)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log lockedBuffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"run", "-config", config}, stdio{in: os.Stdin, out: &log, err: &log})
	}()
	hears := func(text string) {
		t.Helper()
		servertest.Eventually(t, "systemd hears "+text, func() error {
			if !strings.Contains(said.String(), text) {
				return fmt.Errorf("it heard:\n%s\nthe log:\n%s", said.String(), log.String())
			}
			return nil
		})
	}
	hears("READY=1\nSTATUS=0 of 1 targets in sync")
	hears("STATUS=0 of 1 targets in sync; exec.a waits for key k: absent since ")
	hears("WATCHDOG=1")
	servertest.File(t, state+".new", "kv: {k: v}", 0o600)
	if err := os.Rename(state+".new", state); err != nil {
		t.Fatal(err)
	}
	hears("STATUS=1 of 1 targets in sync")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	hears("RELOADING=1\nMONOTONIC_USEC=")
	servertest.Eventually(t, "the config is taken up", func() error {
		if !strings.Contains(log.String(), "config taken up") {
			return errors.New(log.String())
		}
		return nil
	})
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hears("STOPPING=1")
	if c := <-code; c != exitDone {
		t.Errorf("exit code %d:\n%s", c, log.String())
	}
}

// With -files-first systemd hears that pgbaton is ready once the files are in place,
// and not before; whether the daemon follows does not count, for it may come after.
func TestReadyOnceFilesAreInPlace(t *testing.T) {
	for name, c := range map[string]struct{ limit, state, log string }{
		"when they are":  {"1h", "kv: {k: v}", "the files are in place, but the daemon does not follow"},
		"at the latest":  {"50ms", "{}", "ready, but files are as they were before: targets=exec.a"},
		"one is frozen":  {"1h", "{}", "frozen: nothing is changed"},
		"without a wait": {"0", "{}", "running"},
	} {
		t.Run(name, func(t *testing.T) {
			said, dir := listensAsSystemd(t), t.TempDir()
			config := servertest.File(t, filepath.Join(dir, "c.hcl"), `
state_dir = "state"
file {
  path = "state.yaml"
}
target "exec" "a" {
  template {
    contents    = "{{ key \"k\" }}"
    destination = "out"
  }
  command = ["false"]
}
`, 0o600)
			state := servertest.File(t, filepath.Join(dir, "state.yaml"), "{}", 0o600)
			if name == "one is frozen" {
				if code, _, stderr := try(t, "freeze", "-config", config); code != exitDone {
					t.Fatalf("exit code %d: %s", code, stderr)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			var log lockedBuffer
			ended := make(chan int, 1)
			go func() {
				ended <- run(ctx, []string{"run", "-config", config, "-files-first", c.limit}, stdio{in: os.Stdin, out: &log, err: &log})
			}()
			defer func() { cancel(); <-ended }()
			if c.state != "{}" {
				servertest.Eventually(t, "systemd hears what it waits for", func() error {
					if text := said.String(); !strings.Contains(text, "waits for key k") {
						return errors.New(text)
					}
					return nil
				})
				if text := said.String(); strings.Contains(text, "READY=1") {
					t.Errorf("systemd heard that it is ready before the file was there:\n%s", text)
				}
				servertest.File(t, state+".new", c.state, 0o600)
				if err := os.Rename(state+".new", state); err != nil {
					t.Fatal(err)
				}
			}
			servertest.Eventually(t, "systemd hears that it is ready", func() error {
				if text := said.String(); !strings.Contains(text, "READY=1") {
					return errors.New(text + log.String())
				}
				return nil
			})
			if _, err := os.Stat(filepath.Join(dir, "out")); (err == nil) != (c.state != "{}") {
				t.Errorf("when it was ready, its file: %v", err)
			}
			if !strings.Contains(log.String(), c.log) {
				t.Errorf("the log has no %q:\n%s", c.log, log.String())
			}
		})
	}
}
