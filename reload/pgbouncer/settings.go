package pgbouncer

import (
	"fmt"
	"strconv"
)

// database is what an entry of [databases] says about where it leads.
type database struct {
	host   string // "" is the unix socket
	port   string
	dbname string
}

// placed is a value with the place that set it.
type placed struct {
	value string
	at    string // "file:line"
}

// settings is what a config comes to.
type settings struct {
	pgbouncer map[string]placed
	databases map[string]database // without the fallback
	fallback  bool                // there is a `*`
	other     database            // where the fallback leads
	again     string              // where a further [pgbouncer] threw away the ones before, or ""
}

// settings reads a tree as PgBouncer would: the last word counts, and a further
// [pgbouncer] header starts from the defaults.
func (t *tree) settings() settings {
	var is settings
	is.databases = map[string]database{}
	is.pgbouncer = map[string]placed{}
	begun := false
	t.main.walk(func(s *source, e entry) {
		at := fmt.Sprintf("%s:%d", s.path, e.line+1)
		switch {
		case e.kind == header && e.section == "pgbouncer":
			if len(is.pgbouncer) > 0 && begun {
				is.again = at
			}
			begun = true
			clear(is.pgbouncer)
		case e.kind != setting:
		case e.section == "pgbouncer":
			is.pgbouncer[e.key] = placed{e.value, at}
		case e.section == "databases" && e.key == "*":
			is.fallback = true
			is.other = leadsTo(e)
		case e.section == "databases":
			is.databases[e.key] = leadsTo(e)
		}
	})
	return is
}

func leadsTo(e entry) database {
	c := connection(e.value)
	port := or(c["port"], "5432")
	if n, err := strconv.Atoi(port); err == nil {
		port = strconv.Itoa(n) // as SHOW DATABASES writes it
	}
	return database{host: c["host"], port: port, dbname: or(c["dbname"], e.key)}
}
