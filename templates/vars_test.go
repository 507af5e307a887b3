package templates_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/templates"
)

// declared is a var with its documentation.
type declared struct{ name, kind, fallback, text string }

var declaration = regexp.MustCompile(`(?m)^\{\{- /\* ([a-z0-9_]+) \(([a-z]+), (.*?)\): (.*) \*/ -\}\}\n\{\{- \$([a-z0-9_]+) := var "([a-z0-9_]+)" ?(.*?) -\}\}$`)

func declarations(t *testing.T, text string) []declared {
	t.Helper()
	var all []declared
	for _, m := range declaration.FindAllStringSubmatch(text, -1) {
		if m[1] != m[5] || m[1] != m[6] {
			t.Errorf("the comment on %s stands above $%s, which is var %s", m[1], m[5], m[6])
		}
		if documented := code(m[3]); documented != strings.Trim(m[7], "()") {
			t.Errorf("%s: the comment says %s, the default is %s", m[1], m[3], m[7])
		}
		all = append(all, declared{m[1], m[2], m[3], m[4]})
	}
	return all
}

// code is a documented default as the template has it.
func code(documented string) string {
	switch documented {
	case "required":
		return ""
	case "none":
		return "list" // or dict, below
	case "extra_float_digits":
		return `list "extra_float_digits"`
	}
	return documented
}

func TestVarsAreDocumented(t *testing.T) {
	kinds := []string{"text", "number", "seconds", "milliseconds", "bool", "list", "map"}
	for _, name := range templates.Names() {
		t.Run(name, func(t *testing.T) {
			text, _ := templates.Text(name)
			text = strings.ReplaceAll(text, `" dict -}}`, `" list -}}`)
			tmpl, err := render.Parse(name, text, render.Rules{})
			if err != nil {
				t.Fatal(err)
			}
			var documented []string
			for _, d := range declarations(t, text) {
				if !slices.Contains(kinds, d.kind) {
					t.Errorf("%s: %s is no kind, the kinds are %v", d.name, d.kind, kinds)
				}
				if !strings.HasSuffix(d.text, ".") || len(d.text) < 20 {
					t.Errorf("%s: %q is no sentence", d.name, d.text)
				}
				documented = append(documented, d.name)
			}
			for _, called := range calls(tmpl, "var") {
				if !slices.Contains(documented, called) {
					t.Errorf("var %s has no comment of the form {{- /* %[1]s (KIND, DEFAULT): … */ -}} above it", called)
				}
			}
			if n := strings.Count(text, ` var "`); n != len(documented) || len(documented) != len(calls(tmpl, "var")) {
				t.Errorf("%d calls of var, %d documented: each is declared once, at the top", n, len(documented))
			}
		})
	}
}

// A value with a line break could begin a directive of its own, by accident.
func TestLineBreaksAreRefused(t *testing.T) {
	for _, f := range []fixture{
		{template: "pgbouncer.ini", vars: map[string]any{}},
		{template: "haproxy.cfg", vars: map[string]any{}},
		{template: "pgpool.conf", vars: map[string]any{}},
		{template: "haproxy-pgbouncer.cfg", vars: map[string]any{}},
		{template: "keepalived.conf", vars: map[string]any{"virtual_ipaddress": []any{"192.0.2.10/24"}, "interface": "eth0"}},
		{template: "barman.conf", vars: map[string]any{}},
		{template: "jdbc.properties", vars: map[string]any{"database": "app"}},
		{template: "pg_service.conf", vars: map[string]any{}},
		{template: "pgpass", vars: map[string]any{"user": "app", "password": "secret"}},
		{template: "ucarp.env", vars: map[string]any{"member": "pg1", "addr": "192.0.2.10", "interface": "eth0", "srcip": "192.0.2.11"}},
		{template: "uri", vars: map[string]any{}},
		{template: "wal-g.env", vars: map[string]any{}},
	} {
		f.state = []byte(oneMember("10.0.0.1:5432") + onePooler)
		text, _ := templates.Text(f.template)
		for _, d := range declarations(t, strings.ReplaceAll(text, `" dict -}}`, `" list -}}`)) {
			bad := map[string]any{"text": "a\nb", "list": []any{"a", "b\rc"}, "map": map[string]any{"a": "b\nc"}}[d.kind]
			if bad == nil || (d.name == "extra" && d.kind == "list") {
				continue
			}
			t.Run(f.template+"/"+d.name, func(t *testing.T) {
				vars := map[string]any{d.name: bad}
				for name, value := range f.vars {
					if name != d.name {
						vars[name] = value
					}
				}
				result := f.execute(t, vars)
				if result.Err == nil || !strings.Contains(result.Err.Error(), "var "+d.name+" holds a line break") {
					t.Errorf("error %v, result:\n%s", result.Err, result.Content)
				}
			})
		}
	}
}

func TestBadVars(t *testing.T) {
	vip := func(name string, value any, more ...any) map[string]any {
		vars := map[string]any{"virtual_ipaddress": []any{"192.0.2.10/24"}, "interface": "eth0", name: value}
		for i := 0; i < len(more); i += 2 {
			vars[more[i].(string)] = more[i+1]
		}
		return vars
	}
	for _, tc := range []struct {
		template string
		vars     map[string]any
		want     string
	}{
		{"keepalived.conf", nil, "var virtual_ipaddress is not set"},
		{"keepalived.conf", map[string]any{"virtual_ipaddress": []any{"192.0.2.10/24"}}, "var interface is not set"},
		{"keepalived.conf", vip("virtual_ipaddress", []any{}), "the list is empty"},
		{"keepalived.conf", vip("virtual_ipaddress", int64(1)), "want a list of addresses"},
		{"keepalived.conf", vip("virtual_router_id", int64(300)), "want 1 to 255"},
		{"keepalived.conf", vip("priority", int64(255)), "want 1 to 254"},
		{"keepalived.conf", vip("priority", int64(210), "follow_leader", true, "member", "pg1"), "want 1 to 254"},
		{"keepalived.conf", vip("follow_leader", true), "takes var member"},
		{"keepalived.conf", vip("auth_pass", "nine chars"), "want 1 to 8 characters"},
		{"keepalived.conf", vip("auth_pass", "secret", "vrrp_version", int64(3)), "has no passwords"},
		{"keepalived.conf", vip("advert_int", 0.3), "take vrrp_version 3"},
		{"keepalived.conf", vip("unicast_peer", []any{"fe80::2"}), "none is of the family"},
		{"keepalived.conf", vip("check", `/bin/sh -c "true"`), "holds a double quote"},
		{"pgbouncer.ini", map[string]any{"databases": []any{"a b"}}, `"a b" holds a character`},
		{"pgbouncer.ini", map[string]any{"databases": []any{"app", "app_ro"}}, "read-only companion of app"},
		{"pgbouncer.ini", map[string]any{"databases": "app"}, "want a list, have text"},
		{"pgbouncer.ini", map[string]any{"extra": map[string]any{"a = b\n": 1}}, "holds a line break"},
		{"pgbouncer.ini", map[string]any{"extra": map[string]any{"[databases]": 1}}, "is no name of a setting"},
		{"barman.conf", map[string]any{"role": "replica"}, `want leader or standby, have "replica"`},
		{"barman.conf", map[string]any{"server": "all"}, `"all" is no name for Barman`},
		{"barman.conf", map[string]any{"user": "bar man"}, "holds white space, by which Barman cuts"},
		{"barman.conf", map[string]any{"ssh_user": "a -oProxyCommand=x"}, "is no name of a user"},
		{"barman.conf", map[string]any{"extra": map[string]any{"[barman]": 1}}, "is no name of a setting"},
		{"jdbc.properties", nil, "var database is not set"},
		{"jdbc.properties", map[string]any{"database": "app", "role": "standby"}, `want leader or replica, have "standby"`},
		{"jdbc.properties", map[string]any{"database": "app", "password": "nine chars", "password_file": "/etc/pgbaton/app.password"}, "want one of them"},
		{"jdbc.properties", map[string]any{"database": "app", "password_file": "/etc/pgbaton/empty.password"}, "begins with an empty line"},
		{"jdbc.properties", map[string]any{"database": "app", "password": "nine chars\x01"}, "a properties file can't"},
		{"jdbc.properties", map[string]any{"database": "app", "hosts": []any{"pooler"}}, `want HOST:PORT, have "pooler"`},
		{"jdbc.properties", map[string]any{"database": "app", "proxy": true}, "no member names a pooler"},
		{"jdbc.properties", map[string]any{"database": "app", "connection_timeout": int64(5000)}, "want more than validation_timeout"},
		{"jdbc.properties", map[string]any{"database": "app", "extra": map[string]any{"a=b": 1}}, "is no name of a setting"},
		{"jdbc.properties", map[string]any{"database": "app", "parameters": map[string]any{"a&b": 1}}, "is no name of a parameter"},
		{"pg_service.conf", map[string]any{"databases": []any{"app", "app_ro"}}, "read-only companion of app"},
		{"pg_service.conf", map[string]any{"databases": []any{"a]b"}}, "can't be in the name of a service"},
		{"pg_service.conf", map[string]any{"proxy": true}, "no member names a pooler"},
		{"pg_service.conf", map[string]any{"extra": map[string]any{"service": "x"}}, "is no name of a parameter"},
		{"pgpass", nil, "var user is not set"},
		{"pgpass", map[string]any{"user": "app"}, "var password_file is not set"},
		{"pgpass", map[string]any{"user": "app", "password": "nine chars", "password_file": "/etc/pgbaton/app.password"}, "want one of them"},
		{"pgpass", map[string]any{"user": "app", "password_file": "/etc/pgbaton/empty.password"}, "begins with an empty line"},
		{"pgpass", map[string]any{"user": "app", "password": "nine chars", "hosts": []any{"::1:5432"}}, "want HOST:PORT"},
		{"ucarp.env", nil, "var member is not set"},
		{"ucarp.env", map[string]any{"member": "pg1", "addr": "$(reboot)", "interface": "eth0", "srcip": "192.0.2.1"}, "a shell reads in its own way"},
		{"ucarp.env", map[string]any{"member": "pg1", "addr": "192.0.2.10", "interface": "eth0", "srcip": "192.0.2.1", "vhid": int64(256)}, "want 1 to 255"},
		{"ucarp.env", map[string]any{"member": "pg1", "addr": "192.0.2.10", "interface": "eth0", "srcip": "192.0.2.1", "advskew": int64(0)}, "more than advskew_leader"},
		{"uri", map[string]any{"roles": []any{"primary"}}, `want leader or replica, have "primary"`},
		{"uri", map[string]any{"scheme": "javascript:"}, `"javascript:" is none`},
		{"uri", map[string]any{"parameters": map[string]any{"a=b&c": 1}}, "is no name of a parameter"},
		{"wal-g.env", map[string]any{"role": "replica"}, `want leader or standby, have "replica"`},
		{"wal-g.env", map[string]any{"env": map[string]any{"A;reboot": 1}}, "is no name of a variable"},
		{"wal-g.env", map[string]any{"env": map[string]any{"A": 1}, "env_files": map[string]any{"A": "/etc/pgbaton/app.password"}}, "want A in one of them"},
		{"wal-g.env", map[string]any{"env_files": map[string]any{"A": "/etc/pgbaton/empty.password"}}, "begins with an empty line"},
		{"haproxy-pgbouncer.cfg", map[string]any{"check": "sql"}, `want pgsql or tcp, have "sql"`},
		{"haproxy-pgbouncer.cfg", map[string]any{"check_user": "a b"}, `"a b" is no name that HAProxy can send`},
		{"haproxy-pgbouncer.cfg", map[string]any{"check_user": "pgbouncer"}, "into its console alone"},
		{"haproxy-pgbouncer.cfg", map[string]any{"balance": "uri"}, `want leastconn, roundrobin, source or first, have "uri"`},
		{"haproxy-pgbouncer.cfg", map[string]any{"poolers": []any{"10.0.0.21"}}, `want HOST:PORT, have "10.0.0.21"`},
		{"haproxy-pgbouncer.cfg", map[string]any{"poolers": []any{"10.0.0.21:6432 backup"}}, `want HOST:PORT, have "10.0.0.21:6432 backup"`},
		{"haproxy-pgbouncer.cfg", map[string]any{"service": "portless"}, "service portless has no port on node edge1"},
		{"haproxy.cfg", map[string]any{"leader_check": "sql"}, `want auto, patroni or tcp, have "sql"`},
		{"haproxy.cfg", map[string]any{"max_lag": "16 MB"}, "want a size such as 16MB"},
		{"pgpool.conf", map[string]any{"backends": []any{"pg1=10.0.0.1"}}, `"pg1=10.0.0.1" is not NAME or NAME=HOST:PORT`},
		{"pgpool.conf", map[string]any{"backends": []any{"pg1", "pg1=10.0.0.1:5432"}}, "pg1 is named twice"},
		{"pgpool.conf", map[string]any{"backends": []any{"pg1=a b:5432"}}, `"a b" is no host`},
		{"pgpool.conf", map[string]any{"backends": []any{"pg2"}}, "the leader pg1 is not among them"},
		{"pgpool.conf", map[string]any{"sr_check_user": "o'neill"}, "holds a quote"},
		{"pgpool.conf", map[string]any{"extra": map[string]any{"a b": 1}}, "is no name of a setting"},
		{"pgpool.conf", map[string]any{"extra": map[string]any{"log_line_prefix": `\'`}}, "the value of log_line_prefix holds a quote"},
		{"haproxy.cfg", map[string]any{"read_write_port": "5000"}, "want a number, have text"},
	} {
		t.Run(tc.want, func(t *testing.T) {
			f := fixture{template: tc.template, state: []byte(oneMember("10.0.0.1:5432") + onePooler)}
			result := f.execute(t, tc.vars)
			if result.Err == nil || !strings.Contains(result.Err.Error(), tc.want) {
				t.Fatalf("error %v, want %q in it; result:\n%s", result.Err, tc.want, result.Content)
			}
			if strings.Contains(result.Err.Error()+hint.Of(result.Err), "nine chars") {
				t.Error("the error shows a password")
			}
		})
	}
}

// What a member writes about itself must not become a directive.
func TestHostileMembers(t *testing.T) {
	for _, host := range []string{
		"unix%40/run/evil.sock:5432", "fd%403:5432", "[::1%25 user=x]:5432",
		"[::1%\\n  bind :1]:5432", "[::1%\\n\\n[pgbouncer]\\nauth_type=any]:5432", "10.0.0.9%0a:5432",
	} {
		for _, template := range []string{"pgbouncer.ini", "haproxy.cfg", "pgpool.conf"} {
			t.Run(template+"/"+host, func(t *testing.T) {
				f := fixture{template: template, state: []byte(oneMember("10.0.0.1:5432"))}
				clean := f.execute(t, nil)
				f.state = []byte(oneMember("10.0.0.1:5432") + member("evil", host, "http://"+host, "replica"))
				result := f.execute(t, nil)
				if clean.Err != nil || result.Err != nil {
					t.Fatal(clean.Err, result.Err)
				}
				if got, want := directives(result.Content), directives(clean.Content); !slices.Equal(got, want) {
					t.Errorf("the config has other lines because of it:\n%s", result.Content)
				}
			})
		}
	}
	t.Run("names", func(t *testing.T) {
		f := fixture{template: "haproxy.cfg", state: []byte(oneMember("10.0.0.1:5432") +
			member(`a b\n bind :1`, "10.0.0.2:5432", "http://10.0.0.2:8008/", "replica"))}
		result := f.execute(t, nil)
		if want := "\n    server a_b__bind__1 10.0.0.2:5432 weight 100 check port 8008\n"; !strings.Contains(string(result.Content), want) {
			t.Errorf("error %v, want %q in:\n%s", result.Err, want, result.Content)
		}
	})
	// Its own address is what a check falls back to.
	t.Run("api", func(t *testing.T) {
		f := fixture{template: "haproxy.cfg", state: []byte(oneMember("10.0.0.1:5432") +
			member("pg2", "10.0.0.2:5432", "http://[fe80::1%25eth0 disabled]:9009/", "replica"))}
		result := f.execute(t, nil)
		if !regexp.MustCompile(`\n    server pg2 10\.0\.0\.2:5432 weight 100 check port (9009|8008)\n`).Match(result.Content) {
			t.Errorf("error %v:\n%s", result.Err, result.Content)
		}
	})
}

// A host that no server can have is left out: libpq can't read the whole file for one long
// line in it.
func TestLongHosts(t *testing.T) {
	long := strings.Repeat("a", 300)
	for template, vars := range map[string]map[string]any{
		"pg_service.conf": nil, "uri": {"roles": []any{"leader", "replica"}}, "jdbc.properties": {"database": "app", "role": "replica"},
		"pgpass": {"user": "app", "password": "secret"}, "barman.conf": {"role": "standby"}, "wal-g.env": {"role": "standby"},
	} {
		f := fixture{template: template, state: []byte(oneMember("10.0.0.1:5432") + member("evil", long+":5432", "", "replica"))}
		if result := f.execute(t, vars); result.Err != nil || strings.Contains(string(result.Content), long) {
			t.Errorf("%s: error %v:\n%s", template, result.Err, result.Content)
		}
	}
	many := oneMember("10.0.0.1:5432")
	for i := range 5 {
		many += member("pg"+strconv.Itoa(i+2), strings.Repeat(strconv.Itoa(i), 250)+":5432", "", "replica")
	}
	if result := (fixture{template: "pg_service.conf", state: []byte(many)}).execute(t, nil); result.Err == nil || !strings.Contains(result.Err.Error(), "6 hosts make a line of 12") {
		t.Errorf("error %v:\n%s", result.Err, result.Content)
	}
}

// directives are the lines that say something.
func directives(content []byte) []string {
	var lines []string
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ";") {
			lines = append(lines, line)
		}
	}
	return lines
}

// oneMember is a state file with a leader alone; member adds to it.
func oneMember(address string) string {
	return "kv:\n  service/batman/leader: pg1\n" + member("pg1", address, "http://10.0.0.1:8008/patroni", "primary")
}

// onePooler adds a service of PgBouncers to a state file.
const onePooler = "services:\n  pgbouncer: [{node: edge1, address: 10.0.0.21, port: 6432}]\n  portless: [{node: edge1, address: 10.0.0.21}]\n"

func member(name, address, api, role string) string {
	quoted := func(s string) string { return strings.ReplaceAll(strconv.Quote(s), `\\n`, `\n`) }
	return "  " + quoted("service/batman/members/"+name) + ": {conn_url: " + quoted("postgres://"+address+"/postgres") +
		", api_url: " + quoted(api) + ", state: running, role: " + role + "}\n"
}

func calls(t *render.Template, function string) []string {
	texts, _ := t.Calls(function)
	return texts
}
