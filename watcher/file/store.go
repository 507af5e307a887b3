package file

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
)

// Config is the file block: the embedded store.
type Config struct {
	Path string `hcl:"path"` // the state file, JSON or YAML

	For string // the store whose place it takes, of several in one file; "" is the first
}

// Resolve makes a relative path begin at dir.
func (c *Config) Resolve(dir string) {
	if c.Path != "" && !filepath.IsAbs(c.Path) {
		c.Path = filepath.Join(dir, c.Path)
	}
}

// Open returns the store of a state file, a *State, which its caller closes.
// The file may still be missing.
func (c *Config) Open() (watcher.Store, error) {
	path, err := filepath.Abs(c.Path)
	if err != nil || c.Path == "" {
		return nil, hint.Wrap(fmt.Errorf("file: path %q is no path", c.Path), "name the state file")
	}
	return &State{files: NewLocal(), path: path, store: c.For}, nil
}

// State answers all kinds of catalog queries from one state file. A file that
// is missing or broken is a store that is away: what it said last stays.
type State struct {
	files *Local
	path  string
	store string

	mu      sync.Mutex
	rev     uint64 // of catalog; 0 is none yet
	catalog *Catalog
	err     error // why the content of rev is no catalog
}

// Close lets go of the file.
func (s *State) Close() error { return s.files.Close() }

// Fetch implements watcher.Store.
func (s *State) Fetch(ctx context.Context, q watcher.Query, after uint64) (watcher.Answer, error) {
	file, err := s.files.Fetch(ctx, watcher.Query{Kind: watcher.File, Path: s.path}, after)
	if err != nil {
		return watcher.Answer{}, fmt.Errorf("read state file: %w", err)
	}
	if file.Presence == watcher.Absent {
		return watcher.Answer{}, hint.Wrap(fmt.Errorf("read state file %s: no such file", s.path), "create it, or correct path in the file block")
	}
	catalog, err := s.parse(file.Value.(string), file.Rev)
	if err != nil {
		return watcher.Answer{}, fmt.Errorf("read state file %s: %w", s.path, err)
	}
	answer, err := catalog.Of(s.store).Answer(q)
	answer.Rev = file.Rev
	return answer, err
}

// parse parses each content once, whatever the number of queries.
func (s *State) parse(content string, rev uint64) (*Catalog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rev != rev {
		s.catalog, s.err = ParseCatalog([]byte(content))
		s.rev = rev
	}
	return s.catalog, s.err
}
