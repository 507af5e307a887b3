package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/pgbaton/pgbaton/internal/state"
)

// settle is how long what was noted waits for more before it is written: a kill of the
// process loses no more of the history than that.
const settle = time.Second

// kept is a history on disk.
type kept struct {
	Version int      `json:"version"`
	Last    uint64   `json:"last"`
	Changes []Change `json:"changes"` // the oldest first
}

// keeper is where the history is kept. Nobody who notes something waits for its disk.
type keeper struct {
	disk   sync.Mutex
	folder state.Folder
	name   string
	lock   io.Closer // of name; nil: it is kept nowhere
	wrote  uint64    // the turn that is on disk
}

// sharers is how many pgbatons may share a state folder.
const sharers = 8

// Keep reads what is remembered in a folder, and keeps there from now on what happens; what
// was noted before counts as newer. The folder of before is closed. With an error nothing
// is kept.
func (j *Journal) Keep(folder state.Folder) error {
	j.disk.Lock()
	defer j.disk.Unlock()
	if j.lock != nil && j.folder == folder {
		return nil
	}
	if err := j.close(); err != nil {
		return err
	}
	var errs []error
	for n := 1; n <= sharers && j.lock == nil; n++ {
		name := "history"
		if n > 1 {
			name = fmt.Sprintf("history-%d", n)
		}
		lock, err := folder.Lock(name)
		if err == nil {
			j.folder, j.name, j.lock = folder, name, lock
		} else if errs = append(errs, err); !errors.Is(err, state.ErrLocked) {
			break
		}
	}
	if j.lock == nil {
		return fmt.Errorf("keep history: %w", errors.Join(errs...))
	}
	var before kept
	found, err := folder.Load(j.name, &before)
	if err != nil || !found || before.Version != Version {
		return err
	}
	j.remember(before)
	return nil
}

// remember takes up what another process left.
func (j *Journal) remember(before kept) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.entries {
		e.ID += before.Last
	}
	var old []*entry
	for _, c := range before.Changes {
		if c.Ended.IsZero() {
			c.Reason = "pgbaton ended meanwhile"
		}
		if c.Outcome == Open {
			c.Outcome = Canceled
		}
		old = append(old, &entry{Change: c})
	}
	j.entries, j.last = append(old, j.entries...), before.Last+j.last
	j.turn()
}

// Run compares files and writes the history, until ctx ends; then the rest of it.
func (j *Journal) Run(ctx context.Context) error {
	var write <-chan time.Time
	for {
		changed, behind := j.watch()
		if write == nil && behind {
			write = time.After(settle)
		}
		select {
		case <-ctx.Done():
			j.disk.Lock()
			defer j.disk.Unlock()
			return j.close()
		case c := <-j.compare:
			j.compared(c)
		case <-changed:
		case <-write:
			write = nil
			j.disk.Lock()
			_ = j.write() // what can't be written now is tried again, and its end is told
			j.disk.Unlock()
		}
	}
}

// watch is a channel that is closed with the next change, and whether there is something
// to write.
func (j *Journal) watch() (changed <-chan struct{}, behind bool) {
	j.disk.Lock()
	defer j.disk.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.changed, j.lock != nil && j.wrote != j.turns
}

// Load reads what is remembered in a folder, of all who share it, the newest first.
func Load(folder state.Folder) ([]Change, error) {
	names, err := folder.Names("history")
	if err != nil {
		return nil, err
	}
	var all []Change
	for _, name := range names {
		var k kept
		if _, err := folder.Load("history"+name, &k); err != nil {
			return nil, err
		}
		all = append(all, k.Changes...)
	}
	slices.SortStableFunc(all, func(a, b Change) int { return b.Began.Compare(a.Began) })
	return all, nil
}

// snapshot is all that is to be remembered, and the turn that it is of.
func (j *Journal) snapshot() (kept, uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	k := kept{Version: Version, Last: j.last, Changes: make([]Change, len(j.entries))}
	for i, e := range j.entries {
		k.Changes[i] = e.copy()
	}
	return k, j.turns
}

// write writes what is not written yet. It and close are called with disk.
func (j *Journal) write() error {
	if j.lock == nil {
		return nil
	}
	k, turns := j.snapshot()
	if turns == j.wrote {
		return nil
	}
	if err := j.folder.Write(j.name, k); err != nil {
		return err
	}
	j.wrote = turns
	return nil
}

// close writes the rest, and lets the folder go.
func (j *Journal) close() error {
	if j.lock == nil {
		return nil
	}
	err := errors.Join(j.write(), j.lock.Close())
	j.folder, j.name, j.lock, j.wrote = state.Folder{}, "", nil, 0
	return err
}
