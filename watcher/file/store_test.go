package file_test

import (
	gocmp "cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.yaml.in/yaml/v3"

	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/file"
	"github.com/pgbaton/pgbaton/watcher/watchertest"
)

func open(t *testing.T, path string) watcher.Store {
	t.Helper()
	store, err := (&file.Config{Path: path}).Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// editor rewrites a state file as a person's editor does.
type editor struct {
	mu      sync.Mutex
	path    string
	catalog file.Catalog
}

func (e *editor) edit(t testing.TB, change func(*file.Catalog)) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.catalog)
	content, err := yaml.Marshal(e.catalog)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, e.path, string(content))
}

// replace renames a new file over the old one.
func replace(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+"~", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

func TestContract(t *testing.T) {
	watchertest.Run(t, func(t *testing.T) watchertest.Harness { return newEditor(t).harness(t) })
}

// newEditor makes a state file with nothing in it.
func newEditor(t *testing.T) *editor {
	t.Helper()
	e := &editor{path: filepath.Join(t.TempDir(), "state.yaml")}
	e.catalog.KV = map[string]file.Value{}
	e.catalog.Services = map[string][]file.Instance{}
	e.edit(t, func(*file.Catalog) {})
	return e
}

func (e *editor) harness(t *testing.T) watchertest.Harness {
	t.Helper()
	return watchertest.Harness{
		Store: open(t, e.path),
		Put: func(t testing.TB, key, value string) {
			e.edit(t, func(c *file.Catalog) { c.KV[key] = file.Value(value) })
		},
		Delete: func(t testing.TB, key string) {
			e.edit(t, func(c *file.Catalog) { delete(c.KV, key) })
		},
		Register: func(t testing.TB, service, id, address string, port int, status string, tags ...string) {
			e.edit(t, func(c *file.Catalog) {
				c.Services[service] = append(c.Services[service], file.Instance{
					ID: id, Address: address, Port: port, Tags: tags, Checks: []file.Check{{ID: "c", Status: status}},
				})
			})
		},
	}
}

// TestFaults takes the file away, and brings back an older one.
func TestFaults(t *testing.T) {
	watchertest.RunFaults(t, func(t *testing.T) (watchertest.Harness, watchertest.Faults) {
		e := newEditor(t)
		return e.harness(t), watchertest.Faults{
			Away: func(t testing.TB) func() {
				if err := os.Remove(e.path); err != nil {
					t.Fatal(err)
				}
				return func() { e.edit(t, func(*file.Catalog) {}) }
			},
			Older: func(t testing.TB) func() {
				kept := maps.Clone(e.catalog.KV)
				return func() { e.edit(t, func(c *file.Catalog) { c.KV = kept }) }
			},
		}
	})
}

func TestStateFileForms(t *testing.T) {
	for name, text := range map[string]string{
		"yaml": "kv:\n  a: text\n  b: {x: 1}\n  c: 7\nservices:\n  web:\n    - {address: '10.0.0.1:80', tags: [z, a]}\n",
		"json": `{"kv": {"a": "text", "b": {"x": 1}, "c": 7}, "services": {"web": [{"address": "10.0.0.1:80", "tags": ["z", "a"]}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := file.ParseCatalog([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]file.Value{"a": "text", "b": `{"x":1}`, "c": "7"}
			if diff := cmp.Diff(want, c.KV); diff != "" {
				t.Errorf("kv (-want +have):\n%s", diff)
			}
			a, err := c.Answer(watcher.Query{Kind: watcher.Service, Path: "web"})
			if err != nil {
				t.Fatal(err)
			}
			i := a.Value.([]*watcher.Instance)[0]
			if i.Address != "10.0.0.1" || i.Port != 80 || strings.Join(i.Tags, ",") != "a,z" || i.Status != "passing" {
				t.Errorf("instance is %+v", i)
			}
		})
	}
}

func TestBadStateFile(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "it is empty"},
		{"typo", "kvs: {}\n", "kvs"},
		{"no yaml", "kv: [", "line 1"},
	} {
		if _, err := file.ParseCatalog([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

// TestBrokenEditKeepsTheLastAnswer breaks a state file under a watcher and
// mends it again.
func TestBrokenEditKeepsTheLastAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.yaml")
	replace(t, path, "kv: {k: one}\n")
	store := open(t, path)
	w := watcher.New(map[string]watcher.Store{watcher.Catalog: store}, hclog.NewNullLogger())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	q := watcher.Query{Kind: watcher.Key, Path: "k"}
	sub := w.Subscribe()
	sub.Want(map[watcher.Query]struct{}{q: {}})
	is := func(value string, broken bool) func() error {
		return func() error {
			a := sub.Snapshot()[q]
			p, _ := a.Value.(watcher.Pair)
			if p.Value != value || (a.Err != nil) != broken {
				return fmt.Errorf("value %q, error %w", p.Value, gocmp.Or(a.Err, errors.New("none")))
			}
			return nil
		}
	}
	servertest.Eventually(t, "first value", is("one", false))
	replace(t, path, "kv: {k: [")
	servertest.Eventually(t, "broken edit", is("one", true))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "missing file", is("one", true))
	replace(t, path, "kv: {k: two}\n")
	servertest.Eventually(t, "mended", is("two", false))
}

// TestLocalSeesEveryWayToChange changes a file in the ways that editors,
// config management and Kubernetes do.
func TestLocalSeesEveryWayToChange(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	local := file.NewLocal()
	defer func() { _ = local.Close() }()
	q := watcher.Query{Kind: watcher.File, Path: path}
	after := uint64(0)
	next := func(what, want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for {
			a, err := local.Fetch(ctx, q, after)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			after = a.Rev
			have, _ := a.Value.(string)
			if a.Presence == watcher.Absent {
				have = "(absent)"
			}
			if have == want {
				return
			}
		}
	}
	write := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	next("at first", "(absent)")
	write(path, "written")
	next("written", "written")
	replace(t, path, "renamed over")
	next("renamed over", "renamed over")
	write(path, "written again")
	next("written again", "written again")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next("removed", "(absent)")

	for _, v := range []string{"v1", "v2"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(dir, v, "f"), "from "+v)
	}
	link := func(to, at string) {
		t.Helper()
		if err := os.Symlink(to, at+"~"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(at+"~", at); err != nil {
			t.Fatal(err)
		}
	}
	link("v1", filepath.Join(dir, "..data"))
	link("..data/f", path)
	next("linked", "from v1")
	link("v2", filepath.Join(dir, "..data"))
	next("link switched", "from v2")
	write(filepath.Join(dir, "v2", "f"), "written behind the link")
	next("written behind the link", "written behind the link")
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := file.Read(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, 17<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Read(big); err == nil || !strings.Contains(err.Error(), "16 MiB") {
		t.Errorf("a file too large: %v", err)
	}
}

// TestCaptureAnswersAlike puts a store's answers into a catalog and asks that
// the same questions.
func TestCaptureAnswersAlike(t *testing.T) {
	from, err := file.ParseCatalog([]byte(`
kv: {a/x: "1", a/y: "2", b: "3"}
services:
  web: [{id: w1, node: n1, address: 10.0.0.1, port: 80, tags: [t], meta: {m: v}, checks: [{id: c, status: passing}]}]
nodes: [{name: n1, address: 10.0.0.9}]
datacenters: [dc2, dc1]
mesh:
  connect: {web: [{id: p1, node: n1, address: 10.0.0.1, port: 81}]}
  partitions: [{name: default}]
  peerings: [{name: east, peeringState: ACTIVE, remote: {datacenter: dc9}}]
  exported_services: [{service: web, consumers: {peers: [east]}}]
  imported_services: [{service: db, sourcePeer: east}]
  ca_roots: [{id: r, rootCert: PEM, active: true}]
  ca_leaf: {web: {service: web, certPEM: PEM}}
`))
	if err != nil {
		t.Fatal(err)
	}
	queries := []watcher.Query{
		{Kind: watcher.Key, Path: "b"},
		{Kind: watcher.Key, Path: "absent"},
		{Kind: watcher.Prefix, Path: "a/"},
		{Kind: watcher.Service, Path: "web"},
		{Kind: watcher.Node, Path: "n1"},
		{Kind: watcher.Nodes},
		{Kind: watcher.Datacenters},
		{Kind: watcher.Connect, Path: "web"},
		{Kind: watcher.Partitions},
		{Kind: watcher.Peerings},
		{Kind: watcher.Exported},
		{Kind: watcher.Imported},
		{Kind: watcher.CARoots},
		{Kind: watcher.CALeaf, Path: "web"},
	}
	captured := &file.Catalog{}
	for _, q := range queries {
		a, err := from.Answer(q)
		if err != nil {
			t.Fatal(err)
		}
		captured.Add(q, a)
	}
	text, err := yaml.Marshal(captured)
	if err != nil {
		t.Fatal(err)
	}
	back, err := file.ParseCatalog(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	for _, q := range queries {
		want, _ := from.Answer(q)
		have, err := back.Answer(q)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s (-want +have):\n%s", q, diff)
		}
	}
}
