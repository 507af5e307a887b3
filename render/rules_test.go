package render_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/watcher"
)

func run(t *testing.T, text string, rules render.Rules, in render.Input) render.Result {
	t.Helper()
	tmpl, err := render.Parse("t.tmpl", text, rules)
	if err != nil {
		t.Fatal(err)
	}
	in.Now = time.Now()
	return tmpl.Execute(t.Context(), in)
}

func TestRules(t *testing.T) {
	dir := t.TempDir()
	inside, outside := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	for _, d := range []string{inside, outside} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "f"), []byte("content"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(inside, "link")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(inside)
	lenient := render.Rules{MissingKeys: true, Relative: true}
	denied := render.Rules{Denied: []string{"env"}}
	sandbox := render.Rules{Relative: true, Sandbox: inside}
	is := watcher.Answer{Presence: watcher.Present, Value: "content"}
	file := watcher.Snapshot{
		{Store: watcher.Local, Kind: watcher.File, Path: inside + "/f"}:                                           is,
		{Store: watcher.Local, Kind: watcher.File, Path: inside + "/f", Options: watcher.Options{Within: inside}}: is,
	}
	for _, c := range []struct {
		name, text string
		rules      render.Rules
		want       string // what it renders, or "error: " and a part of the error
	}{
		{"missing key", `{{ (parseJSON "{}").a }}`, render.Rules{}, `error: map has no entry for key "a"`},
		{"missing key, lenient", `{{ (parseJSON "{}").a }}`, lenient, "<no value>"},
		{"relative", `{{ file "f" }}`, render.Rules{}, "error: is not an absolute path"},
		{"relative, lenient", `{{ file "f" }}`, lenient, "content"},
		{"in the sandbox", fmt.Sprintf(`{{ file %q }}`, inside+"/f"), sandbox, "content"},
		{"out of the sandbox", fmt.Sprintf(`{{ file %q }}`, outside+"/f"), sandbox, "error: outside of the sandbox"},
		{"out of it by dots", `{{ file "../out/f" }}`, sandbox, "error: outside of the sandbox"},
		{"out of it to write", `{{ writeToFile "../out/g" "" "" "0600" "x" }}`, sandbox, "error: outside of the sandbox"},
		{"out of it by a link", `{{ file "link/f" }}`, sandbox, "error: outside of the sandbox"},
		{"denied", `{{ env "PATH" }}`, render.Rules{Denied: []string{"env"}}, "error: env is disabled by function_denylist"},
		{"denied by a pattern", `{{ sprig_env "PATH" }}`, render.Rules{Denied: []string{"sprig_*"}}, "error: sprig_env is disabled"},
		{"denied in a definition", `{{ define "x" }}{{ env "PATH" }}{{ end }}{{ executeTemplate "x" }}`, denied, "error: env is disabled"},
		{"denied in a template's argument", `{{ define "x" }}{{ . }}{{ end }}{{ template "x" env "PATH" }}`, denied, "error: env is disabled"},
		{"denied in a block", `{{ block "x" . }}{{ range list 1 }}{{ with $v := env "PATH" }}{{ $v }}{{ end }}{{ end }}{{ end }}`, denied, "error: env is disabled"},
		{"denied as the end of a pipe", `{{ "PATH" | env }}`, denied, "error: env is disabled"},
		{"denied in a condition", `{{ if false }}{{ else if eq (dict "a" (env "PATH")).a "" }}{{ end }}`, denied, "error: env is disabled"},
		{"denied by its other name", `{{ sprig_env "PATH" }}`, denied, "error: sprig_env is disabled"},
		{"sprig's, denied by its other name", `{{ expandenv "$PATH" }}`, render.Rules{Denied: []string{"sprig_*"}}, "error: expandenv is disabled"},
		{"not sprig's", `{{ env "PGBATON_TEST_NONE" }}x`, render.Rules{Denied: []string{"sprig_*"}}, "x"},
		{"denied, but not called", `{{ if false }}{{ env "PATH" }}{{ end }}x`, render.Rules{Denied: []string{"env"}}, "x"},
		{"delimiters", `<< "a" >>{{ b }}`, render.Rules{Delims: render.Delims{Left: "<<", Right: ">>"}}, "a{{ b }}"},
		{"templates without an end", `{{ define "x" }}{{ executeTemplate "x" }}{{ end }}{{ executeTemplate "x" }}`, render.Rules{}, "error: templates deep"},
	} {
		r := run(t, c.text, c.rules, render.Input{Snapshot: file})
		have := string(r.Content)
		if r.Err != nil {
			have = "error: " + r.Err.Error()
		}
		if failing := strings.TrimPrefix(c.want, "error: "); failing == c.want && have != c.want || !strings.Contains(have, failing) {
			t.Errorf("%s: %q, want %q", c.name, have, c.want)
		}
	}
}

// A plugin is not run for what is thrown away.
func TestPlugin(t *testing.T) {
	var runs []string
	in := render.Input{Snapshot: watcher.Snapshot{}, Plugin: func(name string, args []string) (string, error) {
		runs = append(runs, name+" "+strings.Join(args, "+"))
		return "  said\n", nil
	}}
	const text = `{{ key "k" | plugin "p" " a " "" }}`
	if r := run(t, text, render.Rules{}, in); r.Complete() || len(runs) > 0 {
		t.Errorf("complete %v, ran %v", r.Complete(), runs)
	}
	in.Snapshot[watcher.Query{Kind: watcher.Key, Path: "k"}] = watcher.Answer{Presence: watcher.Present, Value: watcher.Pair{Value: "v"}}
	if r := run(t, text, render.Rules{}, in); string(r.Content) != "said" || strings.Join(runs, ", ") != "p a+v" {
		t.Errorf("%q, %v, ran %v", r.Content, r.Err, runs)
	}
	if r := run(t, text, render.Rules{}, render.Input{Snapshot: in.Snapshot}); r.Err == nil {
		t.Errorf("without anything that runs it: %q", r.Content)
	}
}

func TestWriteToFile(t *testing.T) {
	r := run(t, `{{ "a" | writeToFile "/x/one" "0" "root" "0640" }}{{ "b" | writeToFile "/x/two" "" "" "0600" "newline" }}
{{- "c" | writeToFile "/x/two" "" "" "0644" "append,newline" }}{{ "d" | writeToFile "/x/one" "" "" "0600" }}text`, render.Rules{}, render.Input{})
	files, err := r.Beside()
	if r.Err != nil || err != nil || string(r.Content) != "text" || len(files) != 2 {
		t.Fatalf("%q, %v, %v, %+v", r.Content, r.Err, err, files)
	}
	if one := files[0]; one.Path != "/x/one" || string(one.Content) != "d" || *one.Perms != 0o600 || one.User != nil {
		t.Errorf("%+v", one)
	}
	if two := files[1]; two.Path != "/x/two" || string(two.Content) != "b\nc\n" || *two.Perms != 0o644 || !two.MakeDirs {
		t.Errorf("%+v", two)
	}
	for text, want := range map[string]string{
		`{{ writeToFile "/x" "" "" "0640" }}`:         "want a path, user, group, permissions",
		`{{ writeToFile "/x" "" "" "rw" "c" }}`:       `permissions "rw"`,
		`{{ writeToFile "x" "" "" "0640" "c" }}`:      "not an absolute path",
		`{{ writeToFile "/x" "" "" "10000" "text" }}`: `permissions "10000"`,
	} {
		if r := run(t, text, render.Rules{}, render.Input{}); r.Err == nil || !strings.Contains(r.Err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, r.Err, want)
		}
	}
	r = run(t, `{{ writeToFile "/x" "nobody-here" "" "0640" "c" }}`, render.Rules{}, render.Input{})
	if _, err := r.Beside(); err == nil || !strings.Contains(err.Error(), "nobody-here") {
		t.Errorf("an unknown user: %v", err)
	}
}
