package proc_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgbaton/pgbaton/internal/proc"
)

// coresOf is how large core files of a program may be, in the words of its shell.
const coresOf = "ulimit -c"

// Our own memory goes into no core file, and neither does a check's. What else we
// run keeps the limit that we were started with.
func TestNoCore(t *testing.T) {
	if os.Getenv("PGBATON_TEST_CORE") == "" {
		// In a process of its own: the limit is a process's.
		cmd := exec.Command("sh", "-c", `ulimit -c 8 && exec "$0" -test.run="^TestNoCore$" -test.v`, os.Args[0])
		cmd.Env = append(os.Environ(), "PGBATON_TEST_CORE=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestNoCore") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	for range 2 { // a second time changes nothing
		if err := proc.NoCore(); err != nil {
			t.Fatal(err)
		}
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil || limit.Cur != 1 {
		t.Errorf("our limit is %+v, %v", limit, err)
	}
	run := func(c proc.Command) string {
		t.Helper()
		c.Args = sh(coresOf)
		out, err := proc.Run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	if have := run(proc.Command{Confined: &proc.Confinement{}}); have != "0" { // a byte is no block
		t.Errorf("a check's limit is %s", have)
	}
	if have := run(proc.Command{}); have != "8" {
		t.Errorf("a command's limit is %s, want 8", have)
	}
	out := filepath.Join(t.TempDir(), "out")
	c := child(t, &proc.Child{Args: []string{"/bin/sh", "-c", coresOf + ` >"$0"`, out}})
	if err := <-c.Ended(); err != nil {
		t.Fatal(err)
	}
	if have := strings.Join(told(t, out, 1), ""); have != "8" {
		t.Errorf("a child's limit is %s, want 8", have)
	}
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil || limit.Cur != 1 {
		t.Errorf("afterwards our limit is %+v, %v", limit, err)
	}
}

// A process that dies by a signal leaves its memory behind, if it may.
func TestNoCoreFile(t *testing.T) {
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("PGBATON_TEST_CORE") == "die" {
		if os.Getenv("PGBATON_TEST_LIMIT") != "" {
			if err := proc.NoCore(); err != nil {
				t.Fatal(err)
			}
		}
		_ = unix.Kill(os.Getpid(), unix.SIGQUIT)
		<-t.Context().Done() // it does not get so far
	}
	for _, limited := range []bool{false, true} {
		dir := t.TempDir()
		cmd := exec.Command("sh", "-c", `ulimit -c unlimited && exec "$0" -test.run="^TestNoCoreFile$"`, os.Args[0])
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PGBATON_TEST_CORE=die", "GOTRACEBACK=crash")
		if limited {
			cmd.Env = append(cmd.Env, "PGBATON_TEST_LIMIT=1")
		}
		err := cmd.Run()
		var left []string
		if entries, readErr := os.ReadDir(dir); readErr == nil {
			for _, e := range entries {
				left = append(left, e.Name())
			}
		}
		switch name := strings.TrimSpace(string(pattern)); {
		case err == nil:
			t.Error("it did not die")
		case limited && len(left) > 0:
			t.Errorf("it left %v", left)
		case !limited && len(left) == 0 && strings.HasPrefix(name, "core"):
			t.Errorf("without the limit there is no core file either (core_pattern %s): this test would show nothing", name)
		}
	}
}
