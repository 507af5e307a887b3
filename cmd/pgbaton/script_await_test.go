package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// awaits FILE TEXT waits until a file holds a text.
func awaits(ts *testscript.TestScript, _ bool, args []string) {
	path, want := ts.MkAbs(args[0]), strings.Join(args[1:], " ")
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if content, err := os.ReadFile(path); err == nil && strings.Contains(string(content), want) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	content, err := os.ReadFile(path)
	ts.Fatalf("%s does not hold %q after a minute: %v\n%s", args[0], want, err, content)
}

// signals NAME PIDFILE sends a signal to the process that wrote a PID file.
func signals(ts *testscript.TestScript, _ bool, args []string) {
	sig := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "USR2": syscall.SIGUSR2}[args[0]]
	content, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, sig))
}
