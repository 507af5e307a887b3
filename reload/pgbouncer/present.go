package pgbouncer

import (
	"fmt"
	"maps"
	"slices"
)

// Present is what the config of a pgbouncer says as it lies on the disk, whoever wrote
// it.
type Present struct {
	Settings  map[string]string // of [pgbouncer], without pgbouncer's own defaults
	Databases []Database        // in their order
	Users     []string          // that [users] has settings of
	Includes  []string          // files that the main file includes
}

// Database is an entry of [databases].
type Database struct {
	Name    string
	Host    string   // "" is the unix socket
	Port    string   // "" is PostgreSQL's
	Options []string // names of what else the entry says, sorted
}

// Read reads the config that begins at path, as pgbouncer would.
func Read(path string) (Present, error) {
	t, err := readTree(path, nil)
	if err != nil {
		return Present{}, fmt.Errorf("read pgbouncer's config: %w", err)
	}
	p := Present{Settings: map[string]string{}}
	for key, value := range t.settings().pgbouncer {
		p.Settings[key] = value.value
	}
	t.main.walk(func(s *source, e entry) {
		if s.path != t.main.path && !slices.Contains(p.Includes, s.path) {
			p.Includes = append(p.Includes, s.path)
		}
		if e.kind != setting {
			return
		}
		switch e.section {
		case "users":
			p.Users = append(p.Users, e.key)
		case "databases":
			c := connection(e.value)
			d := Database{Name: e.key, Host: c["host"], Port: c["port"]}
			for _, where := range []string{"host", "port"} {
				delete(c, where)
			}
			if c["dbname"] == e.key {
				delete(c, "dbname")
			}
			d.Options = slices.Sorted(maps.Keys(c))
			p.Databases = slices.DeleteFunc(p.Databases, func(o Database) bool { return o.Name == d.Name }) // the last word counts
			p.Databases = append(p.Databases, d)
		}
	})
	return p, nil
}
