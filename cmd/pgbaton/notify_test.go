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

// TestNotifiesSystemd runs the daemon with a notification socket, as systemd
// does, and reads what it says over its life.
func TestNotifiesSystemd(t *testing.T) {
	dir := t.TempDir()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	var said lockedBuffer
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
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
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
