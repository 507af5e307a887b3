package target

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/watcher"
)

// quiet is how long nobody else may have changed the files for the next such
// change to be put right at once.
const quiet = time.Minute

// drifting is what is known of changes by others to files that were committed.
type drifting struct {
	seen    map[watcher.Query]uint64 // change numbers of the files that were last looked at
	kept    []render.Drift           // modes and owners that this file system does not keep
	left    []render.Drift           // what is reported, and left as it is
	repairs int                      // in a row, without quiet between them

	// repairing says that files that the daemon follows are to be put right: what it
	// was made to do for a new leader stays done.
	repairing bool
	last      time.Time
}

// watch watches what concerns the target beside what its templates look at: the
// files that were committed, and the word of an operator. It returns the change
// numbers of the files.
func (l *Loop) watch(w Wanted) (seen map[watcher.Query]uint64) {
	also := map[watcher.Query]struct{}{l.word(): {}}
	seen = map[watcher.Query]uint64{}
	if w.Hash != "" && l.done.Committed == w.Hash {
		for _, f := range w.Files {
			q := watcher.Query{Store: watcher.Local, Kind: watcher.Stat, Path: f.Path}
			also[q], seen[q] = struct{}{}, 0
		}
	}
	snap := l.source.Watch(also)
	for q := range seen {
		seen[q] = snap[q].Change
	}
	return seen
}

// drift looks whether somebody else changed the files since they were committed.
// What is to be put right counts as not committed.
func (l *Loop) drift(w Wanted, seen map[watcher.Query]uint64, now time.Time) {
	if len(seen) == 0 {
		l.drifted.left = nil
		return
	}
	if maps.Equal(seen, l.drifted.seen) {
		return
	}
	l.drifted.seen = seen
	drifts := slices.DeleteFunc(render.Drifts(w.Files), func(d render.Drift) bool { return slices.Contains(l.drifted.kept, d) })
	switch {
	case len(drifts) == 0:
		if len(l.drifted.left) > 0 {
			l.log.Info("the files are as they were written again")
		}
		l.drifted.left = nil
	case w.Frozen, l.spec.LeaveDrift && !w.Forced:
		if !slices.Equal(drifts, l.drifted.left) {
			l.log.Warn("files were changed by somebody else, and stay so until the next change", "code", explain.Drifted, "files", list(drifts))
		}
		l.drifted.left = drifts
	default:
		if now.Sub(l.drifted.last) > quiet {
			l.drifted.repairs = 0
		}
		if l.drifted.repairs > 0 {
			l.tries = Tries{Hash: w.Hash, Failures: l.drifted.repairs, Last: now}
		}
		l.drifted.repairs++
		l.drifted.last = now
		l.log.Warn("files were changed by somebody else, putting them right", "code", explain.Drifted, "files", list(drifts), "times", l.drifted.repairs)
		l.drifted.repairing = l.done.Followed == w.Hash
		l.done.Committed = ""
	}
}

// asFrozen says whether a frozen target is as it is wanted, though nothing may be
// done about it.
func (l *Loop) asFrozen(w Wanted) error {
	if len(render.Drifts(w.Files)) == 0 && l.record.Followed == w.Hash {
		return nil
	}
	return l.operator.err()
}

// keeps notes which modes and owners the file system did not keep just now: they
// are nobody's change.
func (l *Loop) keeps(set *render.Set) {
	l.drifted.kept = nil
	for _, f := range set.Files {
		for _, d := range f.Unkept {
			l.drifted.kept = append(l.drifted.kept, d)
			l.log.Warn("the file system does not keep what was set", "file", d.Path, "what", d.What)
		}
	}
}

// driftError is what is left as it is, for the target's state.
func (l *Loop) driftError() error {
	if len(l.drifted.left) == 0 {
		return nil
	}
	return explain.Mark(hint.Wrap(fmt.Errorf("changed by somebody else: %s", list(l.drifted.left)), "it stays until the next change"), explain.Drifted)
}

func list(drifts []render.Drift) string {
	texts := make([]string, len(drifts))
	for i, d := range drifts {
		texts[i] = d.String()
	}
	return strings.Join(texts, ", ")
}
