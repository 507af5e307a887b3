package target

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/render"
)

// recordVersion is raised when an older record can't be understood any more.
const recordVersion = 1

// Record is what of a target must outlive the process.
type Record struct {
	Version  int              `json:"version"`
	Target   string           `json:"target"`
	Paths    []string         `json:"paths"`              // the destinations it speaks of
	Followed string           `json:"followed,omitempty"` // hash
	Mark     reload.Mark      `json:"mark"`
	Pending  []render.Pending `json:"pending,omitempty"` // renames that were begun
}

// Records keeps the records in a folder, one file each, readable by pgbaton's
// user alone.
type Records struct{ Dir string }

// Load reads a target's record. One that is lost, corrupt, or speaks of other
// destinations is as good as none: the daemon is made to follow again.
func (r Records) Load(id string, paths []string) (Record, error) {
	fresh := Record{Version: recordVersion, Target: id, Paths: paths}
	content, err := os.ReadFile(r.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return fresh, fmt.Errorf("read record of %s: %w", id, err)
	}
	var got Record
	if err := json.Unmarshal(content, &got); err != nil {
		return fresh, fmt.Errorf("read record of %s: %w", id, err)
	}
	if got.Version != recordVersion || got.Target != id || !slices.Equal(got.Paths, paths) {
		return fresh, nil
	}
	return got, nil
}

// Save writes a record, whole or not at all.
func (r Records) Save(rec Record) error {
	content, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	if err := r.makeDir(); err != nil {
		return err
	}
	perms := fs.FileMode(0o600)
	set, err := render.Stage([]render.File{{
		Destination: render.Destination{Path: r.path(rec.Target), Perms: &perms},
		Content:     append(content, '\n'),
	}})
	if err == nil {
		if err = set.Rename(); err == nil {
			err = set.Sync()
		}
		set.Discard()
	}
	if err != nil {
		return fmt.Errorf("save record of %s: %w", rec.Target, err)
	}
	return nil
}

// Lock takes the target for this process, until the returned file is closed.
// Two pgbatons that write the same files would undo each other.
func (r Records) Lock(id string) (*os.File, error) {
	if err := r.makeDir(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(r.Dir, id+".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("lock target: %w", err), "set state_dir to a folder that pgbaton may write")
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, errors.Join(hint.Wrap(fmt.Errorf("lock target %s: another pgbaton has it", id),
			"stop the other one, or give this one a state_dir of its own"), f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock target %s: %w", id, err), f.Close())
	}
	return f, nil
}

// makeDir makes the folder, closed to others; those above it, if they are
// missing, are as packages make them.
func (r Records) makeDir() error {
	err := os.MkdirAll(filepath.Dir(r.Dir), 0o755) //nolint:gosec // not ours alone
	if err == nil {
		err = os.Mkdir(r.Dir, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return hint.Wrap(fmt.Errorf("make state folder: %w", err), "set state_dir to a folder that pgbaton may write")
	}
	return nil
}

func (r Records) path(id string) string { return filepath.Join(r.Dir, id+".json") }
