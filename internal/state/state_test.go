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
