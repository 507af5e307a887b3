//go:build amd64

package chaos

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/faulttest"
)

// TestPowerLoss ends the machine at each of those calls: pgbaton is killed there,
// and what it did not sync before is undone, or left, as a disk may have it.
// The daemon starts anew, on the files that are left.
func TestPowerLoss(t *testing.T) {
	ways := map[string]func(i int) bool{
		"all of it is gone":        func(int) bool { return true },
		"the later half is gone":   func(i int) bool { return i%2 == 1 },
		"the earlier half is gone": func(i int) bool { return i%2 == 0 },
	}
	for way, gone := range ways {
		t.Run(way, func(t *testing.T) {
			s, undone := scriptStand(t), 0
			var before map[string]image
			s.arm = func() { before = snapshot(t, s.dir) }
			s.lost = func(calls []faulttest.Call) {
				for i, l := range unsynced(calls) {
					if strings.HasPrefix(l.path, s.dir) && gone(i) {
						undo(t, l, before)
						undone++
					}
				}
				s.boot(t)
			}
			losses := 0
			for range rounds(t) {
				losses += s.walk(t, func(int) faulttest.Fault { return faulttest.Fault{Kill: true} })
			}
			if undone == 0 {
				t.Error("nothing was ever undone")
			}
			t.Logf("injected %d times, and undid %d files", losses, undone)
		})
	}
}

// loss is what a power loss may take of a path.
type loss struct {
	path string
	torn bool // its content was never synced: the name may be there without it
}

// unsynced are the losses that are possible after calls, in the order in which the
// paths were last changed. The last call was not made.
func unsynced(calls []faulttest.Call) (losses []loss) {
	written := map[string]bool{} // by path: its content is not synced
	drop := func(is func(l loss) bool) { losses = slices.DeleteFunc(losses, is) }
	dirty := func(l loss) {
		drop(func(old loss) bool { return old.path == l.path })
		losses = append(losses, l)
	}
	for _, c := range calls[:len(calls)-1] {
		switch c.Name {
		case "openat", "write":
			written[c.Path] = c.Name == "write" || written[c.Path]
			dirty(loss{path: c.Path})
		case "unlinkat", "mkdirat":
			dirty(loss{path: c.Path})
		case "renameat":
			drop(func(l loss) bool { return l.path == c.Path })
			dirty(loss{path: c.To, torn: written[c.Path]})
			delete(written, c.Path)
		case "fsync":
			delete(written, c.Path)
			// Of a folder: the names in it.
			drop(func(l loss) bool { return !l.torn && filepath.Dir(l.path) == c.Path })
		}
	}
	return losses
}

// snapshot reads all regular files below a folder.
func snapshot(t *testing.T, dir string) map[string]image {
	t.Helper()
	files := map[string]image{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files[path], err = read(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// undo gives a path what it was before: its file, or none. A torn one is empty.
func undo(t *testing.T, l loss, before map[string]image) {
	t.Helper()
	path := l.path
	old, was := before[path]
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		return // it was there before
	case err == nil && l.torn:
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		return
	case !was:
		_ = os.Remove(path)
		return
	}
	if err := os.WriteFile(path+".undone", []byte(old.content), old.mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path+".undone", int(old.stat.Uid), int(old.stat.Gid)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".undone", path); err != nil {
		t.Fatal(err)
	}
}
