package servertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Main builds pgbaton, says where it is, and runs a package's tests; it returns
// their exit status. Every user may run the program. flags are those of go build.
func Main(m *testing.M, program *string, flags ...string) int {
	dir, err := os.MkdirTemp("", "pgbaton-bin-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = os.Chmod(dir, 0o755) //nolint:gosec // it runs as the user postgres
	}
	if err == nil {
		*program = filepath.Join(dir, "pgbaton")
		err = Build(*program, flags...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Build builds pgbaton at a path. flags are those of go build.
func Build(path string, flags ...string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	build := exec.Command("go", append(append([]string{"build"}, flags...), "-o", path, "./cmd/pgbaton")...)
	build.Dir = root
	if !slices.Contains(flags, "-race") { // which needs cgo
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build pgbaton: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// ModuleRoot is the folder of pgbaton's go.mod.
func ModuleRoot(t testing.TB) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("no go.mod above %s", dir)
		}
	}
}
