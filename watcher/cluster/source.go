package cluster

import (
	"fmt"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
)

// Source is how a cluster is kept in a store. It is pure, and comparable: equal
// ones speak of the same cluster.
type Source interface {
	// Scope is what the cluster is called there.
	Scope() string

	// Queries are what has to be read, given what is known of it by now. The first
	// is there from the start, and the same for ever.
	Queries(known watcher.Snapshot) []watcher.Query

	// Decode reads what is known of all Queries. before is what it came to the last
	// time; the zero Cluster the first time. What can't be read is named in the
	// cluster's Problems, and leaves the rest alone.
	Decode(before Cluster, known watcher.Snapshot) Cluster
}

// Place is where a cluster is kept, as its config block has it.
type Place struct {
	Name  string // of the block
	Store string // of the store; watcher.Catalog is the first
	Root  string // what keys begin with that are thought of as paths: "/" in some stores

	// Stores is what queries call a store that the config names; false if it has none of
	// that name. nil knows none.
	Stores func(name string) (query string, found bool)
}

// other is what queries call another store than the cluster's own, which setting names;
// "" is the cluster's own.
func (p Place) other(setting, name string) (string, error) {
	if name == "" {
		return p.Store, nil
	}
	if p.Stores != nil {
		if query, found := p.Stores(name); found {
			return query, nil
		}
	}
	return "", hint.Wrap(fmt.Errorf("cluster %s: %s: there is no store named %q", p.Name, setting, name), "add a block for it; its name is its kind unless it has a name")
}

// Settings are a kind of cluster's own settings.
type Settings interface {
	// Source returns the source that they describe. Its errors name the setting.
	Source(at Place) (Source, error)

	// Ways are the ways by which a leader may be confirmed, the most trusted first,
	// beside WayKey; and those of them that count if nothing is said. None of them
	// is WayKey.
	Ways() (all, usual []Way)
}
