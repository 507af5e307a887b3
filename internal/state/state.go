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

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/render"
)

// Folder is the state folder.
type Folder struct{ Dir string }

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
	content, err := f.prepare(v)
	if err != nil {
		return err
	}
	perms := fs.FileMode(0o600)
	d := render.Destination{Path: f.Path(name), Perms: &perms}
	if uid, gid, other := f.owner(); other {
		d.User, d.Group = &uid, &gid
	}
	set, err := render.Stage([]render.File{{Destination: d, Content: content}})
	if err == nil {
		if err = set.Rename(); err == nil {
			err = set.Sync()
		}
		set.Discard()
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
	content, err := f.prepare(v)
	if err != nil {
		return err
	}
	temp := filepath.Join(f.Dir, "."+name+".written")
	err = os.WriteFile(temp, content, 0o600)
	if uid, gid, other := f.owner(); other && err == nil {
		err = os.Lchown(temp, uid, gid)
	}
	if err == nil {
		err = os.Rename(temp, f.Path(name))
	}
	if err != nil {
		return fmt.Errorf("write state of %s: %w", name, err)
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

// prepare makes the folder, and what a file is to hold.
func (f Folder) prepare(v any) ([]byte, error) {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(content, '\n'), f.make()
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

// ErrLocked is in the chain of Lock's error if another process has the name.
var ErrLocked = errors.New("another pgbaton has it")

// Lock takes a name for this process, until the returned file is closed.
func (f Folder) Lock(name string) (*os.File, error) {
	if err := f.make(); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(f.Dir, name+".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("lock target: %w", err), "set state_dir to a folder that pgbaton may write")
	}
	switch err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, errors.Join(hint.Wrap(fmt.Errorf("lock target %s: %w", name, ErrLocked),
			"stop the other one, or give this one a state_dir of its own"), file.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock target %s: %w", name, err), file.Close())
	}
	return file, nil
}

// make makes the folder, closed to others; those above it, if they are
// missing, are as packages make them. Below another's folder it is the other's.
func (f Folder) make() error {
	above := Folder{filepath.Dir(f.Dir)}
	err := os.MkdirAll(above.Dir, 0o755) //nolint:gosec // not ours alone
	if err == nil {
		err = os.Mkdir(f.Dir, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if uid, gid, other := above.owner(); other && err == nil {
		err = os.Chown(f.Dir, uid, gid)
	}
	if err != nil {
		return hint.Wrap(fmt.Errorf("make state folder: %w", err), "set state_dir to a folder that pgbaton may write")
	}
	return nil
}

// owner is whose folder it is, if that is another user and we are root: what an
// operator writes there is for a daemon to read.
func (f Folder) owner() (uid, gid int, other bool) {
	info, err := os.Stat(f.Dir)
	if err != nil || os.Geteuid() != 0 {
		return 0, 0, false
	}
	stat := info.Sys().(*syscall.Stat_t)
	return int(stat.Uid), int(stat.Gid), stat.Uid != 0
}

const ext = ".json"

// Path is where the file of a name is.
func (f Folder) Path(name string) string { return filepath.Join(f.Dir, name+ext) }
