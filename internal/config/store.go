package config

import (
	"cmp"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/watcher"
)

// Store is a store of keys, or of keys and catalog.
type Store struct {
	Kind     string
	Name     string // its kind, unless it has one of its own
	Settings StoreSettings
	Range    hcl.Range // of its block; zero without one
}

// Environment is how programs and consul-template's templates find the store,
// as NAME=VALUE.
func (s Store) Environment() []string {
	if e, tells := s.Settings.(interface{ Environment() []string }); tells {
		return e.Environment()
	}
	return nil
}

// StoreSettings are a kind of store's own settings.
type StoreSettings interface{ Open() (watcher.Store, error) }

// stores takes up the blocks of stores. Those of one name in several files are one.
func (l *loader) stores(content *hcl.BodyContent, kinds []string, c *Config) {
	for _, b := range content.Blocks {
		if !slices.Contains(kinds, b.Type) {
			continue
		}
		name, body := l.storeName(b)
		i := slices.IndexFunc(c.Stores, func(s Store) bool { return s.Name == name })
		if i >= 0 && (c.Stores[i].Kind != b.Type || c.Stores[i].Range.Filename == b.DefRange.Filename) {
			l.fault(explain.ConfigConflict, b.DefRange, `keep one of them, or set name in one, and use that: store = "NAME" in a cluster block, {{ key "PATH?store=NAME" }}`,
				"a second store named %s", name)
			continue
		}
		if i < 0 {
			i = len(c.Stores)
			c.Stores = append(c.Stores, Store{Kind: b.Type, Name: name, Settings: l.kinds.Stores[b.Type]()})
		}
		s := &c.Stores[i]
		s.Range = b.DefRange
		l.settings(body, s.Settings, implied(storeBlock{})...)
		if r, ok := s.Settings.(Resolver); ok {
			r.Resolve(folder(b.DefRange))
		}
	}
	if len(c.Stores) == 0 {
		c.Stores = []Store{{Kind: "consul", Name: "consul", Settings: l.kinds.Stores["consul"]()}}
	}
}

// storeBlock is what all stores have in common.
type storeBlock struct {
	Name string   `hcl:"name,optional" default:"the block's kind"`
	Rest hcl.Body `hcl:",remain"`
	Body hcl.Body `hcl:",body"`
}

// storeName is what a store is called, and the rest of its block.
func (l *loader) storeName(b *hcl.Block) (string, hcl.Body) {
	var common storeBlock
	l.diagnose(gohcl.DecodeBody(b.Body, nil, &common))
	at := where(b.Body, "name", b.DefRange)
	switch {
	case common.Name != "" && notName(common.Name):
		l.errorf(at, "letters, digits, - and _", "store name %q", common.Name)
	case common.Name == watcher.Local || common.Name == watcher.Clusters:
		l.errorf(at, "take another name", "a store named %s is pgbaton's own", common.Name)
	}
	return cmp.Or(common.Name, b.Type), common.Rest
}

// storeNamed finds a store of the config; "" is the first. It is nil if there is none.
func (c *Config) storeNamed(name string) *Store {
	for i := range c.Stores {
		if name == "" || c.Stores[i].Name == name {
			return &c.Stores[i]
		}
	}
	return nil
}
