package templates_test

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.yaml.in/yaml/v3"

	"github.com/pgbaton/pgbaton/internal/baton"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/templates"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
	"github.com/pgbaton/pgbaton/watcher/file"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestGolden(t *testing.T) {
	for _, f := range fixtures(t) {
		t.Run(f.name, func(t *testing.T) {
			got := f.render(t, asHCL)
			if *update {
				if err := os.WriteFile(f.golden(), []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(f.golden())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs from %s (-update writes it anew):\n%s", f.golden(), diff)
			}
			// What the vars came from must not show.
			for name, form := range map[string]func(any) any{"YAML": asYAML, "floats": asFloats} {
				if diff := cmp.Diff(got, f.render(t, form)); diff != "" {
					t.Errorf("vars as %s:\n%s", name, diff)
				}
			}
		})
	}
}

// Every result is text that a person can read too.
func TestLayout(t *testing.T) {
	for _, f := range fixtures(t) {
		t.Run(f.name, func(t *testing.T) {
			got := f.render(t, asHCL)
			if !strings.HasSuffix(got, "\n") || strings.HasSuffix(got, "\n\n") || strings.HasPrefix(got, "\n") {
				t.Error("it does not begin and end with exactly one line")
			}
			for i, line := range strings.Split(got, "\n") {
				if strings.TrimRight(line, " \t") != line {
					t.Errorf("line %d ends with white space: %q", i+1, line)
				}
				if strings.Contains(line, "<no value>") || strings.Contains(line, "\t") {
					t.Errorf("line %d: %q", i+1, line)
				}
			}
			if strings.Contains(got, "\n\n\n") {
				t.Error("two empty lines follow one another")
			}
		})
	}
}

// The VIP of two balancers needs no cluster.
func TestKeepalivedWithoutCluster(t *testing.T) {
	f := fixture{template: "keepalived.conf", vars: map[string]any{"virtual_ipaddress": []any{"192.0.2.10/24"}, "interface": "eth0"}}
	result := f.execute(t, f.vars)
	if result.Err != nil || len(result.Asked) > 0 {
		t.Errorf("asked for %v, error %v", result.Asked, result.Err)
	}
}

// fixture is one folder of testdata/TEMPLATE/.
type fixture struct {
	name, template, dir string
	state               []byte
	keys                map[string]file.Value // in the place of those of state, if set
	vars                map[string]any
	unfit               map[string][]string // probes that fail, by the member's name; nil has no probes
}

func (f fixture) golden() string { return filepath.Join(f.dir, "golden") }

// kind is how its cluster is kept: Patroni's, unless its folder has the name of another
// kind.
func (f fixture) kind() cluster.Settings {
	switch filepath.Base(f.dir) {
	case "stolon":
		return &cluster.Stolon{ClusterName: "demo"}
	case "key":
		return &cluster.Key{Path: "service/pg/leader", Service: "postgres"}
	}
	return &cluster.Patroni{Scope: "batman"}
}

func fixtures(t *testing.T) []fixture {
	t.Helper()
	var all []fixture
	for _, name := range templates.Names() {
		cases, err := os.ReadDir(filepath.Join("testdata", name))
		if err != nil || len(cases) == 0 {
			t.Fatalf("builtin:%s has no fixtures: %v", name, err)
		}
		for _, c := range cases {
			f := fixture{name: name + "/" + c.Name(), template: name, dir: filepath.Join("testdata", name, c.Name())}
			f.state = optional(t, filepath.Join(f.dir, "state.yaml"))
			if err := yaml.Unmarshal(optional(t, filepath.Join(f.dir, "vars.yaml")), &f.vars); err != nil {
				t.Fatalf("%s: %v", f.dir, err)
			}
			if err := yaml.Unmarshal(optional(t, filepath.Join(f.dir, "unfit.yaml")), &f.unfit); err != nil {
				t.Fatalf("%s: %v", f.dir, err)
			}
			all = append(all, f)
		}
	}
	return all
}

func optional(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return content
}

func (f fixture) render(t *testing.T, form func(any) any) string {
	t.Helper()
	vars := map[string]any{}
	for name, value := range f.vars {
		vars[name] = form(value)
	}
	result := f.execute(t, vars)
	if result.Err != nil {
		t.Fatalf("%v (hint: %s)", result.Err, hint.Of(result.Err))
	}
	return string(result.Content)
}

// execute renders as the daemon does, and wants a result.
func (f fixture) execute(t *testing.T, vars map[string]any) render.Result {
	t.Helper()
	result := f.attempt(t, vars)
	if !result.Complete() {
		t.Fatalf("waits for %v", result.Waiting)
	}
	return result
}

// attempt renders pass by pass, each with the answers that the one before asked
// for, until nothing new is asked for.
func (f fixture) attempt(t *testing.T, vars map[string]any) render.Result {
	t.Helper()
	text, ok := templates.Text(f.template)
	if !ok {
		t.Fatalf("there is no builtin:%s", f.template)
	}
	tmpl, err := render.Parse("builtin:"+f.template, text, render.Rules{})
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, hint.Of(err))
	}
	catalog := &file.Catalog{}
	if len(f.state) > 0 {
		if catalog, err = file.ParseCatalog(f.state); err != nil {
			t.Fatal(err)
		}
	}
	if f.keys != nil {
		catalog = &file.Catalog{KV: f.keys}
	}
	keys := shelf{catalog}
	w := watcher.New(map[string]watcher.Store{watcher.Catalog: keys}, hclog.NewNullLogger())
	source, err := f.kind().Source(cluster.Place{Name: "main"})
	if err != nil {
		t.Fatal(err)
	}
	tracker, err := baton.New([]baton.Definition{{Name: "main", Source: source}}, state.Folder{}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	running.Go(func() { _ = tracker.Run(ctx, w.Subscribe) })
	defer running.Wait()
	defer cancel()
	snapshot := watcher.Snapshot{}
	for range 10 {
		result := tmpl.Execute(t.Context(), render.Input{Snapshot: maps.Clone(snapshot), Now: time.Unix(0, 0), Vars: vars})
		if result.Complete() {
			return result
		}
		known := len(snapshot)
		for q := range result.Asked {
			store := watcher.Store(keys)
			switch q.Store {
			case watcher.Clusters:
				store = tracker
			case watcher.Local:
				store = secrets
			}
			answer, err := store.Fetch(t.Context(), q, 0)
			if err != nil {
				t.Fatal(err)
			}
			if b, is := answer.Value.(cluster.Baton); is && f.unfit != nil {
				b.Health = f.health(b)
				answer.Value = b
			}
			snapshot[q] = answer
		}
		if len(snapshot) == known {
			return result
		}
	}
	t.Fatal("not complete after 10 passes")
	return render.Result{}
}

// health is what probes "sql" and "lag" would say of each member.
func (f fixture) health(b cluster.Baton) map[string]cluster.Health {
	all := map[string]cluster.Health{}
	for _, m := range b.Seen.Members {
		var h cluster.Health
		for _, kind := range []cluster.ProbeKind{cluster.ProbeSQL, cluster.ProbeLag} {
			fit := !slices.Contains(f.unfit[m.Name], string(kind))
			h.Checks = append(h.Checks, cluster.Check{Name: string(kind), Kind: kind, Healthy: fit, Since: time.Unix(1, 0), Limit: cluster.LagLimit{Bytes: 1}})
		}
		all[m.Name] = h
	}
	return all
}

// shelf is a store that never changes.
type shelf struct{ catalog *file.Catalog }

func (s shelf) Fetch(_ context.Context, q watcher.Query, _ uint64) (watcher.Answer, error) {
	return s.catalog.Answer(q)
}

// passwords are files that fixtures name, by their path.
type passwords map[string]string

// secrets hold what no file should show as it is.
var secrets = passwords{
	"/etc/pgbaton/app.password":     "it's \"$HOME\", `id` \\ 1:2\nnot this line\n",
	"/etc/pgbaton/empty.password":   "\nsecond line\n",
	"/etc/pgbaton/windows.password": "wörd\r\n",
}

func (p passwords) Fetch(_ context.Context, q watcher.Query, _ uint64) (watcher.Answer, error) {
	text, ok := p[q.Path]
	if !ok {
		return watcher.Answer{Presence: watcher.Absent, Change: 1, Rev: 1}, nil
	}
	return watcher.Answer{Presence: watcher.Present, Value: text, Change: 1, Rev: 1}, nil
}

func asYAML(v any) any { return v }

// asHCL turns a value of YAML into what a config gives: whole numbers are
// int64.
func asHCL(v any) any { return each(v, func(n int) any { return int64(n) }) }

// asFloats is for a config where every number is a float64.
func asFloats(v any) any { return each(v, func(n int) any { return float64(n) }) }

func each(v any, number func(int) any) any {
	switch v := v.(type) {
	case int:
		return number(v)
	case []any:
		out := slices.Clone(v)
		for i := range out {
			out[i] = each(out[i], number)
		}
		return out
	case map[string]any:
		out := maps.Clone(v)
		for name := range out {
			out[name] = each(out[name], number)
		}
		return out
	}
	return v
}
