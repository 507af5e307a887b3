package target

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/render"
)

// ErrGuarded is in the chain of the error of a change that a guard keeps out.
var ErrGuarded = errors.New("too large a change")

// fewLines is up to how many lines a file may lose all that it likes: a share of so
// few says nothing.
const fewLines = 10

// guard refuses files that lose more of their lines than one change may remove. It
// only knows what was applied before: the first change of a file that somebody
// else wrote may be as large as it likes.
func (l *Loop) guard(w Wanted, set *render.Set) error {
	if l.spec.MaxRemoval == 0 || l.record.Followed == "" || w.Forced {
		return nil
	}
	for _, f := range set.Files {
		if f.Temp == "" {
			continue
		}
		before, err := os.ReadFile(f.Real)
		if err != nil {
			continue // it is gone: nothing can be removed from it
		}
		had, has := lines(before), lines(f.Content)
		if had > fewLines && float64(had-has) > l.spec.MaxRemoval*float64(had) {
			return hint.Wrap(fmt.Errorf("%s: %w: %d of its %d lines would go, more than max_removal = %v allows", f.Path, ErrGuarded, had-has, had, l.spec.MaxRemoval),
				"see what the store lacks; if this is meant, pgbaton apply -force")
		}
	}
	return nil
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
