package proc

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestScratch(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	left, err := Scratch()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	others := filepath.Join(tmp, "other")
	if err := os.Mkdir(others, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(tmp, scratch+"link")
	if err := os.Symlink(others, link); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-2 * stale)
	for _, dir := range []string{left, others} {
		if err := os.Chtimes(dir, long, long); err != nil {
			t.Fatal(err)
		}
	}
	now, err := Scratch()
	if err != nil {
		t.Fatal(err)
	}
	next, err := Scratch()
	if err != nil {
		t.Fatal(err)
	}
	for path, there := range map[string]bool{left: false, others: true, link: true, now: true, next: true} {
		if _, err := os.Lstat(path); (err == nil) != there {
			t.Errorf("%s: %v", path, err)
		}
	}
	if info, err := os.Stat(now); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v: %v", info, err)
	}
}
