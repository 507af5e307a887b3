package render

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// Staged is one file of a Set.
type Staged struct {
	File
	Real string // Path with its symlinks resolved: what is replaced
	Temp string // where the new content lies; "" if Real has it already
	Mode fs.FileMode
	UID  int
	GID  int

	Unkept []Drift // of mode and owner, what was set and is not so: the file system's doing, for nobody else knows the staged file
}

// Lies is the path under which the wanted content can be read now.
func (s Staged) Lies() string {
	if s.Temp != "" {
		return s.Temp
	}
	return s.Real
}

// Before is what lies at the destination now; none if there is no file. One that is
// larger than limit bytes is not read.
func (s Staged) Before(limit int64) (content []byte, large bool, err error) {
	d, err := diskOf(s.Within)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = d.Close() }()
	info, err := d.Lstat(s.Real)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil || !info.Mode().IsRegular() || info.Size() > limit {
		return nil, true, err
	}
	content, err = d.ReadFile(s.Real)
	return content, false, err
}

// Set is a target's files, staged together.
type Set struct{ Files []Staged }

// Stage writes each file that differs from what is on disk beside its
// destination, durably, with its final mode and owner. It is never readable wider than
// that, not for an instant. On an error nothing is left behind.
func Stage(files []File) (*Set, error) {
	s := &Set{}
	reals := map[string]string{}
	for _, f := range files {
		staged, err := stage(f)
		if first, twice := reals[staged.Real]; twice && err == nil {
			err = hint.Wrap(fmt.Errorf("stage %s: it is the same file as %s", f.Path, first), "see where symlinks lead")
			staged.discard()
		}
		if err != nil {
			s.Discard()
			return nil, err
		}
		reals[staged.Real] = f.Path
		s.Files = append(s.Files, staged)
	}
	return s, nil
}

// Changed says whether any file differs from what is on disk.
func (s *Set) Changed() bool {
	for _, f := range s.Files {
		if f.Temp != "" {
			return true
		}
	}
	return false
}

// Discard removes what was staged and not renamed.
func (s *Set) Discard() {
	for i := range s.Files {
		s.Files[i].discard()
	}
}

func (s *Staged) discard() {
	if s.Temp == "" {
		return
	}
	if d, err := diskOf(s.Within); err == nil {
		_ = d.Remove(s.Temp)
		_ = d.Close()
	}
	s.Temp = ""
}

// temp is deterministic, so that a start after kill -9 finds it again.
func temp(real string) string {
	return filepath.Join(filepath.Dir(real), "."+filepath.Base(real)+".pgbaton")
}

func stage(f File) (Staged, error) {
	d, err := diskOf(f.Within)
	if err != nil {
		return Staged{}, diagnose("stage "+f.Path, err)
	}
	defer func() { _ = d.Close() }()
	s, what, err := stand(d, f)
	if err != nil || what == "" {
		return s, err
	}
	if what == driftGone {
		if err := folder(d, f); err != nil {
			return s, err
		}
	}
	s.Temp = temp(s.Real)
	if err := write(d, &s); err != nil {
		_ = d.Remove(s.Temp)
		return s, diagnose("stage "+f.Path, err)
	}
	return s, nil
}

// What of a file may be another than wanted.
const (
	driftGone    = "gone"
	driftContent = "content"
	driftMode    = "mode"
	driftOwner   = "owner"
)

// stand compares a file with what is at its destination: what says in which way
// that is another, "" that it is the same.
func stand(d disk, f File) (s Staged, what string, err error) {
	s = Staged{File: f, Real: f.Path, UID: os.Geteuid(), GID: os.Getegid(), Mode: 0o644}
	if f.Within == "" { // else links are the disk's to follow, as far as it lets them lead
		if s.Real, err = resolve(f.Path); err != nil {
			return s, "", fmt.Errorf("stage %s: %w", f.Path, err)
		}
	}
	old, err := d.Lstat(s.Real)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.want()
		return s, driftGone, nil
	case err != nil:
		return s, "", diagnose("stage "+f.Path, err)
	case !old.Mode().IsRegular():
		return s, "", fmt.Errorf("stage %s: what is there is not a regular file", f.Path)
	}
	stat := old.Sys().(*syscall.Stat_t)
	s.Mode, s.UID, s.GID = old.Mode().Perm(), int(stat.Uid), int(stat.Gid)
	have := s
	s.want()
	switch {
	case !holds(d, s.Real, old.Size(), f.Content):
		what = driftContent
	case have.Mode != s.Mode:
		what = driftMode
	case have.UID != s.UID || have.GID != s.GID:
		what = driftOwner
	}
	return s, what, nil
}

// want takes over mode and owner as far as they are asked for.
func (s *Staged) want() {
	if s.Perms != nil {
		s.Mode = *s.Perms
	}
	if s.User != nil {
		s.UID = *s.User
	}
	if s.Group != nil {
		s.GID = *s.Group
	}
}

// holds says whether a file of that size holds content.
func holds(d disk, path string, size int64, content []byte) bool {
	if size != int64(len(content)) {
		return false
	}
	have, err := d.ReadFile(path)
	return err == nil && bytes.Equal(have, content)
}

// Drift is a destination that is not what it was made.
type Drift struct {
	Path string
	What string // "gone", "content", "mode" or "owner"; else why it can't be compared
}

func (d Drift) String() string { return d.Path + ": " + d.What }

// Content says whether the daemon may read something else.
func (d Drift) Content() bool { return d.What != driftMode && d.What != driftOwner }

// Drifts compares files that were committed with what is at their destinations
// now.
func Drifts(files []File) (out []Drift) {
	for _, f := range files {
		what, err := drift(f)
		if err != nil {
			what = err.Error()
		}
		if what != "" {
			out = append(out, Drift{f.Path, what})
		}
	}
	return out
}

func drift(f File) (what string, err error) {
	d, err := diskOf(f.Within)
	if err != nil {
		return "", err
	}
	defer func() { _ = d.Close() }()
	_, what, err = stand(d, f)
	return what, err
}

// resolve follows the symlinks of path; its last element need not exist.
func resolve(path string) (string, error) {
	for range 40 { // as many as the kernel follows
		real, err := filepath.EvalSymlinks(path)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return real, err
		}
		link, err := os.Readlink(path)
		if err != nil {
			// Not a link that dangles: a file to be made, in a folder that may be linked.
			if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
				return filepath.Join(dir, filepath.Base(path)), nil
			}
			return path, nil
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(path), link)
		}
		path = link
	}
	return "", syscall.ELOOP
}

func folder(d disk, f File) error {
	dir := filepath.Dir(f.Path)
	if _, err := d.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return nil // whatever is wrong with it, writing will tell
	}
	if !f.MakeDirs {
		return hint.Wrap(fmt.Errorf("stage %s: folder %s does not exist", f.Path, dir), "create it, or set create_dest_dirs = true")
	}
	if err := d.MkdirAll(dir, 0o755); err != nil { // a folder of configs, as packages make it
		return diagnose("stage "+f.Path, err)
	}
	return nil
}

func write(d disk, s *Staged) error {
	f, err := create(d, s.Temp)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(s.Content); err != nil {
		return err
	}
	// The owner first: a mode for the group is meant for that group alone. It
	// is set in any case, for a setgid folder gives files a group of its own.
	if err := own(f, *s); err != nil {
		return err
	}
	if err := f.Chmod(s.Mode); err != nil {
		return err
	}
	if err := s.kept(f); err != nil {
		return err
	}
	// An error here means that the file was not written, whatever a second
	// fsync would say.
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// kept notes what of mode and owner the staged file has not got.
func (s *Staged) kept(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Perm() != s.Mode {
		s.Unkept = append(s.Unkept, Drift{s.Path, driftMode})
	}
	if has := info.Sys().(*syscall.Stat_t); int(has.Uid) != s.UID || int(has.Gid) != s.GID {
		s.Unkept = append(s.Unkept, Drift{s.Path, driftOwner})
	}
	return nil
}

// own gives a file its owner. Root's, which nobody asked for, is kept as far as we
// may: a file that somebody made as root must not keep a leader from being
// followed, and root reads it whoever has it. Any other owner may be the one that
// reads it. The group is given up where the mode was asked for, as of a file that
// is new, or lets no group in: else ours would read what root's was meant to.
func own(f *os.File, s Staged) error {
	err := f.Chown(s.UID, s.GID)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	uid, gid := s.UID, s.GID
	if s.User == nil && s.UID == 0 {
		uid = -1
	}
	if s.Group == nil && s.GID == 0 && (s.Perms != nil || s.Mode&0o070 == 0) {
		gid = -1
	}
	if uid == s.UID && gid == s.GID {
		return err
	}
	return f.Chown(uid, gid)
}

func create(d disk, path string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL | syscall.O_NOFOLLOW
	f, err := d.OpenFile(path, flags, 0o600)
	if !errors.Is(err, fs.ErrExist) {
		return f, err
	}
	// What a killed pgbaton left there may be anything, a link included.
	if err := d.Remove(path); err != nil {
		return nil, err
	}
	return d.OpenFile(path, flags, 0o600)
}

func diagnose(doing string, err error) error {
	wrapped := fmt.Errorf("%s: %w", doing, err)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return hint.Wrap(wrapped, "the disk is full: the last good file stays")
	case errors.Is(err, syscall.EROFS):
		return hint.Wrap(wrapped, "the file system is mounted read-only: the last good file stays")
	case errors.Is(err, fs.ErrPermission):
		return hint.Wrap(wrapped, "pgbaton's user must be allowed to write the folder and to give the file its owner")
	}
	return wrapped
}
