package render_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pgbaton/pgbaton/render"
)

// A backup has what was there, and is not readable wider than what is there now.
func TestBackupIsNoWider(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, step := range []struct{ mode, old os.FileMode }{{0o644, 0}, {0o600, 0o600}, {0o640, 0o600}} {
		if err := put(t, render.File{Destination: render.Destination{Path: path, Perms: mode(step.mode), Backup: true}, Content: []byte(step.mode.String())}); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != step.mode {
			t.Errorf("the file is %v, %v, want %v", info.Mode(), err, step.mode)
		}
		info, err := os.Stat(path + ".bak")
		if step.old == 0 {
			if err == nil {
				t.Error("a backup of nothing")
			}
			continue
		}
		if err != nil || info.Mode() != step.old {
			t.Errorf("beside %v, the backup is %v, %v, want %v", step.mode, info, err, step.old)
		}
	}
	if have := read(t, path+".bak"); have != os.FileMode(0o600).String() {
		t.Errorf("the backup holds %q", have)
	}
}
