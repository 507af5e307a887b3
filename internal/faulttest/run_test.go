//go:build amd64

package faulttest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pgbaton/pgbaton/internal/faulttest"
)

// move runs mv on a file and says which of both names is there then.
func move(t *testing.T, before func(n int, c faulttest.Call) faulttest.Fault) (faulttest.Result, []string) {
	t.Helper()
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("mv", from, "to")
	cmd.Dir = dir
	res, err := faulttest.Run(cmd, before)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(res.Calls, func(c faulttest.Call) bool { return c.Name == "renameat" })
	if i < 0 || res.Calls[i].Path != from || res.Calls[i].To != to {
		t.Fatalf("calls %v, wanted the rename of %s to %s", res.Calls, from, to)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return res, names
}

func TestRun(t *testing.T) {
	none := func(int, faulttest.Call) faulttest.Fault { return faulttest.Fault{} }
	atRename := func(f faulttest.Fault) func(int, faulttest.Call) faulttest.Fault {
		return func(_ int, c faulttest.Call) faulttest.Fault {
			if c.Name == "renameat" {
				return f
			}
			return faulttest.Fault{}
		}
	}
	if res, names := move(t, none); res.Status.ExitStatus() != 0 || !slices.Equal(names, []string{"to"}) || len(res.Hit) > 0 {
		t.Errorf("without a fault: %+v, %v", res, names)
	}
	if res, names := move(t, atRename(faulttest.Fault{Kill: true})); res.Status.Signal() != syscall.SIGKILL || !slices.Equal(names, []string{"from"}) || len(res.Hit) != 1 {
		t.Errorf("killed: %+v, %v", res, names)
	}
	res, names := move(t, atRename(faulttest.Fault{Errno: syscall.EROFS}))
	if res.Status.ExitStatus() != 1 || !slices.Equal(names, []string{"from"}) || !strings.Contains(res.Output, "Read-only file system") {
		t.Errorf("a call that fails: %+v, %v", res, names)
	}
}
