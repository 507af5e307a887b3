package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/sprig/v3"

	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/status"
	"github.com/pgbaton/pgbaton/render/funcs"
	"github.com/pgbaton/pgbaton/templates"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// setting is a name with an hcl tag.
type setting struct {
	name     string
	required bool
	fallback string // what its tag default says; "" is nothing
}

func tagged(tag string) (setting, bool) {
	name, kind, _ := strings.Cut(reflect.StructTag(tag).Get("hcl"), ",")
	switch kind {
	case "", "attr", "optional", "block":
		return setting{name, kind != "optional" && kind != "block", reflect.StructTag(tag).Get("default")}, name != ""
	}
	return setting{}, false
}

// reflected lists the settings of a kind's config and of the blocks in it, each
// under the heading that documents it.
func reflected(heading string, typ reflect.Type, into map[string][]setting) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		s, ok := tagged(string(f.Tag))
		if !ok {
			continue
		}
		into[heading] = append(into[heading], s)
		if strings.HasSuffix(f.Tag.Get("hcl"), ",block") {
			reflected(heading+": "+s.name, f.Type, into)
		}
	}
}

// settings lists every setting of the code by the heading that documents it.
func settings(t *testing.T) map[string][]setting {
	t.Helper()
	all := map[string][]setting{}
	for name, store := range kinds().Stores {
		reflected(name, reflect.TypeOf(store()), all)
	}
	for name, cluster := range kinds().Clusters {
		reflected("cluster "+strconv.Quote(name), reflect.TypeOf(cluster()), all)
	}
	for name, daemon := range kinds().Daemons {
		reflected("target "+strconv.Quote(name), reflect.TypeOf(daemon()), all)
	}
	// The common blocks are internal/config's own: they are read from its source.
	headings := map[string]string{
		"top": "Top level", "storeBlock": "any store", "clusterBlock": "cluster", "targetBlock": "target", "MemberAPI": "cluster: api", "MemberSQL": "cluster: sql", "probeBlock": "cluster: probe", "looseBlock": "template", "delimitersBlock": "default_delimiters",
		"execBlock": "exec", "envBlock": "exec: env", "syslogBlock": "syslog", "logFileBlock": "log_file", "deduplicateBlock": "deduplicate", "statusBlock": "status",
	}
	paths, err := filepath.Glob("../../internal/config/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			typ, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			heading := headings[spec.Name.Name]
			if heading == "" {
				heading = "target: " + strings.TrimSuffix(spec.Name.Name, "Block")
			}
			for _, f := range typ.Fields.List {
				if f.Tag == nil {
					continue
				}
				if s, ok := tagged(strings.Trim(f.Tag.Value, "`")); ok {
					all[heading] = append(all[heading], s)
				}
			}
			return true
		})
	}
	return all
}

// docs/config.md has every setting of the code, and no other.
func TestDocsSettings(t *testing.T) {
	documented := map[string]table{}
	for _, table := range docs(t)["docs/config.md"].tables {
		documented[table.heading] = table
	}
	real := settings(t)
	sameNames(t, "headings of docs/config.md", slices.Collect(maps.Keys(documented)), slices.Collect(maps.Keys(real)))
	for heading, list := range real {
		var have, want []string
		required, fallbacks := map[string]bool{}, map[string]string{}
		for _, s := range list {
			want = append(want, s.name)
			required[s.name], fallbacks[s.name] = s.required, s.fallback
		}
		for _, row := range documented[heading].rows {
			name, kind, fallback := code(row[0]), row[1], row[2]
			have = append(have, name)
			if (fallback == "required") != required[name] && kind != "block" {
				t.Errorf("%s: %s has the default %s, required is %v", heading, name, fallback, required[name])
			}
			if kind != "block" && fallback != "required" && strings.ReplaceAll(fallback, "`", "") != fallbacks[name] {
				t.Errorf("%s: %s has the default %s, its tag says %s", heading, name, fallback, fallbacks[name])
			}
			if row[3] == "" {
				t.Errorf("%s: %s has no meaning", heading, name)
			}
		}
		sameNames(t, heading, have, want)
	}
}

// docs/templates.md has every function that is not sprig's, and what it says
// that their examples give is what they give.
func TestDocsFunctions(t *testing.T) {
	d := docs(t)["docs/templates.md"]
	theirs := sprig.TxtFuncMap()
	var want, have []string
	for name, fn := range funcs.Map(&funcs.World{}) {
		same := theirs[name] != nil && reflect.ValueOf(fn).Pointer() == reflect.ValueOf(theirs[name]).Pointer()
		if !same && !strings.HasPrefix(name, "sprig_") {
			want = append(want, name)
		}
	}
	var examples, results []string
	for _, table := range d.tables {
		if table.header[0] != "function" {
			continue
		}
		for _, row := range table.rows {
			if row[0] != "" {
				have = append(have, code(row[0]))
			}
			if name := have[len(have)-1]; !regexp.MustCompile(`\b` + name + `\b`).MatchString(row[1]) {
				t.Errorf("the example of %s does not use it: %s", name, row[1])
			}
			examples, results = append(examples, code(row[1])), append(results, row[2])
		}
	}
	sameNames(t, "functions", have, want)

	var state string
	for _, s := range d.snippets {
		if s.info == "state" {
			state = s.text
		}
	}
	const between = "\n--\n"
	got := strings.Split(renderText(t, state, strings.Join(examples, between)), between)
	if len(got) != len(examples) {
		t.Fatalf("%d results of %d examples", len(got), len(examples))
	}
	for i, result := range results {
		if want := strings.TrimPrefix(code(result), "nothing"); want != "…" && got[i] != want {
			t.Errorf("%s gives %q, not %q", examples[i], got[i], want)
		}
	}
}

// renderText renders a template by the render verb.
func renderText(t *testing.T, state, template string) string {
	t.Helper()
	dir := t.TempDir()
	config := "cluster \"patroni\" \"main\" {\n  scope = \"batman\"\n}\n" +
		"target \"exec\" \"x\" {\n  template {\n    source = \"t.tmpl\"\n    destination = \"out\"\n  }\n" +
		"  vars = { listen_port = 6432 }\n  command = [\"true\"]\n}\n"
	for name, text := range map[string]string{"c.hcl": config, "state.yaml": state, "t.tmpl": template} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Into files: an example writes one of its own.
	code, _, stderr := try(t, "render", "-config", dir+"/c.hcl", "-state", dir+"/state.yaml", "-out", dir+"/rendered")
	if code != exitDone {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	text, err := os.ReadFile(filepath.Join(dir, "rendered", dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// docs/templates.md names every field and method that a template can reach.
func TestDocsFields(t *testing.T) {
	d := docs(t)["docs/templates.md"]
	for heading, typ := range map[string]reflect.Type{
		"of a cluster": reflect.TypeFor[*cluster.Cluster](), "of a member": reflect.TypeFor[*cluster.Member](),
	} {
		var have []string
		for _, table := range d.tables {
			if table.header[0] == heading {
				for _, row := range table.rows {
					for _, name := range codes(row[0]) {
						have = append(have, strings.TrimPrefix(strings.Fields(name)[0], "."))
					}
				}
			}
		}
		sameNames(t, heading, have, reachable(typ))
	}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[watcher.Pair](), reflect.TypeFor[watcher.Instance](), reflect.TypeFor[watcher.NodeInfo](),
		reflect.TypeFor[watcher.NodeDetail](), reflect.TypeFor[watcher.NodeService](), reflect.TypeFor[cluster.Failover](),
	} {
		for i := range typ.NumField() {
			if name := typ.Field(i).Name; !strings.Contains(d.text, "`."+name+"`") {
				t.Errorf("%v: .%s is not documented", typ, name)
			}
		}
	}
}

// reachable are the exported fields and methods of a pointer's type.
func reachable(typ reflect.Type) []string {
	var names []string
	for i := range typ.NumMethod() {
		names = append(names, typ.Method(i).Name)
	}
	for _, f := range reflect.VisibleFields(typ.Elem()) {
		if f.IsExported() {
			names = append(names, f.Name)
		}
	}
	return names
}

// The tables of vars in docs/templates.md are those of the templates; -update
// writes them anew.
func TestDocsVars(t *testing.T) {
	const path = "../../docs/templates.md"
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	declaration := regexp.MustCompile(`(?m)^\{\{- /\* ([a-z0-9_]+) \(([a-z]+), (.*?)\): (.*) \*/ -\}\}$`)
	for _, name := range templates.Names() {
		source, _ := templates.Text(name)
		want := "\n| var | kind | default | meaning |\n|---|---|---|---|\n"
		for _, m := range declaration.FindAllStringSubmatch(source, -1) {
			fallback := m[3]
			if fallback != "required" && fallback != "none" {
				fallback = "`" + fallback + "`"
			}
			want += "| `" + m[1] + "` | " + m[2] + " | " + fallback + " | " + strings.ReplaceAll(m[4], "|", `\|`) + " |\n"
		}
		begin := "<!-- vars:" + name + " -->\n"
		before, rest, found := strings.Cut(text, begin)
		have, after, closed := strings.Cut(rest, "\n<!-- end -->")
		if !found || !closed {
			t.Fatalf("docs/templates.md has no table between %s and <!-- end -->", strings.TrimSpace(begin))
		}
		if *update {
			text = before + begin + want + "\n<!-- end -->" + after
		} else if have != want {
			t.Errorf("%s: the table is not the template's; go test ./cmd/pgbaton -run TestDocsVars -update writes it anew", name)
		}
	}
	if *update && text != string(content) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// docs/operations.md has every field of what is promised as JSON, and no other.
func TestDocsFormats(t *testing.T) {
	for heading, typ := range map[string]reflect.Type{"The format": reflect.TypeFor[status.Status](), "History": reflect.TypeFor[history.List]()} {
		real := fields(typ)
		documented := map[string][]string{}
		for _, table := range docs(t)["docs/operations.md"].tables {
			if table.heading != heading || table.header[0] != "part" {
				continue
			}
			for _, row := range table.rows {
				parts := codes(row[0])
				if len(parts) == 0 {
					parts = []string{row[0]}
				}
				for _, part := range parts {
					documented[part] = codes(regexp.MustCompile(`\([^)]*\)`).ReplaceAllString(row[1], ""))
				}
			}
		}
		sameNames(t, heading, slices.Collect(maps.Keys(documented)), slices.Collect(maps.Keys(real)))
		for part, names := range real {
			sameNames(t, heading+": "+part, documented[part], names)
		}
	}
}

// fields are the names in the JSON of a type, and of all that is in it.
func fields(of reflect.Type) map[string][]string {
	all := map[string][]string{}
	var walk func(part string, typ reflect.Type)
	walk = func(part string, typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || typ == reflect.TypeFor[time.Time]() || all[part] != nil {
			return
		}
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			all[part] = append(all[part], name)
		}
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			walk(name, typ.Field(i).Type)
		}
	}
	walk("the whole", of)
	return all
}

// docs/operations.md quotes log lines that the code has.
func TestDocsLogLines(t *testing.T) {
	var source strings.Builder
	for _, dir := range []string{".", "../../internal", "../../watcher"} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			source.Write(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	quoted := 0
	for _, table := range docs(t)["docs/operations.md"].tables {
		if table.header[0] != "log line" {
			continue
		}
		for _, row := range table.rows {
			quoted++
			if line := code(row[0]); !strings.Contains(source.String(), `("`+line+`"`) {
				t.Errorf("nothing logs %q", line)
			}
		}
	}
	if quoted == 0 {
		t.Error("no log line is documented")
	}
}

// docs/security.md says nothing that is not shown by a test, and that is there.
func TestDocsSecurity(t *testing.T) {
	named := regexp.MustCompile("`([a-z/]+) (Test[A-Za-z]+)`")
	rows := 0
	for _, table := range docs(t)["docs/security.md"].tables {
		for _, row := range table.rows {
			rows++
			tests := named.FindAllStringSubmatch(row[len(row)-1], -1)
			if len(tests) == 0 {
				t.Errorf("%s: %q is shown by nothing", table.heading, row[0])
			}
			for _, test := range tests {
				sources, err := filepath.Glob(filepath.Join("../..", test[1], "*_test.go"))
				if err != nil {
					t.Fatal(err)
				}
				if !slices.ContainsFunc(sources, func(path string) bool {
					text, err := os.ReadFile(path)
					return err == nil && strings.Contains(string(text), "\nfunc "+test[2]+"(t *testing.T) {")
				}) {
					t.Errorf("%s: there is no %s in %s", table.heading, test[2], test[1])
				}
			}
		}
	}
	if rows < 20 {
		t.Errorf("%d rows were looked at", rows)
	}
}
