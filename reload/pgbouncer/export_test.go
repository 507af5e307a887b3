package pgbouncer

import (
	"slices"

	"github.com/pgbaton/pgbaton/reload"
)

// Allow leaves a daemon only these ways to cut.
func Allow(d reload.Daemon, names ...string) {
	of := d.(*daemon)
	of.ways = slices.DeleteFunc(slices.Clone(of.ways), func(w way) bool { return !slices.Contains(names, w.name) })
}
