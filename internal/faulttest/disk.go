package faulttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Disk is a small file system of its own.
type Disk struct{ Dir string }

// NewDisk mounts one over a folder, until the test ends; it keeps the folder's
// mode and owner. options are those of tmpfs, as "size=64k,nr_inodes=32".
func NewDisk(t testing.TB, dir, options string) Disk {
	t.Helper()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	options += fmt.Sprintf(",mode=%o,uid=%d,gid=%d", info.Mode().Perm(), owner.Uid, owner.Gid)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount a tmpfs on %s: %v", dir, err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return Disk{dir}
}

// ReadOnly makes it read-only, or writable again.
func (d Disk) ReadOnly(t testing.TB, is bool) {
	t.Helper()
	flags := uintptr(syscall.MS_REMOUNT)
	if is {
		flags |= syscall.MS_RDONLY
	}
	if err := syscall.Mount("", d.Dir, "", flags, ""); err != nil {
		t.Fatalf("remount %s: %v", d.Dir, err)
	}
}

// Fill takes all space that is left, and gives it back when it is called.
func (d Disk) Fill(t testing.TB) (free func()) {
	t.Helper()
	path := filepath.Join(d.Dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	// Whole pages: the last of them may be in use by nothing else.
	for page := make([]byte, os.Getpagesize()); err == nil; {
		_, err = f.Write(page)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill %s: %v", d.Dir, err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// FillNames takes all inodes that are left, and gives them back when it is called.
func (d Disk) FillNames(t testing.TB) (free func()) {
	t.Helper()
	var paths []string
	for {
		path := filepath.Join(d.Dir, fmt.Sprintf("filler-%d", len(paths)))
		f, err := os.Create(path)
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil {
			t.Fatalf("fill %s: %v", d.Dir, err)
		}
		_ = f.Close()
		paths = append(paths, path)
	}
	return func() {
		for _, path := range paths {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}
