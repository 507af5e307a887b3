package pgbouncer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// What a config may come to. PgBouncer itself stops at ten levels of includes.
const (
	maxDepth    = 10
	maxIncludes = 200
	maxSize     = 16 << 20 // bytes of one file
)

// source is one file of the config, from the set or from the disk.
type source struct {
	path    string
	content string
	mode    fs.FileMode
	uid     int
	gid     int

	entries  []entry
	includes map[int]*source // by the index of their entry
	ends     string          // the section that holds after the last line
}

// tree is a whole config: the main file with everything it includes, the files
// of the set taken before those on the disk.
type tree struct {
	dir  string // what relative paths count from
	set  map[string]reload.File
	main *source
	seen int
}

// readTree reads the config that starts at path. An error with
// reload.ErrRefused tells of a config that PgBouncer could not load either.
func readTree(path string, set []reload.File) (*tree, error) {
	t := &tree{dir: filepath.Dir(path), set: map[string]reload.File{}}
	for _, f := range set {
		t.set[filepath.Clean(f.Path)] = f
	}
	var err error
	t.main, err = t.read(filepath.Clean(path), "", 0)
	return t, err
}

// resolve is where a path in the config leads.
func (t *tree) resolve(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(t.dir, path)
}

func (t *tree) read(path, section string, depth int) (*source, error) {
	t.seen++
	if depth > maxDepth || t.seen > maxIncludes {
		return nil, hint.Wrap(reload.Refuse(fmt.Sprintf("%s: includes nested too deep, or too many", path)),
			"a file that includes itself, perhaps: pgbouncer allows %d levels", maxDepth)
	}
	s, err := t.open(path)
	if err != nil {
		return nil, err
	}
	if strings.ContainsRune(s.content, 0) {
		return nil, hint.Wrap(reload.Refuse(fmt.Sprintf("%s: it holds a NUL byte", path)),
			"pgbouncer would take the file to end there; look at the value that brought it in")
	}
	s.includes = map[int]*source{}
	s.ends = section
	for from := parse(s.content, section); len(from) > 0; {
		e := from[0]
		s.entries = append(s.entries, e)
		from = from[1:]
		s.ends = e.section
		if e.kind != include {
			continue
		}
		inner, err := t.read(t.resolve(e.value), e.section, depth+1)
		if err != nil {
			return nil, fmt.Errorf("%w (included by %s:%d)", err, path, e.line+1)
		}
		s.includes[len(s.entries)-1] = inner
		// What a file leaves as its section goes on after the include.
		for i := range from {
			if from[i].kind == header {
				break
			}
			from[i].section = inner.ends
		}
		s.ends = inner.ends
	}
	return s, nil
}

func (t *tree) open(path string) (*source, error) {
	if f, ok := t.set[path]; ok {
		return &source{path: f.Path, content: string(f.Content), mode: f.Mode.Perm(), uid: f.UID, gid: f.GID}, nil
	}
	// Without O_NONBLOCK a FIFO would wait for its writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint.Wrap(reload.Refuse(fmt.Sprintf("%s: no such file", path)),
			"relative paths count from the directory of the main file; pgbouncer has to run there too")
	}
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, reload.Refuse(fmt.Sprintf("%s: not a regular file", path))
	}
	var content bytes.Buffer
	if n, err := io.Copy(&content, io.LimitReader(file, maxSize+1)); err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	} else if n > maxSize {
		return nil, reload.Refuse(fmt.Sprintf("%s: longer than %d bytes", path, maxSize))
	}
	s := &source{path: path, content: content.String(), mode: info.Mode().Perm(), uid: os.Geteuid(), gid: os.Getegid()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.uid, s.gid = int(st.Uid), int(st.Gid)
	}
	return s, nil
}

// walk visits every entry in the order in which PgBouncer reads them.
func (s *source) walk(visit func(*source, entry)) {
	for i, e := range s.entries {
		if inner := s.includes[i]; inner != nil {
			inner.walk(visit)
			continue
		}
		visit(s, e)
	}
}
