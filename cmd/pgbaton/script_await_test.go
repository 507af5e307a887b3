package main

import (
	"os"
	"regexp"
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

// prints PATTERN PROGRAM ARGS… runs a program again and again until a line that it prints
// matches, whatever its exit code.
func prints(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		_ = ts.Exec(args[1], args[2:]...)
		if pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("it did not print %s within a minute", args[0])
}

// repeats FILE PATTERN N waits until so many lines of a file match.
func repeats(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if content, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && len(pattern.FindAll(content, n)) == n {
			return
		}
	}
	ts.Fatalf("%s does not have %s %d times after a minute", args[0], args[1], n)
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
