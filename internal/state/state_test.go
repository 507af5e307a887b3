package state_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pgbaton/pgbaton/internal/state"
)

func TestFolder(t *testing.T) {
	f := state.Folder{Dir: filepath.Join(t.TempDir(), "state")}
	var got string
	if found, err := f.Load("a", &got); found || err != nil {
		t.Errorf("without a folder: found %v, error %v", found, err)
	}
	for name, write := range map[string]func(string, any) error{"saved": f.Save, "written": f.Write} {
		for _, value := range []string{"one", "two"} {
			if err := write(name, value); err != nil {
				t.Fatal(err)
			}
			if found, err := f.Load(name, &got); !found || err != nil || got != value {
				t.Errorf("%s: found %v, %q, error %v", name, found, got, err)
			}
		}
		info, err := os.Stat(filepath.Join(f.Dir, name+".json"))
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, error %v", name, info.Mode(), err)
		}
		if err := f.Sync(name); err != nil {
			t.Error(err)
		}
	}
	if names, err := f.Names(""); err != nil || len(names) != 2 {
		t.Errorf("names %v, error %v", names, err)
	}
	entries, err := os.ReadDir(f.Dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("the folder holds %v, error %v", entries, err)
	}
	if err := f.Remove("saved"); err != nil || f.Has("saved") {
		t.Errorf("removed: error %v, still there %v", err, f.Has("saved"))
	}
	if err := f.Sync("saved"); err != nil {
		t.Errorf("nothing there: %v", err)
	}
}

// TestLinksAreNotFollowed: what root writes must not end up where somebody's link
// leads.
func TestLinksAreNotFollowed(t *testing.T) {
	f := state.Folder{Dir: filepath.Join(t.TempDir(), "state")}
	if err := f.Make(); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(elsewhere, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, trap := range []string{"a.json", ".a.pgbaton"} {
		if err := os.Symlink(elsewhere, filepath.Join(f.Dir, trap)); err != nil {
			t.Fatal(err)
		}
	}
	var got string
	if err := f.Save("a", "new"); err != nil {
		t.Fatal(err)
	}
	if found, err := f.Load("a", &got); !found || err != nil || got != "new" {
		t.Errorf("found %v, %q, error %v", found, got, err)
	}
	if content, err := os.ReadFile(elsewhere); err != nil || string(content) != "kept" {
		t.Errorf("elsewhere is %q, error %v", content, err)
	}
}

func TestLocked(t *testing.T) {
	f := state.Folder{Dir: filepath.Join(t.TempDir(), "state")}
	is := func(want bool) {
		t.Helper()
		if locked, err := f.Locked("a"); locked != want || err != nil {
			t.Errorf("locked %v, error %v", locked, err)
		}
	}
	is(false)
	lock, err := f.Lock("a")
	if err != nil {
		t.Fatal(err)
	}
	is(true)
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	is(false)
}
