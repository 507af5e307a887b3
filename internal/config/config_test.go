package config

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// plain is a kind with one setting.
type plain struct {
	Socket string `hcl:"socket,optional"`
}

func (p *plain) Daemon(hclog.Logger) (reload.Daemon, error) {
	if p.Socket == "bad" {
		return nil, hint.Wrap(errors.New("read socket: it is bad"), "take a good one")
	}
	return p, nil
}
func (p *plain) Check(context.Context, []reload.File) error { return nil }
func (p *plain) Follow(context.Context, []reload.File, reload.Mark) (reload.Mark, error) {
	return reload.Mark{}, nil
}

// told is a command as the config has it.
type told struct {
	plain
	args    []string
	timeout string
	targets int
}

// shelf is a store with a path.
type shelf struct {
	Path string `hcl:"path,optional"`
}

func (s *shelf) Open() (watcher.Store, error) { return nil, errors.New("not opened in tests") }
func (s *shelf) Resolve(dir string) {
	if !filepath.IsAbs(s.Path) {
		s.Path = filepath.Join(dir, s.Path)
	}
}

func load(t *testing.T, name, text string) (*Config, Problems, string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	write(t, path, text)
	c, problems := Load([]string{path}, options())
	return c, problems, dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func options(extra ...Extra) Options {
	return Options{
		Kinds: Kinds{
			Stores:   map[string]func() StoreSettings{"consul": func() StoreSettings { return &shelf{} }, "file": func() StoreSettings { return &shelf{} }},
			Clusters: map[string]func() cluster.Settings{"patroni": func() cluster.Settings { return &cluster.Patroni{} }},
			Daemons:  map[string]func() Daemon{"plain": func() Daemon { return &plain{} }},
			Command: func(c Command) Daemon {
				return &told{plain{}, c.Args, c.Timeout, c.Targets}
			},
		},
		Builtin: func(name string) (string, bool) { return `{{ var "port" 1 }}`, name == "x.cfg" || name == "pass" }, Builtins: []string{"pass", "x.cfg"},
		Private: func(name string) bool { return name == "pass" },
		Extra:   extra,
	}
}

const whole = `
log_level = "debug"
log_format = "json"
state_dir = "state"
file {
  path = "s.yaml"
}
cluster "patroni" "main" {
  scope      = "batman"
  namespace  = "/db/"
  datacenter = "dc2"
  group      = 0
  confirm    = ["role"]
}
cluster "patroni" "other" {}
target "plain" "a" {
  template {
    source           = "builtin:x.cfg"
    destination      = "out/x"
    perms            = 0640
    user             = "postgres"
    group            = "12"
    backup           = true
    create_dest_dirs = true
    left_delimiter   = "[["
    right_delimiter  = "]]"
  }
  template {
    contents    = "{{ var \"port\" 1 }} {{ var \"list\" }} {{ var \"f\" }} {{ var \"m\" }} {{ var \"b\" }} {{ service \"a.web@dc2|any\" }}"
    destination = "/etc/y"
  }
  vars = {
    port = 6432
    list = ["a", 1, true]
    f    = 0.5
    m    = { k = "v" }
    b    = false
  }
  minimum = { web = 2 }
  wait {
    min = "1s"
    max = "5s"
  }
  check         = ["true", "{file}"]
  check_timeout = "250ms"
  check_network = true
  check_env     = ["APP_*"]
  socket        = "/run"
}
`

func TestLoad(t *testing.T) {
	c, problems, dir := load(t, "c.hcl", whole)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if c.LogLevel != "debug" || c.LogFormat != "json" || c.StateDir != filepath.Join(dir, "state") {
		t.Errorf("top level: %+v", c)
	}
	if s := c.Stores[0].Settings.(*shelf); c.Stores[0].Kind != "file" || c.Stores[0].Name != "file" || s.Path != filepath.Join(dir, "s.yaml") {
		t.Errorf("stores: %+v", c.Stores)
	}
	main, other := c.Clusters[0], c.Clusters[1]
	for want, cl := range map[watcher.Query]Cluster{
		{Kind: watcher.Prefix, Path: "db/batman/0/", Options: watcher.Options{Datacenter: "dc2"}}: main,
		{Kind: watcher.Prefix, Path: "service/other/"}:                                            other,
	} {
		source, err := cl.Settings.Source(cluster.Place{Name: cl.Name})
		if err != nil {
			t.Fatal(err)
		}
		if have := source.Queries(nil); len(have) != 1 || have[0] != want {
			t.Errorf("cluster %s reads %v, want %v", cl.Name, have, want)
		}
	}
	if !slices.Equal(main.Confirm, []cluster.Way{cluster.WayRole}) || len(other.Confirm) != 3 {
		t.Errorf("leaders are confirmed by %v and %v", main.Confirm, other.Confirm)
	}
	a := c.Targets[0]
	if a.WaitMin != time.Second || a.WaitMax != 5*time.Second || a.CheckTimeout != 250*time.Millisecond || len(a.Check) != 2 ||
		a.Keeps.Network == nil || !*a.Keeps.Network || !slices.Equal(a.Keeps.Env, []string{"APP_*"}) || a.Minimum["web"] != 2 || a.Settings.(*plain).Socket != "/run" {
		t.Errorf("target: %+v", a)
	}
	want := map[string]any{"port": 6432, "list": []any{"a", 1, true}, "f": 0.5, "m": map[string]any{"k": "v"}, "b": false}
	if diff := cmp.Diff(want, a.Vars); diff != "" {
		t.Errorf("vars (-want +have):\n%s", diff)
	}
	x, y := a.Templates[0], a.Templates[1]
	if x.Name != "builtin:x.cfg" || x.Destination != filepath.Join(dir, "out/x") || *x.Perms != fs.FileMode(0o640) ||
		x.User != "postgres" || x.Group != "12" || !x.Backup || !x.MakeDirs || x.Rules.Delims.Left != "[[" || x.Rules.Delims.Right != "]]" {
		t.Errorf("template: %+v", x)
	}
	if y.Destination != "/etc/y" || y.Perms != nil || !strings.HasPrefix(y.Text, "{{ var") || y.Name != "contents for /etc/y" {
		t.Errorf("template: %+v", y)
	}
}

// TestNamesMadeUp has templates whose vars can't be known before they run.
func TestNamesMadeUp(t *testing.T) {
	for _, text := range []string{`{{ \"db\" | var }}`, `{{ range list \"db\" }}{{ var . }}{{ end }}`} {
		_, problems, _ := load(t, "c.hcl", "target \"plain\" \"a\" {\n template {\n contents = \""+text+"\"\n destination = \"/x\"\n }\n vars = { db = 1 }\n}\n")
		if len(problems) > 0 {
			t.Errorf("%s: %v", text, problems)
		}
	}
}

// TestMistakes has one mistake in each config, with what is said of it.
func TestMistakes(t *testing.T) {
	target := func(body string) string {
		return "target \"plain\" \"a\" {\n  template {\n    contents    = \"x\"\n    destination = \"/x\"\n  }\n" + body + "\n}\n"
	}
	for name, c := range map[string]struct{ text, place, message, hint string }{
		"log level":       {"log_level = \"loud\"\n" + target(""), "1:1", `there is no log level "loud"`, "one of trace, debug, info, warn, error"},
		"log format":      {"log_format = \"xml\"\n" + target(""), "1:1", `there is no log format "xml"`, "plain or json"},
		"two stores":      {"consul {}\nconsul {}\n" + target(""), "2:1", "a second store named consul", "keep one of them"},
		"store setting":   {"file {\n  pth = \"x\"\n}\n" + target(""), "2:3", "Unsupported argument", `did you mean "path"?`},
		"cluster twice":   {"cluster \"patroni\" \"m\" {}\ncluster \"patroni\" \"m\" {}\n" + target(""), "2:1", `cluster "m" is there twice`, ""},
		"way to confirm":  {"cluster \"patroni\" \"m\" {\n  confirm = [\"vote\"]\n}\n" + target(""), "2:3", `there is no way to confirm a leader named "vote"`, `did you mean "none"`},
		"target name":     {strings.Replace(target(""), `"a"`, `"a/b"`, 1), "1:1", `target name "a/b"`, "letters, digits, - and _"},
		"no template":     {"target \"plain\" \"a\" {\n}\n", "1:1", "target plain a has no template", "add a template block"},
		"duration":        {target("  check_timeout = \"soon\""), "6:3", `check_timeout "soon" is no duration`, `write it as "5s"`},
		"wait":            {target("  wait {\n    min = \"5s\"\n    max = \"1s\"\n  }"), "6:3", "wait: max is shorter than min", ""},
		"checked network": {target("  check_network = false"), "6:3", "check_network has no effect: no program checks its files", "add check"},
		"no check":        {target("  check_timeout = \"1s\""), "6:3", "check_timeout without check has no effect", "the kind's own check"},
		"vars":            {target("  vars = [1]"), "6:3", "vars is no map", "listen_port = 6432"},
		"unused var":      {target("  vars = { prot = 1 }"), "6:3", `no template asks for var "prot"`, "its templates ask for none"},
		"unused minimum":  {target("  minimum = { wbe = 2 }"), "6:3", `no template asks for service "wbe"`, "its templates ask for none"},
		"kind's setting":  {target("  soket = \"x\""), "6:3", "Unsupported argument", `did you mean "socket"?`},
		"common setting":  {target("  minimun = {}"), "6:3", "Unsupported argument", `did you mean "minimum"?`},
		"kind says no":    {target("  socket = \"bad\""), "6:3", "read socket: it is bad", "take a good one"},
		"type":            {target("  check = 5"), "6:11", "list of string required", ""},
		"template's word": {strings.Replace(target(""), "contents ", "content  ", 1), "3:5", "Unsupported argument", `did you mean "contents"?`},
	} {
		t.Run(name, func(t *testing.T) {
			config, problems, _ := load(t, "c.hcl", c.text)
			if config != nil || !problems.Fatal() {
				t.Fatalf("it was taken: %+v", config)
			}
			for _, p := range problems {
				if strings.HasSuffix(p.Place(), "c.hcl:"+c.place) && strings.Contains(p.Message, c.message) && strings.Contains(p.Hint, c.hint) && p.Text != "" {
					return
				}
			}
			t.Errorf("want %s: %s, hint %s; have:\n%v", c.place, c.message, c.hint, problems)
		})
	}
}

func TestJSON(t *testing.T) {
	c, problems, _ := load(t, "c.json", `{"log_level": "warn", "file": {"path": "s"}, "target": {"plain": {"a": {
		"template": [{"contents": "{{ var \"p\" }}", "destination": "/x"}, {"contents": "y", "destination": "/y", "perms": "0600"}],
		"vars": {"p": [1, "two"]}, "socket": "/run"}}}}`)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	a := c.Targets[0]
	if len(a.Templates) != 2 || *a.Templates[1].Perms != 0o600 || !cmp.Equal(a.Vars, map[string]any{"p": []any{1, "two"}}) {
		t.Errorf("target: %+v", a)
	}
	_, problems, _ = load(t, "c.json", `{"target": {"plain": {"a": {"template": {"contents": "x", "destination": "/x"}, "soket": "y"}}}}`)
	if !problems.Fatal() || !strings.Contains(problems.Error(), `did you mean "socket"?`) {
		t.Errorf("a mistake in JSON: %v", problems)
	}
}

// FuzzLoad reads any text as a config, in HCL or JSON: it is taken, or refused with a
// place in it for each problem.
func FuzzLoad(f *testing.F) {
	for _, text := range []string{
		whole,
		"template {\n source = \"a\" destination = \"/x\" perms = 0640 wait = \"1s:2s\" command = \"${x}\"\n}\nconsul = { address = \"a\" }\n",
		"target \"plain\" \"a\" {\n template {\n contents = <<EOT\nx\nEOT\n destination = \"/x\"\n}\n}\n",
		`{"target":{"plain":{"a":{"template":[{"contents":"x","destination":"/x"}],"vars":{"a":[1,null]}}}}}`,
		`{"template":[{"source":"a","destination":"b","perms":"0640","exec":{"command":["x"]}}],"consul":{"address":"a"}}`,
		"a = \"${\"${\"${", "a = [[[[", `{"a":{"a":{"a":`, "\xef\xbb\xbf\xff\x00", "a = <<-\n", "wait {\n min = \"\"\n}\n", "target", "cluster \"patroni\" \"\" {}\n",
		"template { perms = 99999999999999999999 destination = \"\\uD800\" }", "consul { address = null }", "target \"plain\" \"a\" {\n vars = { (x) = 1e999 }\n}\n",
	} {
		f.Add(text, false)
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, json bool) {
		name := "c.hcl"
		if json {
			name = "c.json"
		}
		c, problems, dir := load(t, name, text)
		if (c == nil) != problems.Fatal() {
			t.Errorf("config %v with problems %v", c, problems)
		}
		for _, p := range problems {
			if p.Message == "" || p.File != filepath.Join(dir, name) && p.File != "template" && p.Line > 0 {
				t.Errorf("a problem of nowhere: %+v", p)
			}
			if p.Line < 0 || p.Line > strings.Count(text, "\n")+2 || p.Column < 0 {
				t.Errorf("a problem beyond the text: %+v", p)
			}
			_ = p.String()
		}
	})
}

// TestSane: no file makes a pgbaton that runs descend until its stack is full.
func TestSane(t *testing.T) {
	for name, text := range map[string]string{
		"lists":   "a = 1\nb = " + strings.Repeat("[", 1_000_000),
		"blocks":  "x = 1\n" + strings.Repeat("a { ", 1_000_000),
		"texts":   "x = 1\na = \"" + strings.Repeat("${\"", 1_000_000),
		"too big": "a = \"" + strings.Repeat("x", maxSize) + "\"",
	} {
		for _, file := range []string{"c.hcl", "c.json"} {
			c, problems, _ := load(t, file, text)
			want := "more than 500 brackets are open here"
			if name == "too big" {
				want = "it is larger than 16 MiB"
			}
			if c != nil || len(problems) != 1 || problems[0].Message != want || name != "too big" && problems[0].Line != 2 {
				t.Errorf("%s in %s: %v, problems %.300v", name, file, c, problems)
			}
		}
	}
}

// Where a built-in template may make a file that holds a password, nobody else reads it,
// unless the config says so.
func TestPrivateTemplates(t *testing.T) {
	for settings, want := range map[string]fs.FileMode{
		"source = \"builtin:pass\"": 0o600, "source = \"builtin:pass\"\nperms = \"0640\"": 0o640, "source = \"builtin:x.cfg\"": 0, "contents = \"x\"": 0,
	} {
		c, problems, _ := load(t, "c.hcl", "target \"plain\" \"a\" {\ntemplate {\n"+settings+"\ndestination = \"/x\"\n}\n}\n")
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		if perms := c.Targets[0].Templates[0].Perms; (perms == nil) != (want == 0) || perms != nil && *perms != want {
			t.Errorf("%s has perms %v, want %v", settings, perms, want)
		}
	}
}
