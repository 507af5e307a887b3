package setup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/templates"
)

// from makes a config from a text of Patroni's.
func from(t *testing.T, patroni string, w Wish) (Config, error) {
	t.Helper()
	dir := t.TempDir()
	w.PatroniFile = filepath.Join(dir, "patroni.yml")
	if w.PgBouncer == "" {
		w.PgBouncer = filepath.Join(dir, "pgbouncer.ini")
	}
	if err := os.WriteFile(w.PatroniFile, []byte(patroni), 0o600); err != nil {
		t.Fatal(err)
	}
	return Make(w)
}

func TestConsulOfPatroni(t *testing.T) {
	for section, want := range map[string]string{
		"consul:":                                           `address = "127.0.0.1:8500"`,
		"consul: {host: consul.example}":                    `address = "consul.example:8500"`,
		"consul: {host: 'a:8600'}":                          `address = "a:8600"`,
		"consul: {host: a, port: 8600}":                     `address = "a:8600"`,
		"consul: {url: 'https://a:8501'}":                   `address = "https://a:8501"`,
		"consul: {host: '[::1]:8500'}":                      `address = "[::1]:8500"`,
		"consul: {host: a, scheme: https, verify: 'false'}": `verify = false`,
		"consul: {host: a, scheme: https, verify: true}":    `ssl {`,
		`{"consul": {"host": "a"}, "scope": "json"}`:        `scope = "json"`,
	} {
		text := section
		if !strings.HasPrefix(text, "{") {
			text = "scope: batman\n" + section + "\n"
		}
		c, err := from(t, text, Wish{})
		flat := strings.Join(strings.Fields(c.Text), " ")
		if err != nil || !strings.Contains(flat, want) {
			t.Errorf("%s: no %q, %v:\n%s", section, want, err, c.Text)
		}
	}
}

func TestEtcdOfPatroni(t *testing.T) {
	for section, want := range map[string]string{
		"etcd3:":                                     `endpoints = ["127.0.0.1:2379"]`,
		"etcd3: {host: 'a:2380'}":                    `endpoints = ["a:2380"]`,
		"etcd3: {hosts: 'a:2379, b,c:1'}":            `endpoints = ["a:2379", "b:2379", "c:1"]`,
		"etcd3: {hosts: [a, '[::1]:2379']}":          `endpoints = ["a:2379", "[::1]:2379"]`,
		"etcd3: {url: 'https://a:1'}":                `endpoints = ["https://a:1"]`,
		"etcd3: {host: a, protocol: https}":          `endpoints = ["https://a:2379"]`,
		"etcd3: {host: a, username: u, password: p}": `user = "u"`,
		"etcd3: {host: a, cacert: /ca, cert: /c}":    `ssl { ca_cert = "/ca"`,
	} {
		c, err := from(t, "scope: batman\n"+section+"\n", Wish{})
		flat := strings.Join(strings.Fields(c.Text), " ")
		if err != nil || !strings.Contains(flat, want) || strings.Contains(flat, "consul") || strings.Contains(flat, `"p"`) {
			t.Errorf("%s: no %q, %v:\n%s", section, want, err, c.Text)
		}
	}
	if c, err := from(t, "scope: batman\n", Wish{Etcd: "a:1,b:2"}); err != nil || !strings.Contains(c.Text, `["a:1", "b:2"]`) {
		t.Errorf("%v: %s", err, c.Text)
	}
}

func TestZooKeeperOfPatroni(t *testing.T) {
	for section, want := range map[string]string{
		"zookeeper:": `hosts = ["127.0.0.1:2181"]`,
		"zookeeper: {hosts: 'a:2181, b,[::1]:2181'}":                      `hosts = ["a:2181", "b", "[::1]:2181"]`,
		"zookeeper: {hosts: ['a:2181', 'b:2181']}":                        `hosts = ["a:2181", "b:2181"]`,
		"zookeeper: {hosts: ['a:1', 'b:2/deep/er']}":                      `chroot = "/deep/er"`,
		"zookeeper: {hosts: [a], auth_data: {digest: 'u:p'}}":             `user = "u"`,
		"zookeeper: {hosts: [a], use_ssl: true, cacert: /ca, cert: /c}":   `ssl { ca_cert = "/ca"`,
		"zookeeper: {hosts: [a], use_ssl: true, verify: false}":           `verify = false`,
		"zookeeper: {hosts: [a], auth_data: {digest: 'u:p', x: 'u:\np'}}": `password_file = "zookeeper-password"`,
	} {
		c, err := from(t, "scope: batman\n"+section+"\n", Wish{})
		flat := strings.Join(strings.Fields(c.Text), " ")
		if err != nil || !strings.Contains(flat, want) || strings.Contains(flat, "consul") || strings.Contains(flat, "u:p") {
			t.Errorf("%s: no %q, %v:\n%s", section, want, err, c.Text)
		}
	}
	if c, err := from(t, "scope: batman\n", Wish{ZooKeeper: "a:1,b:2/c"}); err != nil || !strings.Contains(c.Text, `["a:1", "b:2"]`) || !strings.Contains(c.Text, `"/c"`) {
		t.Errorf("%v: %s", err, c.Text)
	}
}

func TestPatroniThatIsNone(t *testing.T) {
	for text, want := range map[string]string{
		"scope: a\netcd: {hosts: b}\n": explain.OtherStore,
		"scope: a\nkubernetes: {}\n":   explain.OtherStore,
		"scope: a\n":                   explain.PatroniFile,
		"- a list\n":                   explain.PatroniFile,
		"\t":                           explain.PatroniFile,
	} {
		if _, err := from(t, text, Wish{}); explain.Of(err) != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	// What is known from elsewhere need not stand there.
	if c, err := from(t, "name: pg1\n", Wish{Scope: "batman", Consul: "a:1"}); err != nil || !strings.Contains(c.Text, `"batman"`) {
		t.Errorf("%v: %s", err, c.Text)
	}
}

// The settings of pgbouncer's own that init speaks of are vars of the template.
func TestDefaultsAreVars(t *testing.T) {
	vars := varsOf("pgbouncer.ini")
	for name := range bouncerDefaults {
		if _, has := vars[name]; !has {
			t.Errorf("%s is no var", name)
		}
	}
	text, _ := templates.Text("pgbouncer.ini")
	for name, value := range bouncerFixed {
		if !strings.Contains(text, "\n"+name+" = "+value+"\n") {
			t.Errorf("the template does not say %s = %s", name, value)
		}
	}
	for template, least := range map[string]int{"pgbouncer.ini": 40, "haproxy.cfg": 20, "keepalived.conf": 20} {
		if n := len(varsOf(template)); n < least {
			t.Errorf("%s has %d vars", template, n)
		}
	}
}
