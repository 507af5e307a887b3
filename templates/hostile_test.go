package templates_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/watcher/file"
)

// hostile are values that somebody who may write a member's key could try, to
// make a daemon do something else.
var hostile = []string{
	"pg2\nevil", "pg2\r\nevil", "pg2\x00evil", "pg2\u2028evil", "pg2\u0085evil",
	"pg2 evil", "pg2\tevil", "pg2 # evil", "pg2#evil", "pg2;reboot", ";reboot", "%;shutdown=1",
	`pg2"`, `pg2'`, `"pg2" backup`, `'pg2' port=1`, `pg2\`, `pg2\ evil`,
	"{{ env \"HOME\" }}", "${HOME}", "$HOME", "`reboot`", "$(reboot)", "pg2}", "} vrrp_script x {", "%[env(HOME)]", "%include /etc/passwd",
	"", " ", ".", "..", "../../etc/passwd", "-evil", "127.0.0.1,10.9.9.9", "127.0.0.1%2c10.9.9.9", "pg2%0aevil", "pg2%20evil", "10.0.0.12:1,evil", "[::1", "::1]", "0x7f.1",
	"localhost port=1 host=evil", "host=evil", "*", "app = host=evil",
	strings.Repeat("a", 512<<10),
}

// TestHostileValues puts each of them in the place of each text that a member's keys
// hold. Whatever becomes of it, no line says more than it does for a well-meant value, and
// none begins otherwise.
func TestHostileValues(t *testing.T) {
	fields := []string{"name", "host", "api_host", "conn_url", "api_url", "state", "role", "version", "tag", "tag_name", "clonefrom", "leader", "scope_config"}
	for template, vars := range map[string]map[string]any{
		"pgbouncer.ini":   {"databases": []any{"app"}},
		"haproxy.cfg":     {},
		"pgpool.conf":     {},
		"keepalived.conf": {"virtual_ipaddress": []any{"192.0.2.10/24"}, "interface": "eth0", "follow_leader": true, "member": "pg2"},
		"barman.conf":     {"role": "standby"},
		"jdbc.properties": {"database": "app"},
		"pg_service.conf": {"databases": []any{"app"}},
		"pgpass":          {"user": "app", "password": "secret"},
		"ucarp.env":       {"member": "pg2", "addr": "192.0.2.10", "interface": "eth0", "srcip": "192.0.2.11"},
		"uri":             {"databases": []any{"app"}, "roles": []any{"leader", "replica"}},
		"wal-g.env":       {"role": "standby", "member": "pg2"},
	} {
		t.Run(template, func(t *testing.T) {
			allowed := map[string]bool{}
			for _, meant := range []map[string]file.Value{hostileKeys(t, "", ""), hostileKeys(t, "host", "db2.example.net"), hostileKeys(t, "api_host", "db2.example.net")} {
				maps.Copy(allowed, shape(string(fixture{template: template, vars: vars, keys: meant}.execute(t, vars).Content)))
			}
			rendered := 0
			for _, field := range fields {
				for _, value := range hostile {
					f := fixture{template: template, vars: vars, keys: hostileKeys(t, field, value)}
					result := f.attempt(t, vars)
					if !result.Complete() || result.Err != nil {
						continue // refused
					}
					rendered++
					for line := range shape(string(result.Content)) {
						if !allowed[line] {
							t.Errorf("%s %.60q makes a line like %q", field, value, line)
						}
					}
				}
			}
			t.Logf("%d of %d were rendered", rendered, len(fields)*len(hostile))
		})
	}
}

// place is a host and a port in a password file.
var place = regexp.MustCompile(`^(?:\\:|[0-9A-Za-z_.%-])+:[0-9]+:`)

// beginning is a first word less the hosts in it: a scheme, a name up to its =, or what a
// password file has for a host.
func beginning(word string) string {
	if at := place.FindString(word); at != "" {
		return "HOST:PORT:" + word[len(at):]
	}
	for _, end := range []string{"://", "="} {
		if name, _, found := strings.Cut(word, end); found {
			return name + end
		}
	}
	return word
}

// TestHostileInstances does the same with what an instance of a service in the catalog
// may say of itself.
func TestHostileInstances(t *testing.T) {
	state := func(field string, value any) []byte {
		second := map[string]any{"node": "edge2", "id": "pgbouncer", "address": "10.0.0.22", "port": 6432}
		second[field] = value
		catalog, err := json.Marshal(map[string]any{"services": map[string]any{"pgbouncer": []any{
			map[string]any{"node": "edge1", "address": "10.0.0.21", "port": 6432}, second,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		return catalog
	}
	f := fixture{template: "haproxy-pgbouncer.cfg", state: state("node", "edge2")}
	allowed := shape(string(f.execute(t, nil).Content))
	rendered := 0
	for _, field := range []string{"node", "id", "address"} {
		for _, value := range hostile {
			f.state = state(field, value)
			result := f.attempt(t, nil)
			if !result.Complete() || result.Err != nil {
				continue // refused
			}
			rendered++
			for line := range shape(string(result.Content)) {
				if !allowed[line] {
					t.Errorf("%s %.60q makes a line like %q", field, value, line)
				}
			}
		}
	}
	if rendered < len(hostile) {
		t.Errorf("%d were rendered: an instance must not keep the others from their clients", rendered)
	}
}

// shape is how the lines of a config begin, of how many words they are, and how many signs
// that mean something to whoever reads URLs, shells or quotes.
func shape(config string) map[string]bool {
	out := map[string]bool{}
	// What any of the daemons, or a terminal, may take for the end of a line.
	for _, line := range strings.FieldsFunc(config, func(r rune) bool { return strings.ContainsRune("\n\r\x00\u0085\u2028\u2029", r) }) {
		if words := strings.Fields(line); len(words) > 0 {
			signs := 0
			for _, sign := range "?&=@'\"\\$`#;" {
				signs += strings.Count(line, string(sign))
			}
			out[fmt.Sprintf("%s, %d more and %d signs", beginning(words[0]), len(words)-1, signs)] = true
		}
	}
	return out
}

// hostileKeys are those of a cluster with three members, with a value in one field
// of the second.
func hostileKeys(t *testing.T, field, value string) map[string]file.Value {
	t.Helper()
	with := func(name, meant string) string {
		if field == name {
			return value
		}
		return meant
	}
	tags := map[string]any{"zone": with("tag", "a"), "clonefrom": with("clonefrom", "true")}
	if field == "tag_name" {
		tags[value] = "x"
	}
	second := map[string]any{
		"conn_url": with("conn_url", "postgres://"+with("host", "10.0.0.12")+":5432/postgres"),
		"api_url":  with("api_url", "http://"+with("api_host", "10.0.0.12")+":8008/patroni"),
		"state":    with("state", "streaming"), "role": with("role", "replica"), "version": with("version", "4.0.4"), "tags": tags,
	}
	member, err := json.Marshal(second)
	if err != nil {
		t.Fatal(err)
	}
	kv := map[string]file.Value{
		"service/batman/initialize":  "7710821718231966914",
		"service/batman/config":      `{"ttl":30,"loop_wait":10,"retry_timeout":10}`,
		"service/batman/leader":      file.Value(with("leader", "pg1")),
		"service/batman/members/pg1": `{"conn_url":"postgres://10.0.0.11:5432/postgres","api_url":"http://10.0.0.11:8008/patroni","state":"running","role":"primary"}`,
		"service/batman/members/pg3": `{"conn_url":"postgres://10.0.0.13:5432/postgres","api_url":"http://10.0.0.13:8008/patroni","state":"streaming","role":"replica"}`,

		"service/batman/members/" + with("name", "pg2"): file.Value(member),
	}
	if field == "scope_config" {
		kv["service/batman/config"] = file.Value(value)
	}
	return kv
}
