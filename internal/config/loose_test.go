package config

import (
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// habits is what consul-template's users write, and HCL 2 refuses.
const habits = `
consul { path = "s" }
log_level = "err"
wait = "2s:5s"
pid_file = "run/pid"
kill_signal = "SIGUSR2"
reload_signal = "sigusr1"
default_delimiters { left = "<<" }
"template" {
  source = "/etc/a.ctmpl" destination = "/etc/a" perms = 0640 command = "kill -HUP $(cat pid)"
}
template {
  contents = <<EOT
${HOME} %{+Q}r "\."
EOT
  destination = "b/c d.conf"
  perms = "0600"
  command = "kill -HUP $(cat pid)"
  error_on_missing_key = true
  function_denylist = ["plugin", "sprig_*"]
  sandbox_path = "/srv"
  create_dest_dirs = false
  right_delimiter = ">>"
  wait { min = "1s" }
}
template { source = "/etc/d.ctmpl" destination = "/d" command = ["systemctl", "reload", "d"] command_timeout = "60s" perms = 416 wait { enabled = false } }
template { source = "builtin:x.cfg" destination = "/e" }
`

func TestLoose(t *testing.T) {
	c, problems, dir := load(t, "c.hcl", habits)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	cwd, _ := filepath.Abs(".")
	if c.LogLevel != "error" || c.PIDFile != cwd+"/run/pid" || c.KillSignal != syscall.SIGUSR2 || c.ReloadSignal != syscall.SIGUSR1 {
		t.Errorf("%+v", c)
	}
	if c.Stores[0].Settings.(*shelf).Path != dir+"/s" {
		t.Errorf("store %+v", c.Stores[0])
	}
	var names []string
	for _, target := range c.Targets {
		names = append(names, target.Kind+" "+target.Name)
		if target.Kind != LooseKind || target.Minimum != nil || len(target.Templates) != 1 {
			t.Errorf("%+v", target)
		}
	}
	b := "template " + strings.ReplaceAll(strings.TrimPrefix(cwd, "/"), "/", "-") + "-b-c-d.conf"
	if want := []string{"template etc-a", b, "template d", "template e"}; !slices.Equal(names, want) {
		t.Errorf("targets %q, want %q", names, want)
	}
	first, second, third, last := c.Targets[0], c.Targets[1], c.Targets[2], c.Targets[3]
	if first.Settings != second.Settings || second.Settings == third.Settings {
		t.Error("those with one command do not share it, or others do")
	}
	for i, want := range []told{
		{args: []string{"sh", "-c", "kill -HUP $(cat pid)"}, targets: 2},
		{args: []string{"sh", "-c", "kill -HUP $(cat pid)"}, targets: 2},
		{args: []string{"systemctl", "reload", "d"}, timeout: "60s", targets: 1},
		{targets: 1},
	} {
		have := c.Targets[i].Settings.(*told)
		if !slices.Equal(have.args, want.args) || have.timeout != want.timeout || have.targets != want.targets {
			t.Errorf("command of %s: %+v", c.Targets[i].Name, have)
		}
	}
	for i, want := range []time.Duration{2 * time.Second, time.Second, 0, 2 * time.Second} {
		if c.Targets[i].WaitMin != want {
			t.Errorf("%s waits %v", c.Targets[i].Name, c.Targets[i].WaitMin)
		}
	}
	if first.WaitMax != 5*time.Second || second.WaitMax != 4*time.Second {
		t.Errorf("at most %v and %v", first.WaitMax, second.WaitMax)
	}
	for i, want := range []string{"-rw-r-----", "-rw-------", "-rw-r-----"} {
		if perms := c.Targets[i].Templates[0].Perms; perms == nil || perms.String() != want {
			t.Errorf("%s: permissions %v, want %s", c.Targets[i].Name, perms, want)
		}
	}
	tmpl := second.Templates[0]
	if tmpl.Text != "${HOME} %{+Q}r \"\\.\"\n" || tmpl.Destination != cwd+"/b/c d.conf" || tmpl.MakeDirs || !first.Templates[0].MakeDirs {
		t.Errorf("template %+v", tmpl)
	}
	want := render.Rules{Delims: render.Delims{Left: "<<", Right: ">>"}, Relative: true, Denied: []string{"plugin", "sprig_*"}, Sandbox: "/srv"}
	if diff := cmp.Diff(want, tmpl.Rules); diff != "" {
		t.Errorf("rules (-want +have):\n%s", diff)
	}
	if !first.Templates[0].Rules.MissingKeys || last.Templates[0].Text == "" {
		t.Errorf("%+v, %+v", first.Templates[0], last.Templates[0])
	}
}

// In HCL 2 and in JSON the same is taken.
func TestLooseInOtherSyntax(t *testing.T) {
	for name, text := range map[string]string{
		"c.hcl":  "template {\n  source = \"/a\"\n  destination = \"/b\"\n  command = [\"x\", \"y\"]\n}\ntarget \"plain\" \"p\" {\n  template {\n    contents = \"c\"\n    destination = \"/d\"\n  }\n}\n",
		"c.json": `{"template": [{"source": "/a", "destination": "/b", "command": ["x", "y"]}], "target": {"plain": {"p": {"template": {"contents": "c", "destination": "/d"}}}}}`,
	} {
		c, problems, _ := load(t, name, text)
		if len(problems) > 0 || len(c.Targets) != 2 || !slices.Equal(c.Targets[1].Settings.(*told).args, []string{"x", "y"}) {
			t.Errorf("%s: %v, %+v", name, problems, c)
		}
	}
}

// JSON is read as HCL 1 reads it, and errors still have their places.
func TestLegacyJSON(t *testing.T) {
	c, problems, _ := load(t, "c.json", `{"template": {"contents": "c", "destination": "/d", "perms": 416}, "wait": "1s:2s",`+
		` "exec": {"command": "a", "env": {"pristine": true}}}`)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	target := c.Targets[0]
	if *target.Templates[0].Perms != 0o640 || target.WaitMin != time.Second || target.WaitMax != 2*time.Second || !c.Exec.Pristine {
		t.Errorf("%+v, %+v", target, c.Exec)
	}
	_, problems, _ = load(t, "c.json", "{\"template\": [{\"contents\": \"nope\", \"destination\": \"/ä\", \"nope\": 1}],\n"+
		"  \"exec\": {\"env\": {\"pristine\": true}, \"nope\": {}}, \"wait\": \"nope\"}")
	var at [][2]int
	for _, p := range problems {
		at = append(at, [2]int{p.Line, p.Column})
	}
	for _, want := range [][2]int{{1, 57}, {2, 39}, {2, 60}} {
		if !slices.Contains(at, want) {
			t.Errorf("nothing at %v:\n%s", want, problems)
		}
	}
}

// What is pgbaton's own is taken in HCL 1 too, if HCL 2 can't read the file.
func TestOwnInLegacySyntax(t *testing.T) {
	c, problems, _ := load(t, "c.hcl", "cluster \"patroni\" \"main\" { scope = \"batman\" confirm = [\"role\"] }\n"+
		"target \"plain\" \"p\" { socket = \"s\" vars = { a = 1 b = [\"x\", 2.5, true] } template { source = \"/c\" destination = \"/d\" } }\n")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	p := c.Targets[0]
	if p.Settings.(*plain).Socket != "s" || !cmp.Equal(p.Vars, map[string]any{"a": 1, "b": []any{"x", 2.5, true}}) || c.Clusters[0].Settings.(*cluster.Patroni).Scope != "batman" {
		t.Errorf("%+v, %+v", c.Clusters, p)
	}
}

func TestLooseMistakes(t *testing.T) {
	const fine = "template { source = \"/a\" destination = \"/b\" }\n"
	for name, c := range map[string]struct{ text, place, message, hint string }{
		"vault":          {fine + "vault { address = \"x\" }\n", "2:1", "vault is not supported", "Vault's own agent"},
		"nomad":          {"nomad {\n  address = \"x\"\n}\n" + fine, "1:1", "nomad is not supported", "does not read Nomad"},
		"typo":           {"template { sorce = \"/a\" destination = \"/b\" }\n", "1:12", `named "sorce"`, `did you mean "source"?`},
		"no destination": {"template { source = \"/a\" }\n", "1:1", `"destination" is required`, ""},
		"no source":      {"template { destination = \"/a\" }\n", "1:1", "either source or contents", ""},
		"signal":         {"kill_signal = \"SIGNAL\"\n" + fine, "1:1", `kill_signal: there is no signal "SIGNAL"`, "SIGUSR1"},
		"command":        {"template { source = \"/a\" destination = \"/b\" command = { a = 1 } }\n", "1:45", "neither a text nor a list", ""},
		"wait":           {"wait = \"5s:1s\"\n" + fine, "1:1", "max is shorter than min", ""},
		"no time":        {"wait = \"soon\"\n" + fine, "1:8", `"soon"`, ""},
		"same twice":     {fine + fine, "2:1", "writes /b", ""},
		"a stray label":  {"template \"x\" { source = \"/a\" destination = \"/b\" }\n", "1:10", "Extraneous label", ""},
		"an argument":    {"template = \"x\"\n" + fine, "1:1", "is a block", ""},
	} {
		_, problems, _ := load(t, "c.hcl", c.text)
		if !problems.Fatal() || !strings.HasSuffix(problems[0].Place(), "c.hcl:"+c.place) || !strings.Contains(problems[0].Message, c.message) || !strings.Contains(problems[0].Hint, c.hint) {
			t.Errorf("%s: %v", name, problems)
		}
	}
	// What has no effect is said, and no reason to stop.
	c, problems, _ := load(t, "c.hcl", "max_stale = \"10m\"\ntemplate { source = \"/a\" destination = \"/b\" error_fatal = true }\n")
	if c == nil || len(problems) != 2 || problems.Fatal() {
		t.Errorf("%v", problems)
	}
}

// What HCL 1's reader can't read is no end of the process.
func TestLegacyThatPanics(t *testing.T) {
	for _, text := range []string{"template { source = \"\\777\" destination = \"/b\" }\n", "template { source = \"/a\" destination = \"/b\" wait = 99999999999999999999 }\n", "a = \"\\U00110000\" b = 1\n"} {
		if _, problems, _ := load(t, "c.hcl", text); !problems.Fatal() {
			t.Errorf("%q was taken", text)
		}
	}
}

// Two paths that make one name are two targets.
func TestLooseNames(t *testing.T) {
	c, problems, _ := load(t, "c.hcl", "template { source = \"/a\" destination = \"/etc/a/b\" }\ntemplate { source = \"/a\" destination = \"/etc/a-b\" }\n")
	if len(problems) > 0 || c.Targets[0].Name != "etc-a-b" || c.Targets[1].Name == "etc-a-b" || !strings.HasPrefix(c.Targets[1].Name, "etc-a-b-") {
		t.Errorf("%v, %+v", problems, c)
	}
}

// Of what several configs set the last counts; blocks add up.
func TestLayers(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "1.hcl"), filepath.Join(dir, "2.hcl")
	write(t, one, "log_level = \"warn\"\nlog_format = \"json\"\nwait { min = \"1s\" }\nexec { command = \"a\" splay = \"1s\" env { pristine = true } }\nconsul { path = \"/one\" }\ntemplate { source = \"/a\" destination = \"/b\" }\n")
	write(t, two, "log_level = \"debug\"\nconsul {\n  path = \"/two\"\n}\n")
	c, problems := Load([]string{one, two}, options(Extra{Name: "the command line", Exact: true, Text: "wait {\n  max = \"3s\"\n}\nexec {\n  splay = \"2s\"\n  env {\n    custom = [\"A=$${x}\"]\n  }\n}\ntemplate {\n  source = \"/c\"\n  destination = \"/d\"\n  command = \"%%{x}\"\n}\n"}))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if c.LogLevel != "debug" || c.LogFormat != "json" || c.Stores[0].Settings.(*shelf).Path != "/two" || len(c.Targets) != 2 {
		t.Errorf("%+v, store %+v", c, c.Stores[0].Settings)
	}
	if w := c.Targets[0]; w.WaitMin != time.Second || w.WaitMax != 3*time.Second {
		t.Errorf("wait %v to %v", w.WaitMin, w.WaitMax)
	}
	if e := c.Exec; !slices.Equal(e.Command, []string{"sh", "-c", "a"}) || e.Splay != 2*time.Second || !e.Pristine || !slices.Equal(e.Custom, []string{"A=${x}"}) {
		t.Errorf("exec %+v", e)
	}
	if args := c.Targets[1].Settings.(*told).args; args[2] != "%{x}" {
		t.Errorf("the command of a flag is %q", args)
	}
	c, problems = Load(nil, options(Extra{Name: "CT_LOCAL_CONFIG", Text: ` {"template": {"source": "/c", "destination": "/d"}}`}))
	if len(problems) > 0 || len(c.Targets) != 1 {
		t.Errorf("%+v, %v", c, problems)
	}
	_, problems = Load(nil, options(Extra{Name: "the command line", Text: "nonsense = 1\n"}))
	if !problems.Fatal() || problems[0].File != "the command line" {
		t.Errorf("%v", problems)
	}
}
