package pgbouncer

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbaton/pgbaton/reload"
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

// FuzzParse: entries are in the order of their lines, and say what stands there.
func FuzzParse(f *testing.F) {
	f.Add("[databases]\na = host='b''c'\n%include x\n\"q\"\"\" = 1\n[pgbouncer")
	f.Add("[a] [b] c = d\n\r\n;x\n#y = 1\n* = host=/tmp port=1\n%include\n%include \t \nk=\x00")
	f.Fuzz(func(t *testing.T, text string) {
		last, lines := 0, strings.Split(text, "\n")
		for _, e := range parse(text, "") {
			if e.line < last || e.line >= len(lines) {
				t.Fatalf("line %d after %d of %d", e.line, last, len(lines))
			}
			last = e.line
			if e.value != strings.TrimSpace(e.value) || !strings.Contains(lines[e.line], e.value) {
				t.Errorf("line %q has no value %q", lines[e.line], e.value)
			}
			if e.kind == setting {
				again := parse(quote(e.key)+" = "+e.value, e.section)
				if len(again) != 1 || again[0].key != e.key || again[0].value != e.value {
					t.Errorf("%q = %q is read as %+v", e.key, e.value, again)
				}
			}
			for key, value := range connection(e.value) {
				if !strings.Contains(e.value, key) || len(value) > len(e.value) {
					t.Errorf("%q has no %q = %q", e.value, key, value)
				}
			}
		}
	})
}

// FuzzRows: whatever a console says of its databases, what is to be held leads to
// the leader, flows, and is no console.
func FuzzRows(f *testing.F) {
	f.Add("app", "10.0.0.1", "5432", "0", "0", "pgbouncer", "", "6432")
	f.Add("a\"b/c", "10.0.0.1", "05432", "1", "", "", "::ffff:10.0.0.1", "5432")
	f.Add("app", "10.0.0.1", "-1", "2", "x", "app", "10.0.0.1", "99999999999999999999")
	f.Fuzz(func(t *testing.T, name, host, port, paused, disabled, name2, host2, port2 string) {
		rows := []row{
			{"name": name, "host": host, "port": port, "paused": paused, "disabled": disabled},
			{"name": name2, "host": host2, "port": port2},
			{},
		}
		leader := []reload.Address{{Host: "10.0.0.1", Port: 5432}}
		p := newPost(console{host: "/tmp", port: 6432, user: "u"})
		flowing, _, _ := p.flowing(rows, leader)
		for _, found := range flowing {
			fits := false
			for _, r := range rows {
				fits = fits || r["name"] == found && r["paused"] != "1" && r["disabled"] != "1" && leads(r["host"], r["port"], leader)
			}
			if !fits || found == admin {
				t.Errorf("%q flows to the leader, by %v", found, rows)
			}
			d := &daemon{consoles: []*post{p}}
			if w, err := d.named([]string{p.name(found)}); err != nil || found != "" && !slices.Equal(w[p].databases, []string{found}) {
				t.Errorf("the name of %q is understood as %+v, error %v", found, w[p], err)
			}
		}
		if at, err := endpoint(host, port); err == nil && !at.IsValid() {
			t.Errorf("%q and %q are the address %v", host, port, at)
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
