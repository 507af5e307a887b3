package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
)

// maxSize is the largest file that is read, in bytes.
const maxSize = 16 << 20

// Local answers File queries with the content of files, and Stat queries with
// how they stand.
type Local struct {
	follower *follower

	mu   sync.Mutex
	seen map[watcher.Query]version
}

// version numbers the answers to a query, as files have no revision that can
// be trusted to change with them.
type version struct {
	rev    uint64
	value  string
	exists bool
}

// NewLocal returns a store of local files, which its caller closes.
func NewLocal() *Local {
	return &Local{follower: newFollower(), seen: map[watcher.Query]version{}}
}

// Close lets go of all files.
func (l *Local) Close() error { return l.follower.close() }

// Fetch implements watcher.Store.
func (l *Local) Fetch(ctx context.Context, q watcher.Query, after uint64) (watcher.Answer, error) {
	read := func(path string) (string, error) {
		content, err := ReadWithin(q.Options.Within, path)
		return string(content), err
	}
	switch q.Kind {
	case watcher.File:
	case watcher.Stat:
		read = stat
	default:
		return watcher.Answer{}, fmt.Errorf("local files have no %s queries", q.Kind)
	}
	w := l.follower.begin(q.Path)
	defer w.end()
	for {
		v, err := l.look(q, read)
		if err != nil {
			return watcher.Answer{}, err
		}
		if v.rev != after {
			if !v.exists {
				return watcher.Answer{Presence: watcher.Absent, Rev: v.rev}, nil
			}
			return watcher.Answer{Presence: watcher.Present, Value: v.value, Rev: v.rev}, nil
		}
		if err := w.next(ctx); err != nil {
			return watcher.Answer{}, err
		}
	}
}

func (l *Local) look(q watcher.Query, read func(path string) (string, error)) (version, error) {
	value, err := read(q.Path)
	exists := !errors.Is(err, fs.ErrNotExist)
	if err != nil && exists {
		return version{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	v, known := l.seen[q]
	if !known || v.exists != exists || v.value != value {
		v = version{rev: v.rev + 1, value: value, exists: exists}
		l.seen[q] = v
	}
	return v, nil
}

// stat is all that the kernel tells of a file and that changes with it.
func stat(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	s := info.Sys().(*syscall.Stat_t)
	return fmt.Sprint(info.Mode(), s.Uid, s.Gid, s.Ino, s.Size, info.ModTime().UnixNano()), nil
}

// Read reads a regular file of a sane size.
func Read(path string) ([]byte, error) { return ReadWithin("", path) }

// ReadWithin reads a file likewise, and none that lies outside of a folder,
// whatever links lead there at the moment. "" is no such folder.
func ReadWithin(folder, path string) ([]byte, error) {
	// A FIFO must not make us wait for its writer.
	const flags = os.O_RDONLY | syscall.O_NONBLOCK
	var f *os.File
	var err error
	if folder == "" {
		f, err = os.OpenFile(path, flags, 0)
	} else {
		f, err = openWithin(folder, path, flags)
	}
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = hint.Wrap(err, "let pgbaton's user read it")
		}
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", path)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxSize {
		return nil, fmt.Errorf("read %s: larger than %d MiB", path, maxSize>>20)
	}
	return content, nil
}

// openWithin opens what a path leads to now. The look at the links only finds the
// way: one that is bent meanwhile ends at the wall of the folder.
func openWithin(folder, path string, flags int) (*os.File, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	if folder, err = filepath.EvalSymlinks(folder); err != nil {
		return nil, err
	}
	name, err := filepath.Rel(folder, real)
	if err != nil {
		return nil, err
	}
	return root.OpenFile(name, flags, 0)
}
