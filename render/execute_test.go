package render_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/file"
)

// execute runs a template over a state file until it is complete, as a target
// does.
func execute(t *testing.T, text, state string, vars map[string]any) render.Result {
	t.Helper()
	tmpl, err := render.Parse("t.tmpl", text, render.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := file.ParseCatalog([]byte(state))
	if err != nil {
		t.Fatal(err)
	}
	snap := watcher.Snapshot{}
	for {
		r := tmpl.Execute(t.Context(), render.Input{
			Snapshot: snap, Vars: vars, Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
			Env: func(name string) (string, bool) {
				if name != "SET" {
					return "", false
				}
				return "value of SET", true
			},
		})
		fresh := 0
		for q := range r.Asked {
			if _, known := snap[q]; known {
				continue
			}
			fresh++
			if snap[q], err = catalog.Answer(q); err != nil {
				t.Fatal(err)
			}
		}
		if fresh == 0 {
			return r
		}
	}
}

const state = `
kv:
  binary/one: "a\0b"
  binary/two: "\0"
  app/name: shop
  app/empty: ""
  app/deep/er: x
  which: name
services:
  web:
    - {id: w1, node: n1, address: 10.0.0.1, port: 80, tags: [a, b], meta: {zone: "1"}}
    - {id: w2, node: n2, address: 10.0.0.2, port: 81, tags: [b]}
    - {id: w3, node: n3, address: 10.0.0.3, port: 82, checks: [{status: critical}]}
nodes: [{name: n1, address: 10.9.0.1}, {name: n2, address: 10.9.0.2}]
datacenters: [dc2, dc1]
`

func TestFunctions(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{{ key "app/name" }}`, "shop"},
		{`{{ key "/app/name" }}`, "shop"},
		{`{{ key (printf "app/%s" (key "which")) }}`, "shop"},
		{`{{ keyOrDefault "app/none" "d" }}{{ keyOrDefault "app/empty" "e" }}`, "de"},
		{`{{ keyExists "app/name" }} {{ keyExists "app/none" }}`, "true false"},
		{`{{ range ls "app" }}{{ .Key }}={{ .Value }};{{ end }}`, "empty=;name=shop;"},
		{`{{ range tree "app" }}{{ .Key }};{{ end }}`, "deep/er;empty;name;"},
		{`{{ range safeTree "app/deep/" }}{{ .Path }}{{ end }}`, "app/deep/er"},
		{`{{ (tree "app" | explode).deep.er }}`, "x"},
		{`{{ range $top, $p := tree "app" | byKey }}{{ $top }}{{ end }}`, "deep"},
		{`{{ range service "web" }}{{ .Address }}:{{ .Port }} {{ end }}`, "10.0.0.1:80 10.0.0.2:81 "},
		{`{{ range service "a.web" }}{{ .ID }}{{ end }}`, "w1"},
		{`{{ range service "web|any" }}{{ .ID }}{{ .Status }} {{ end }}`, "w1passing w2passing w3critical "},
		{`{{ range service "web" "critical" }}{{ .ID }}{{ end }}`, "w3"},
		{`{{ range service "web@dc1" }}{{ .ID }}{{ else }}none{{ end }}`, "none"},
		{`{{ range $tag, $l := service "web" | byTag }}{{ $tag }}{{ len $l }} {{ end }}`, "a1 b2 "},
		{`{{ range $p, $l := service "web" | byPort }}{{ $p }} {{ end }}`, "80 81 "},
		{`{{ range $m, $l := service "web" | byMeta "zone" }}{{ $m }} {{ end }}`, "1 _no_zone_ "},
		{`{{ range services }}{{ .Name }}:{{ .Tags | join "," }}{{ end }}`, "web:a,b"},
		{`{{ range nodes }}{{ .Node }} {{ end }}`, "n1 n2 "},
		{`{{ with node "n1" }}{{ .Node.Address }}{{ range .Services }} {{ .Service }}{{ end }}{{ end }}`, "10.9.0.1 web"},
		{`{{ datacenters | join "," }}`, "dc1,dc2"},
		{`{{ env "SET" }}|{{ env "UNSET" }}|{{ envOrDefault "UNSET" "d" }}`, "value of SET||d"},
		{`{{ (parseJSON "{\"a\":[1,2]}").a | toJSON }}`, "[1,2]"},
		{`{{ (parseYAML "a: {b: c}").a.b }}`, "c"},
		{`{{ parseInt "7" }}{{ parseBool "true" }}{{ parseFloat "1.5" }}`, "7true1.5"},
		{`{{ range loop 3 }}{{ . }}{{ end }}{{ range loop 5 7 }}{{ . }}{{ end }}`, "01256"},
		{`{{ "a,b" | split "," | join "-" }}{{ " x " | trimSpace }}`, "a-bx"},
		{`{{ "aXb" | replaceAll "X" "." }}{{ "ab" | regexReplaceAll "[a]" "z" }}`, "a.bzb"},
		{`{{ "Ab" | toUpper }}{{ "Ab" | toLower }}{{ "ab" | toTitle }}`, "ABabAb"},
		{`{{ "x\ny" | indent 2 }}`, "  x\n  y"},
		{`{{ in (service "web" | byTag) "a" }}`, "false"},
		{`{{ "abc" | contains "b" }}{{ in (split "," "a,b") "c" }}`, "truefalse"},
		{`{{ split "," "a,b" | containsAll (list "a" "b") }}{{ split "," "a" | containsAny (list "a" "b") }}`, "truetrue"},
		{`{{ split "," "a" | containsNone (list "b") }}{{ split "," "a" | containsNotAll (list "a" "b") }}`, "truetrue"},
		{`{{ timestamp }} {{ timestamp "unix" }} {{ now | date "2006" }}`, "2026-01-02T03:04:05Z 1767323045 2026"},
		{`{{ "a" | base64Encode | base64Decode }}{{ "a" | sha256Hex | trunc 4 }}`, "aca97"},
		{`{{ define "only" }}x{{ end }}|{{ template "only" }}`, "|x"},
		{`{{ "pg-1.x" | slug }} {{ "abc" | sprig_upper }} {{ default "d" "" }}`, "pg-1_x ABC d"},
		{`{{ var "port" 5432 }} {{ var "name" }} {{ var "unset" "d" }}`, "6432 n d"},
	} {
		r := execute(t, c.text, state, map[string]any{"port": 6432, "name": "n"})
		if r.Err != nil || !r.Complete() || string(r.Content) != c.want {
			t.Errorf("%s\nhave %q, waiting %v, error %v\nwant %q", c.text, r.Content, r.Waiting, r.Err, c.want)
		}
	}
}

func TestWaiting(t *testing.T) {
	for text, want := range map[string]string{
		`{{ key "app/none" }}`:                   "key app/none: absent",
		`{{ range safeLs "none" }}{{ end }}`:     "prefix none: empty",
		`{{ (key "app/none" | parseJSON).a.b }}`: "key app/none: absent", // errors of what is missing don't count
	} {
		r := execute(t, text, state, nil)
		if r.Complete() || r.Waiting[0].String() != want {
			t.Errorf("%s: waiting for %v, want %s", text, r.Waiting, want)
		}
	}
}

func TestMinimum(t *testing.T) {
	tmpl, err := render.Parse("t", `{{ range service "web" }}{{ .ID }}{{ end }}`, render.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	q := watcher.Query{Kind: watcher.Service, Path: "web"}
	in := render.Input{
		Snapshot: watcher.Snapshot{q: {Presence: watcher.Present, Value: []*watcher.Instance{}}},
		Minimum:  func(string) int { return 1 },
	}
	r := tmpl.Execute(t.Context(), in)
	if r.Complete() || r.Waiting[0].Why != "0 instances, the minimum is 1" {
		t.Errorf("an empty service is rendered: %+v", r)
	}
	in.Minimum = func(string) int { return 0 }
	if r := tmpl.Execute(t.Context(), in); !r.Complete() {
		t.Errorf("a minimum of 0 still waits: %v", r.Waiting)
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ name, text, want, hint string }{
		{"unknown function", "a\n{{ kee \"x\" }}", "t.tmpl:2:4: function \"kee\" not defined", `did you mean "key"?`},
		{"not closed", "a\n{{ if true }}\n", "t.tmpl:2:4: the if that begins here has no end", "close it with {{ end }}"},
		{"the inner one not closed", "{{ range $x := list }}\n{{ if $x }}\n{{ end }}", "t.tmpl:1:4: the range that begins here has no end", "close it with {{ end }}"},
		{"one bracket", "ä {{ .x }", "t.tmpl:1:9: unexpected \"}\" in operand", "close the action with both: }}"},
		{"no such variable", "{{ $one := 1 }}\n{{ $onw }}", "t.tmpl:2:4: undefined variable \"$onw\"", "did you mean $one?"},
		{"not UTF-8", "ok\nbad \xff", "t.tmpl:2:5: not valid UTF-8", "save the template as UTF-8"},
	} {
		_, err := render.Parse("t.tmpl", c.text, render.Rules{})
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || hint.Of(err) != c.hint {
			t.Errorf("%s: error %v with hint %q", c.name, err, hint.Of(err))
		}
	}
	for _, c := range []struct{ name, text, want, hint string }{
		{"bad JSON", "\n{{ parseJSON \"{\" }}", "t.tmpl:2:4: parseJSON", ""},
		{"unset var", `{{ var "port" }}`, "t.tmpl:1:4: var port is not set", "add port to the target's vars"},
		{"wrong var", `{{ var "wrong" 1 }}`, "t.tmpl:1:4: var wrong: want a number, have text", "its default is 1"},
		{"empty mustEnv", `{{ mustEnv "UNSET" }}`, "t.tmpl:1:4: mustEnv: environment variable UNSET is empty", "set it where pgbaton is started"},
		{"bad state", `{{ service "web|sleepy" }}`, "t.tmpl:1:4: service: there is no check state", "the states are any, passing, warning, critical, maintenance"},
		{"bad option", `{{ key "a?x=1" }}`, "t.tmpl:1:4: key \"a?x=1\": there is no option", "the form is NAME[?ns=N&filter=EXPR][@DATACENTER][~NEAR][|STATUS]"},
		{"relative file", `{{ file "x" }}`, "t.tmpl:1:4: file: \"x\" is not an absolute path", "pgbaton's working directory is not where its config is"},
		{"huge repeat", `{{ repeat 100000000 "x" }}`, "t.tmpl:1:4: repeat:", ""},
		{"huge until", `{{ range until 100000000 }}{{ end }}`, "t.tmpl:1:10: until: a sequence of", ""},
		{
			"100 MB", `{{ range loop 1000000 }}0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789{{ end }}`,
			"t.tmpl: the template made more than", "look for a loop without an end",
		},
		{"NUL", "{{ \"\\x00\" }}", "t.tmpl: its result holds a NUL byte", "a value that it reads is no text"},
		{"NUL of a key", `{{ key "binary/one" }}`, "t.tmpl: its result holds a NUL byte", "the value of key binary/one is no text"},
		{"NUL of a list", `{{ range ls "binary" }}{{ .Value }}{{ end }}`, "t.tmpl: its result holds a NUL byte", "the value of key binary/one is no text"},
	} {
		r := execute(t, c.text, state, map[string]any{"wrong": "text"})
		if r.Err == nil || !strings.HasPrefix(r.Err.Error(), c.want) || hint.Of(r.Err) != c.hint {
			t.Errorf("%s: error %v\nwith hint %q", c.name, r.Err, hint.Of(r.Err))
		}
	}
}

// TestEndlessTemplateIsEnded runs loops that make nothing and never end.
func TestEndlessTemplateIsEnded(t *testing.T) {
	for _, text := range []string{
		"{{ range 1000000000000 }}{{ end }}",
		"{{ range until 1000000 }}{{ range until 1000000 }}{{ end }}{{ end }}",
		`{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}`,
		`{{ define "f" }}{{ if gt . 0 }}{{ template "f" (sub . 1) }}{{ template "f" (sub . 1) }}{{ end }}{{ end }}{{ template "f" 60 }}`,
	} {
		tmpl, err := render.Parse("t", text, render.Rules{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		r := tmpl.Execute(ctx, render.Input{})
		cancel()
		if r.Err == nil {
			t.Errorf("%s came to an end: %d bytes", text, len(r.Content))
		}
	}
}

// TestAskingForEverIsEnded asks for a new key in each round of a loop.
func TestAskingForEverIsEnded(t *testing.T) {
	tmpl, err := render.Parse("t", `{{ range $i := loop 1000000 }}{{ keyOrDefault (printf "k/%d" $i) "" }}{{ end }}`, render.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	r := tmpl.Execute(t.Context(), render.Input{})
	if r.Err == nil || len(r.Waiting) > 0 || !strings.Contains(r.Err.Error(), "more than 10000 things") {
		t.Errorf("error %v, waiting for %d", r.Err, len(r.Waiting))
	}
}

func TestMissingClusterWaits(t *testing.T) {
	tmpl, err := render.Parse("t", `host={{ (cluster "main").Leader.Host }}`, render.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	r := tmpl.Execute(t.Context(), render.Input{Snapshot: watcher.Snapshot{}})
	if r.Complete() || !strings.Contains(r.Waiting[0].String(), "cluster main: not answered yet") {
		t.Errorf("waiting %v, error %v", r.Waiting, r.Err)
	}
	q := watcher.Query{Store: watcher.Clusters, Kind: watcher.Cluster, Path: "main"}
	r = tmpl.Execute(t.Context(), render.Input{Snapshot: watcher.Snapshot{q: {Err: errors.New("away")}}})
	if r.Complete() || !strings.Contains(r.Waiting[0].String(), "away") {
		t.Errorf("waiting %v", r.Waiting)
	}
}

func TestCalls(t *testing.T) {
	tmpl, err := render.Parse("t", `{{ define "x" }}{{ var "b" 1 }}{{ end }}{{ with $c := cluster "main" }}{{ if eq (var "a" 1) 1 }}{{ else }}{{ range list (var "c" 2) }}{{ end }}{{ end }}{{ end }}`, render.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	if vars, all := tmpl.Calls("var"); len(vars) != 3 || !all {
		t.Errorf("vars are %v, all %v", vars, all)
	}
	if clusters, _ := tmpl.Calls("cluster"); len(clusters) != 1 || clusters[0] != "main" {
		t.Errorf("clusters are %v", clusters)
	}
}
