package render

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// disk is where a file lies: on all of it, or in one folder that no link leads
// out of, whenever it is bent.
type disk interface {
	Lstat(path string) (fs.FileInfo, error)
	Stat(path string) (fs.FileInfo, error)
	ReadFile(path string) ([]byte, error)
	MkdirAll(path string, perm fs.FileMode) error
	OpenFile(path string, flag int, perm fs.FileMode) (*os.File, error)
	Remove(path string) error
	Rename(from, to string) error
	Close() error
}

// diskOf opens the disk for what may lie within a folder alone; "" is anywhere.
func diskOf(folder string) (disk, error) {
	if folder == "" {
		return all{}, nil
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, hint.Wrap(err, "sandbox_path has to be there")
	}
	return walled{root, folder}, nil
}

type all struct{}

func (all) Lstat(path string) (fs.FileInfo, error)       { return os.Lstat(path) }
func (all) Stat(path string) (fs.FileInfo, error)        { return os.Stat(path) }
func (all) ReadFile(path string) ([]byte, error)         { return os.ReadFile(path) }
func (all) MkdirAll(path string, perm fs.FileMode) error { return os.MkdirAll(path, perm) }
func (all) Remove(path string) error                     { return os.Remove(path) }
func (all) Rename(from, to string) error                 { return os.Rename(from, to) }
func (all) Close() error                                 { return nil }
func (all) OpenFile(path string, flag int, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(path, flag, perm)
}

// walled is a folder. Its root refuses every name that leads out of it.
type walled struct {
	root   *os.Root
	folder string
}

// name is a path as the root knows it.
func (w walled) name(path string) string {
	name, err := filepath.Rel(w.folder, path)
	if err != nil {
		return path // which leads out
	}
	return name
}

func (w walled) Lstat(path string) (fs.FileInfo, error) { return w.root.Lstat(w.name(path)) }
func (w walled) Stat(path string) (fs.FileInfo, error)  { return w.root.Stat(w.name(path)) }
func (w walled) ReadFile(path string) ([]byte, error)   { return w.root.ReadFile(w.name(path)) }
func (w walled) Remove(path string) error               { return w.root.Remove(w.name(path)) }
func (w walled) Rename(from, to string) error           { return w.root.Rename(w.name(from), w.name(to)) }
func (w walled) Close() error                           { return w.root.Close() }
func (w walled) MkdirAll(path string, perm fs.FileMode) error {
	return w.root.MkdirAll(w.name(path), perm)
}

func (w walled) OpenFile(path string, flag int, perm fs.FileMode) (*os.File, error) {
	return w.root.OpenFile(w.name(path), flag, perm)
}
