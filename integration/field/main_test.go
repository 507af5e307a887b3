package field

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// binary is the pgbaton under test, with the race detector in it.
var binary string

// inside is set where the tests run.
const inside = "PGBATON_FIELD_INSIDE"

// TestMain runs the tests in network and mount namespaces of their own: what
// they do to addresses and lines is seen by nobody else.
func TestMain(m *testing.M) {
	if os.Getenv(inside) == "" {
		os.Exit(again())
	}
	os.Exit(run(m))
}

// again runs this test binary once more, in namespaces of its own.
func again() int {
	runtime.LockOSThread() // the kernel ends the child with the thread that started it
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		fmt.Fprintf(os.Stderr, "run the tests in namespaces of their own, which takes root: %v\n", err)
	}
	if err != nil {
		return 1
	}
	return 0
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pgbaton-bin-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = os.Chmod(dir, 0o755) // it runs as the user postgres
	}
	if err == nil {
		err = os.MkdirAll("/run/netns", 0o755)
	}
	if err == nil {
		err = syscall.Mount("tmpfs", "/run/netns", "tmpfs", 0, "") // so that names are ours too
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "pgbaton")
	for _, args := range [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"go", "build", "-race", "-o", binary, "../../cmd/pgbaton"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v: %v\n%s", args, err, out)
			return 1
		}
	}
	return m.Run()
}
