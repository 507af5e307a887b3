package render_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/render"
)

func mode(m fs.FileMode) *fs.FileMode { return &m }

func put(t *testing.T, files ...render.File) error {
	t.Helper()
	set, err := render.Stage(files)
	if err != nil {
		return err
	}
	defer set.Discard()
	if err := set.Rename(); err != nil {
		return err
	}
	return set.Sync()
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// left fails the test if a folder holds anything but what is named.
func left(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	if strings.Join(have, " ") != strings.Join(want, " ") {
		t.Errorf("the folder holds %v, want %v", have, want)
	}
}

func TestCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	f := render.File{Destination: render.Destination{Path: path, Perms: mode(0o640), Backup: true}, Content: []byte("one")}
	if err := put(t, f); err != nil {
		t.Fatal(err)
	}
	left(t, dir, "f") // nothing to back up yet
	f.Content = []byte("two")
	if err := put(t, f); err != nil {
		t.Fatal(err)
	}
	left(t, dir, "f", "f.bak")
	if read(t, path) != "two" || read(t, path+".bak") != "one" {
		t.Errorf("file %q, backup %q", read(t, path), read(t, path+".bak"))
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}
}

func TestStagedIsNeverReadableWider(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = 65534, 65534
	}
	set, err := render.Stage([]render.File{{
		Destination: render.Destination{Path: path, Perms: mode(0o400), User: &uid, Group: &gid}, Content: []byte("secret"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Discard()
	info, err := os.Stat(set.Files[0].Temp)
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); info.Mode() != 0o400 || int(stat.Uid) != uid || int(stat.Gid) != gid {
		t.Errorf("staged as %v of %d:%d", info.Mode(), stat.Uid, stat.Gid)
	}
	if filepath.Dir(set.Files[0].Temp) != dir {
		t.Errorf("staged in %s, not beside its destination", set.Files[0].Temp)
	}
	set.Discard()
	left(t, dir)
}

// TestSetgidFolder asks for one group in a folder that gives files another.
func TestSetgidFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chown(dir, 0, 65534); err != nil {
		t.Fatalf("give a folder a group: %v (run the tests as root, with `make test`)", err)
	}
	if err := os.Chmod(dir, 0o755|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	uid, gid := 0, 0
	f := render.File{Destination: render.Destination{Path: filepath.Join(dir, "f"), Perms: mode(0o640), User: &uid, Group: &gid}, Content: []byte("secret")}
	if err := put(t, f); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); stat.Gid != 0 {
		t.Errorf("the group is %d", stat.Gid)
	}
	if set, err := render.Stage([]render.File{f}); err != nil || set.Changed() {
		t.Errorf("the same again: %v, changed %v", err, set.Changed())
	}
}

func TestUnchangedIsNotTouched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f := render.File{Destination: render.Destination{Path: path, Perms: mode(0o600)}, Content: []byte("x")}
	if err := put(t, f); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(path)
	set, err := render.Stage([]render.File{f})
	if err != nil || set.Changed() || set.Files[0].Lies() != path {
		t.Errorf("the same file again: %v, changed %v", err, set.Changed())
	}
	if err := put(t, f); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(path); !os.SameFile(before, after) {
		t.Error("the same file was written again")
	}
	// A mode that drifted is put right.
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := put(t, f); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode() != 0o600 {
		t.Errorf("mode stays %v", info.Mode())
	}
}

func TestModeAndOwnerAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("old"), 0o604); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	if err := put(t, render.File{Destination: render.Destination{Path: path}, Content: []byte("new")}); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode() != 0o604 {
		t.Errorf("mode became %v", info.Mode())
	}
}

func TestSymlinksAreFollowed(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"real", "etc"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "etc", "f")
	for to, real := range map[string]string{
		"../real/there": "real/there", "../real/dangling": "real/dangling",
	} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
		if to == "../real/there" {
			if err := os.WriteFile(filepath.Join(dir, real), []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := put(t, render.File{Destination: render.Destination{Path: link}, Content: []byte("new")}); err != nil {
			t.Fatal(err)
		}
		if have, err := os.Readlink(link); err != nil || have != to {
			t.Errorf("the link became %q, %v", have, err)
		}
		if read(t, filepath.Join(dir, real)) != "new" {
			t.Errorf("%s was not written", real)
		}
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRollForward(t *testing.T) {
	dir := t.TempDir()
	files := make([]render.File, 2)
	for i, name := range []string{"a", "b"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		files[i] = render.File{Destination: render.Destination{Path: path}, Content: []byte("new " + name)}
	}
	set, err := render.Stage(files)
	if err != nil {
		t.Fatal(err)
	}
	pending := set.Pending()
	// Killed after the first of two renames.
	if err := os.Rename(set.Files[0].Temp, set.Files[0].Real); err != nil {
		t.Fatal(err)
	}
	if err := render.RollForward(pending); err != nil {
		t.Fatal(err)
	}
	if read(t, files[0].Path) != "new a" || read(t, files[1].Path) != "new b" {
		t.Errorf("rolled forward to %q and %q", read(t, files[0].Path), read(t, files[1].Path))
	}
	left(t, dir, "a", "b")
	// What was staged and is not whole is thrown away.
	if err := os.WriteFile(set.Files[0].Temp, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := render.RollForward(pending); err != nil {
		t.Fatal(err)
	}
	if read(t, files[0].Path) != "new a" {
		t.Errorf("a broken staged file was swapped in: %q", read(t, files[0].Path))
	}
	left(t, dir, "a", "b")
}

func TestBadDestinations(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	if err := os.WriteFile(good, []byte("last good"), 0o600); err != nil {
		t.Fatal(err)
	}
	full, readOnly := mounted(t, "size=64k"), mounted(t, "size=64k")
	if err := os.WriteFile(filepath.Join(full, "f"), []byte("last good"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(readOnly, "f"), []byte("last good"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", readOnly, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		path string
		size int
		want error
		hint string
	}{
		{"missing folder", filepath.Join(dir, "none", "f"), 1, nil, "create it, or set create_dest_dirs = true"},
		{"a folder", dir, 1, nil, ""},
		{"full disk", filepath.Join(full, "f"), 1 << 20, syscall.ENOSPC, "the disk is full: the last good file stays"},
		{"read-only", filepath.Join(readOnly, "f"), 1, syscall.EROFS, "the file system is mounted read-only: the last good file stays"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := put(t,
				render.File{Destination: render.Destination{Path: good}, Content: []byte("new")},
				render.File{Destination: render.Destination{Path: c.path}, Content: make([]byte, c.size)})
			if err == nil || !strings.Contains(err.Error(), c.path) || hint.Of(err) != c.hint {
				t.Errorf("error %v with hint %q", err, hint.Of(err))
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v in it", err, c.want)
			}
			if read(t, good) != "last good" {
				t.Error("another file of the same set was swapped in")
			}
			if c.want != nil {
				left(t, filepath.Dir(c.path), "f")
				if read(t, c.path) != "last good" {
					t.Error("the last good file is gone")
				}
			}
		})
	}
	left(t, dir, "good")
}

// mounted mounts a small tmpfs for the length of a test.
func mounted(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount a small tmpfs: %v (run the tests as root, with `make test`)", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestMakeDirs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "f")
	if err := put(t, render.File{Destination: render.Destination{Path: path, MakeDirs: true}, Content: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if read(t, path) != "x" {
		t.Error("not written")
	}
}

// TestOwnerThatNobodyAskedFor: a user who may not give a file to its owner of
// before swaps it in all the same, unless another group would read it then.
func TestOwnerThatNobodyAskedFor(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test gives files away: run it as root")
	}
	const nobody = 65534
	for name, tt := range map[string]struct {
		was, want fs.FileMode // want is 0 if nothing was asked for
		refused   bool
	}{
		"closed to groups":      {0o600, 0, false},
		"the mode is asked for": {0o640, 0o640, false},
		"another group's":       {0o640, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			if err := errors.Join(os.WriteFile(path, []byte("old"), tt.was), os.Chown(dir, nobody, nobody), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
				t.Fatal(err)
			}
			f := render.File{Destination: render.Destination{Path: path}, Content: []byte("new")}
			if tt.want != 0 {
				f.Perms = &tt.want
			}
			err := asUser(nobody, func() error { return put(t, f) })
			if tt.refused {
				if !errors.Is(err, fs.ErrPermission) || read(t, path) != "old" {
					t.Errorf("error %v, it holds %q", err, read(t, path))
				}
				return
			}
			info, statErr := os.Stat(path)
			if err != nil || statErr != nil {
				t.Fatal(err, statErr)
			}
			if stat := info.Sys().(*syscall.Stat_t); read(t, path) != "new" || stat.Uid != nobody || stat.Gid != nobody || info.Mode() != tt.was {
				t.Errorf("it holds %q, owner %d:%d, mode %v", read(t, path), stat.Uid, stat.Gid, info.Mode())
			}
		})
	}
}

// asUser calls f with another user's rights, on a thread of its own.
func asUser(id int, f func() error) error {
	out := make(chan error)
	go func() {
		// Not unlocked: the thread ends with the goroutine, and its rights with it.
		runtime.LockOSThread()
		for _, call := range [][4]uintptr{{syscall.SYS_SETGROUPS}, {syscall.SYS_SETRESGID, uintptr(id), uintptr(id), uintptr(id)}, {syscall.SYS_SETRESUID, uintptr(id), uintptr(id), uintptr(id)}} {
			if _, _, errno := syscall.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				out <- errno
				return
			}
		}
		out <- f()
	}()
	return <-out
}

func TestTwoPathsOfOneFile(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	if err := errors.Join(os.WriteFile(one, []byte("old"), 0o600), os.Symlink("one", two)); err != nil {
		t.Fatal(err)
	}
	err := put(t, render.File{Destination: render.Destination{Path: one}, Content: []byte("1")}, render.File{Destination: render.Destination{Path: two}, Content: []byte("2")})
	if err == nil || !strings.Contains(err.Error(), "two: it is the same file as "+one) || read(t, one) != "old" {
		t.Errorf("error %v, it holds %q", err, read(t, one))
	}
	left(t, dir, "one", "two")
}
