// Package state keeps what must outlive the process: small files in a folder
// of their own, written whole or not at all, readable by pgbaton's user alone.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
)

// Folder is the state folder.
type Folder struct {
	Dir  string
	Open bool // it lies in a closed one: its files are for every user who may enter that, and it belongs to whoever has that
}

// Load reads the file of a name into v. It says whether there is one.
func (f Folder) Load(name string, v any) (found bool, err error) {
	content, err := os.ReadFile(f.Path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(content, v)
	}
	if err != nil {
		return false, fmt.Errorf("read state of %s: %w", name, err)
	}
	return true, nil
}

// Save writes the file of a name, and returns when the disk has it.
func (f Folder) Save(name string, v any) error {
	err := f.put(name, v, (*os.File).Sync)
	if err == nil {
		err = f.Sync(name)
	}
	if err != nil {
		return fmt.Errorf("save state of %s: %w", name, err)
	}
	return nil
}

// Write writes the file of a name, and does not wait for the disk: every other
// process sees it when Write returns, also after a kill of this one, but it may
// not outlive the machine until Sync returns.
func (f Folder) Write(name string, v any) error {
	if err := f.put(name, v, func(*os.File) error { return nil }); err != nil {
		return fmt.Errorf("write state of %s: %w", name, err)
	}
	return nil
}

// put swaps a file in. It follows no link that somebody left in the folder: what
// root writes there must not end up elsewhere.
func (f Folder) put(name string, v any, sync func(*os.File) error) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := f.Make(); err != nil {
		return err
	}
	temp := filepath.Join(f.Dir, "."+name+".pgbaton")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode(0o600, 0o644))
	if err != nil {
		return err
	}
	_, err = file.Write(append(content, '\n'))
	if err == nil {
		err = sync(file)
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(temp, f.Path(name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// Sync returns when the disk has what was last written or removed of a name.
func (f Folder) Sync(name string) error {
	for _, path := range []string{f.Path(name), f.Dir} {
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = errors.Join(file.Sync(), file.Close())
		}
		if err != nil {
			return fmt.Errorf("sync state of %s: %w", name, err)
		}
	}
	return nil
}

// Has says whether there is a file of a name.
func (f Folder) Has(name string) bool {
	_, err := os.Lstat(f.Path(name))
	return err == nil
}

// Rename gives the file of a name another one.
func (f Folder) Rename(from, to string) error {
	if err := os.Rename(f.Path(from), f.Path(to)); err != nil {
		return fmt.Errorf("rename state of %s: %w", from, err)
	}
	return nil
}

// Remove removes the file of a name; that there is none is no error.
func (f Folder) Remove(name string) error {
	if err := os.Remove(f.Path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove state of %s: %w", name, err)
	}
	return nil
}

// Names lists the files whose names begin with prefix, without it.
func (f Folder) Names(prefix string) ([]string, error) {
	entries, err := os.ReadDir(f.Dir) // sorted
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read state folder: %w", err)
	}
	var names []string
	for _, e := range entries {
		name, is := strings.CutSuffix(e.Name(), ext)
		if name, begins := strings.CutPrefix(name, prefix); is && begins && !e.IsDir() {
			names = append(names, name)
		}
	}
	return names, nil
}

// Locked says whether some process has a name, and leaves no trace.
func (f Folder) Locked(name string) (bool, error) {
	file, err := os.Open(filepath.Join(f.Dir, name+".lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a lock of %s: %w", name, err)
	}
	defer func() { _ = file.Close() }()
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	return errors.Is(err, syscall.EWOULDBLOCK), nil
}

// ErrLocked is in the chain of Lock's error if another process has the name.
var ErrLocked = errors.New("another pgbaton has it")

// Lock takes a name for this process, until the returned file is closed.
func (f Folder) Lock(name string) (*os.File, error) {
	if err := f.Make(); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(f.Dir, name+".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, explain.Mark(hint.Wrap(fmt.Errorf("lock target: %w", err), "set state_dir to a folder that pgbaton may write"), explain.Locked)
	}
	switch err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err := hint.Wrap(fmt.Errorf("lock target %s: %w", name, ErrLocked), "stop the other one, or give this one a state_dir of its own")
		return nil, errors.Join(explain.Mark(err, explain.Locked), file.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock target %s: %w", name, err), file.Close())
	}
	return file, nil
}

// Make makes the folder, closed to others unless it is Open; those above it, if
// they are missing, are as packages make them.
func (f Folder) Make() error {
	err := os.MkdirAll(filepath.Dir(f.Dir), f.mode(0o755, 0o700))
	if err == nil {
		err = os.Mkdir(f.Dir, f.mode(0o700, 0o755))
	}
	if err == nil && f.Open {
		err = f.give()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return explain.Mark(hint.Wrap(fmt.Errorf("make state folder: %w", err), "set state_dir to a folder that pgbaton may write"), explain.Locked)
	}
	return nil
}

// give gives a folder that root made to whoever has the one above it. It is one by
// its handle: whoever has that can't put something else in its place.
func (f Folder) give() error {
	made, err := os.OpenFile(f.Dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = made.Close() }()
	above, err := os.Stat(filepath.Dir(f.Dir))
	if err != nil {
		return err
	}
	if owner := above.Sys().(*syscall.Stat_t); os.Geteuid() == 0 && owner.Uid != 0 {
		return made.Chown(int(owner.Uid), int(owner.Gid))
	}
	return nil
}

// mode chooses by whether the folder is Open.
func (f Folder) mode(closed, open fs.FileMode) fs.FileMode {
	if f.Open {
		return open
	}
	return closed
}

const ext = ".json"

// Path is where the file of a name is.
func (f Folder) Path(name string) string { return filepath.Join(f.Dir, name+ext) }
