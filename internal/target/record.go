package target

import (
	"slices"

	"github.com/pgbaton/pgbaton/internal/state"
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
	Led      map[string]Led   `json:"led,omitempty"`     // by cluster: whom the daemon was made to follow
	Shown    []map[string]Led `json:"shown,omitempty"`   // whom files have shown since: it may have read those though nobody saw it
	Pending  []render.Pending `json:"pending,omitempty"` // renames that were begun
	Lines    map[string]int   `json:"lines,omitempty"`   // by destination: of what was last written there
}

// Records keeps the records, one for each target.
type Records struct{ state.Folder }

// Load reads a target's record. One that is lost, corrupt, or speaks of other
// destinations is as good as none: the daemon is made to follow again.
func (r Records) Load(id string, paths []string) (Record, error) {
	fresh := Record{Version: recordVersion, Target: id, Paths: paths}
	var got Record
	if found, err := r.Folder.Load(id, &got); err != nil || !found {
		return fresh, err
	}
	if got.Version != recordVersion || got.Target != id || !slices.Equal(got.Paths, paths) {
		return fresh, nil
	}
	return got, nil
}

// Save writes a record.
func (r Records) Save(rec Record) error { return r.Folder.Save(rec.Target, rec) }
