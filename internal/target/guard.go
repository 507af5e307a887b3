package target

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/render"
)

// ErrGuarded is in the chain of the error of a change that a guard keeps out.
var ErrGuarded = errors.New("too large a change")

// fewLines is up to how many lines a file may lose all that it likes: a share of so
// few says nothing.
const fewLines = 10

// guard refuses files that lose more of their lines than one change may remove, of
// those that were last written: not of what is there, which somebody else may
// have changed. The first change of a file that somebody else wrote may be as
// large as it likes.
func (l *Loop) guard(w Wanted, set *render.Set) error {
	if l.spec.MaxRemoval == 0 || w.Forced {
		return nil
	}
	for _, f := range set.Files {
		had, has := l.record.Lines[f.Path], lines(f.Content)
		if had > fewLines && float64(had-has) > l.spec.MaxRemoval*float64(had) {
			err := fmt.Errorf("%s: %w: %d of its %d lines would go, more than max_removal = %v allows", f.Path, ErrGuarded, had-has, had, l.spec.MaxRemoval)
			return explain.Mark(hint.Wrap(err, "see what the store lacks; if this is meant, pgbaton apply -force"), explain.Guarded)
		}
	}
	return nil
}

// wrote notes how many lines the files have that were just swapped in.
func (l *Loop) wrote(set *render.Set) {
	if l.spec.MaxRemoval == 0 {
		return
	}
	l.record.Lines = map[string]int{}
	for _, f := range set.Files {
		l.record.Lines[f.Path] = lines(f.Content)
	}
}

// lines counts the lines of a config that say something.
func lines(content []byte) (n int) {
	for line := range bytes.Lines(content) {
		if len(bytes.TrimSpace(line)) > 0 {
			n++
		}
	}
	return n
}
