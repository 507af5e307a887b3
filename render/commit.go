package render

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Pending is a rename that was decided on: enough to finish it after a kill.
type Pending struct {
	Real   string `json:"path"`
	SHA256 string `json:"sha256"` // of the staged content
	Within string `json:"within,omitempty"`
}

// Pending lists the renames that Rename will do.
func (s *Set) Pending() []Pending {
	var out []Pending
	for _, f := range s.Files {
		if f.Temp != "" {
			out = append(out, Pending{f.Real, sum(f.Content), f.Within})
		}
	}
	return out
}

// Rename swaps all staged files in. Until Sync they may come back as they were
// after a power loss, whole in either case.
func (s *Set) Rename() error {
	for i := range s.Files {
		f := &s.Files[i]
		if f.Temp == "" {
			continue
		}
		if f.Backup {
			if err := backup(f.Real, f.Mode); err != nil {
				return diagnose("back up "+f.Path, err)
			}
		}
		if err := f.swap(); err != nil {
			return diagnose("swap in "+f.Path, err)
		}
		f.Temp = ""
	}
	return nil
}

func (s *Staged) swap() error {
	d, err := diskOf(s.Within)
	if err != nil {
		return err
	}
	return errors.Join(d.Rename(s.Temp, s.Real), d.Close())
}

// Sync makes what Rename did durable.
func (s *Set) Sync() error {
	done := map[string]bool{}
	for _, f := range s.Files {
		dir := filepath.Dir(f.Real)
		if done[dir] {
			continue
		}
		done[dir] = true
		err := syncPath(dir)
		// Some file systems (FUSE, 9p) have no such thing.
		if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
			return diagnose("sync folder "+dir, err)
		}
	}
	return nil
}

// backup keeps the file that is about to be replaced, by a second link to it:
// it is whole at every instant, as the file itself. It is not readable wider than
// the file to come: who narrows that means the old secrets too.
func backup(real string, mode fs.FileMode) error {
	link := temp(real) + ".bak"
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(real, link); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // nothing there yet
		}
		return err
	}
	info, err := os.Lstat(link)
	if err != nil {
		return err
	}
	if perm := info.Mode().Perm(); perm&^mode != 0 {
		// Somebody else's file stays as he has it.
		if err := os.Chmod(link, perm&mode); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return os.Rename(link, real+".bak")
}

// RollForward finishes renames that a kill interrupted, as far as what was
// staged is still there, whole.
func RollForward(pending []Pending) error {
	var errs []error
	for _, p := range pending {
		if err := p.finish(); err != nil {
			errs = append(errs, fmt.Errorf("roll forward %s: %w", p.Real, err))
		}
	}
	return errors.Join(errs...)
}

func (p Pending) finish() error {
	d, err := diskOf(p.Within)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	from := temp(p.Real)
	content, err := d.ReadFile(from)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // done already
	case err != nil:
		return err
	case sum(content) != p.SHA256:
		return d.Remove(from)
	}
	return errors.Join(d.Rename(from, p.Real), syncPath(filepath.Dir(p.Real)))
}

func sum(content []byte) string {
	h := sha256.Sum256(content)
	return hex.EncodeToString(h[:])
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
