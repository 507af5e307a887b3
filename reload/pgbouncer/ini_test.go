package pgbouncer

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name, text, section string
		want                []entry
	}{
		{name: "empty"},
		{name: "a config", text: "; head\n[databases]\napp = host=a port=1\n  # note\n[pgbouncer]\nlisten_port=6432\n", want: []entry{
			{kind: header, line: 1, section: "databases"},
			{kind: setting, line: 2, section: "databases", key: "app", value: "host=a port=1"},
			{kind: header, line: 4, section: "pgbouncer"},
			{kind: setting, line: 5, section: "pgbouncer", key: "listen_port", value: "6432"},
		}},
		{name: "starts inside a section", section: "databases", text: "a=host=b", want: []entry{
			{kind: setting, section: "databases", key: "a", value: "host=b"},
		}},
		{name: "no comment after a value", section: "s", text: "a = b ; c # d", want: []entry{
			{kind: setting, section: "s", key: "a", value: "b ; c # d"},
		}},
		{name: "carriage returns and blanks", section: "s", text: "\t a\t=\t b \r\n\r\n", want: []entry{
			{kind: setting, section: "s", key: "a", value: "b"},
		}},
		{name: "fallback and odd names", section: "s", text: "* = host=a\nmy-db.1_x =\n", want: []entry{
			{kind: setting, section: "s", key: "*", value: "host=a"},
			{kind: setting, line: 1, section: "s", key: "my-db.1_x"},
		}},
		{name: "quoted name", section: "s", text: `"a ""b""" = host=c`, want: []entry{
			{kind: setting, section: "s", key: `a "b"`, value: "host=c"},
		}},
		{name: "includes", section: "s", text: "%include a.ini\n%include\t/b c.ini \n%included = 1\n%include", want: []entry{
			{kind: include, section: "s", value: "a.ini"},
			{kind: include, line: 1, section: "s", value: "/b c.ini"},
		}},
		{name: "more after a header", text: "[a] [b] x = 1", want: []entry{
			{kind: header, section: "a"},
			{kind: header, section: "b"},
			{kind: setting, section: "b", key: "x", value: "1"},
		}},
		{name: "left to the dry run", section: "s", text: "[open\nno equals\n= no key\n\"open = 1\na b = 2\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, parse(tc.text, tc.section), cmp.AllowUnexported(entry{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConnection(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":                                 {},
		"host=a port=5433 dbname=b":        {"host": "a", "port": "5433", "dbname": "b"},
		"  host = a   port=1 ":             {"host": "a", "port": "1"},
		"host='a b' password='it''s' x=''": {"host": "a b", "password": "it's", "x": ""},
		"host=a,b,c port=1":                {"host": "a,b,c", "port": "1"},
		"host='open":                       {},
		"nonsense":                         {},
	} {
		if diff := cmp.Diff(want, connection(text)); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[databases]\na = host='b''c'\n%include x\n\"q\"\"\" = 1\n[pgbouncer")
	f.Fuzz(func(t *testing.T, text string) {
		last := 0
		for _, e := range parse(text, "") {
			if e.line < last {
				t.Fatalf("line %d after %d", e.line, last)
			}
			last = e.line
			connection(e.value)
		}
	})
}

func TestWords(t *testing.T) {
	for out, want := range map[string]string{
		"2026-11-22 02:42:16.424 UTC [7] ERROR syntax error in configuration (a.ini:2), stopping loading\n" +
			"2026-11-22 02:42:16.424 UTC [7] FATAL cannot load config file\n": "syntax error in configuration (a.ini:2), stopping loading",
		"2026-11-22 02:42:16.424 UTC [7] FATAL cannot load config file\n": "cannot load config file",
		"2026-11-22 02:42:16.424 UTC [7] LOG process up\n":                "2026-11-22 02:42:16.424 UTC [7] LOG process up",
		" something else \n": "something else",
	} {
		if got := words(out); got != want {
			t.Errorf("%q: got %q, want %q", out, got, want)
		}
	}
}

func TestDifference(t *testing.T) {
	rows := []row{
		{"name": "app", "host": "10.0.0.1", "port": "5432", "database": "app"},
		{"name": "pgbouncer", "port": "6432", "database": "pgbouncer"},
		{"name": "local", "port": "5432", "database": "x"},
	}
	for _, tc := range []struct {
		want     map[string]database
		differs  string
		whatName string
	}{
		{whatName: "nothing named"},
		{map[string]database{"app": {"10.0.0.1", "5432", "app"}, "local": {"", "5432", "x"}}, "", "the same"},
		{map[string]database{"app": {"10.0.0.2", "5432", "app"}}, "database app is still at 10.0.0.1:5432/app, not 10.0.0.2:5432/app", "old host"},
		{map[string]database{"local": {"", "5433", "x"}}, "database local is still at the unix socket:5432/x, not the unix socket:5433/x", "old port"},
		{map[string]database{"new": {"a", "5432", "new"}}, "database new is not there", "missing"},
	} {
		if got := difference(rows, tc.want); got != tc.differs {
			t.Errorf("%s: got %q, want %q", tc.whatName, got, tc.differs)
		}
	}
}
