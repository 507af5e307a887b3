package templates_test

import (
	"slices"
	"testing"

	"github.com/pgbaton/pgbaton/templates"
)

func TestNames(t *testing.T) {
	names := templates.Names()
	if want := []string{
		"barman.conf", "haproxy-pgbouncer.cfg", "haproxy.cfg", "jdbc.properties", "keepalived.conf", "pg_service.conf", "pgbouncer.ini", "pgpass", "pgpool.conf", "ucarp.env", "uri", "wal-g.env",
	}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	for _, name := range names {
		if text, ok := templates.Text(name); !ok || text == "" {
			t.Errorf("%s has no text", name)
		}
	}
	for _, name := range []string{"", "nothing", "pgbouncer.ini.tmpl", "../doc.go"} {
		if _, ok := templates.Text(name); ok {
			t.Errorf("%q is a template", name)
		}
	}
}
