package compat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/consul"
	"github.com/pgbaton/pgbaton/watcher/file"
)

// meant are the cases in which pgbaton does something else, and why.
var meant = map[string]string{
	"fails importedServices": "consul-template 0.41.1 has no such function; Consul has such a list",
}

// scene is a template of the corpus, and what consul-template is to make of it.
type scene struct {
	name, text   string
	fails, waits bool
}

func corpus(t *testing.T, fixtures string) []scene {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	var all []scene
	seen, texts := map[string]bool{}, map[string]string{}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			if seen[f.Name] {
				t.Errorf("%s: there are two cases %q", path, f.Name)
			}
			// It knows a template by its text, and writes but one of two that are equal.
			if other, twice := texts[string(f.Data)]; twice {
				t.Errorf("%s: %q has the text of %q", path, f.Name, other)
			}
			seen[f.Name], texts[string(f.Data)] = true, f.Name
			all = append(all, scene{
				name: f.Name, text: strings.ReplaceAll(string(f.Data), "FIXTURE", fixtures),
				fails: strings.HasPrefix(f.Name, "fails "), waits: strings.HasPrefix(f.Name, "waits "),
			})
		}
	}
	if len(all) < 300 {
		t.Errorf("the corpus has %d cases, of at least 300", len(all))
	}
	for name := range meant {
		if !seen[name] {
			t.Errorf("a difference is meant in %q, which is no case", name)
		}
	}
	return all
}

// TestSameBytes renders the corpus with both.
func TestSameBytes(t *testing.T) {
	t.Setenv("COMPAT_SET", "value")
	t.Setenv("COMPAT_EMPTY", "")
	t.Setenv("COMPAT_KEY", "name")
	server := fixture(t)
	dir := t.TempDir()
	servertest.File(t, filepath.Join(dir, "plain.txt"), "plain text\n", 0o644)
	servertest.File(t, filepath.Join(dir, "data.json"), `{"a":"from a file"}`, 0o644)
	cases := corpus(t, dir)
	theirs := judge(t, server, cases)
	ours := ourselves(t, server)
	same := 0
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			their, our := theirs[i], ours(t, c)
			switch want := c.expected(); {
			case their.kind != want:
				t.Errorf("consul-template %s, and the case's name says that it %s", their, want)
			case meant[c.name] != "":
				if our.kind == their.kind && our.text == their.text {
					t.Errorf("it is the same in both: no difference to be meant (%s)", meant[c.name])
				}
			case our.kind != their.kind || our.text != their.text:
				t.Errorf("consul-template %s\npgbaton %s", their, our)
			default:
				same++
			}
		})
	}
	t.Logf("%d cases, %d the same, %d meant to differ", len(cases), same, len(meant))
}

// outcome is what a template came to.
type outcome struct {
	kind string // renders, fails or waits
	text string // what was rendered
	why  string
}

func (o outcome) String() string {
	if o.kind == "renders" {
		return fmt.Sprintf("renders %q", o.text)
	}
	return o.kind + ": " + o.why
}

func (c scene) expected() string {
	switch {
	case c.fails:
		return "fails"
	case c.waits:
		return "waits"
	}
	return "renders"
}

// judge asks consul-template: about all that should render in one process, about
// each of the others in one of its own.
func judge(t *testing.T, server *servertest.ConsulServer, cases []scene) []outcome {
	t.Helper()
	program := servertest.ConsulTemplate(t)
	dir := t.TempDir()
	ask := func(which []int, patience time.Duration) ([]byte, error) {
		type template struct {
			Contents    string `json:"contents"`
			Destination string `json:"destination"`
		}
		var config struct {
			Consul struct {
				Address string `json:"address"`
			} `json:"consul"`
			Template []template `json:"template"`
		}
		config.Consul.Address = server.Addr
		for _, i := range which {
			config.Template = append(config.Template, template{cases[i].text, filepath.Join(dir, fmt.Sprint(i))})
		}
		text, err := json.Marshal(config)
		if err != nil {
			return nil, err
		}
		path := filepath.Join(dir, fmt.Sprintf("config-%d.json", which[0]))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, "-once", "-log-level", "err", "-config", path)
		cmd.Cancel = func() error { return cmd.Process.Kill() }
		out, err := cmd.CombinedOutput()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return out, err
	}
	results := make([]outcome, len(cases))
	result := func(i int, out []byte, err error) {
		text, missing := os.ReadFile(filepath.Join(dir, fmt.Sprint(i)))
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			results[i] = outcome{kind: "waits"}
		case err != nil:
			results[i] = outcome{kind: "fails", why: strings.TrimSpace(string(out))}
		case missing != nil:
			results[i] = outcome{kind: "renders"} // an empty file is not written
		default:
			results[i] = outcome{kind: "renders", text: string(text)}
		}
	}
	var together, alone []int
	for i, c := range cases {
		if c.fails || c.waits {
			alone = append(alone, i)
		} else {
			together = append(together, i)
		}
	}
	if out, err := ask(together, servertest.Deadline); err == nil {
		for _, i := range together {
			result(i, nil, nil)
		}
	} else {
		t.Logf("consul-template fails for one of those that should render: %v\n%s", err, out)
		alone = append(alone, together...)
	}
	var all sync.WaitGroup
	places := make(chan struct{}, 4)
	for _, i := range alone {
		patience := servertest.Deadline
		if cases[i].waits {
			patience = 3 * time.Second
		}
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			out, err := ask([]int{i}, patience)
			result(i, out, err)
		})
	}
	all.Wait()
	return results
}

// ourselves renders as a target does, on the same Consul.
func ourselves(t *testing.T, server *servertest.ConsulServer) func(*testing.T, scene) outcome {
	t.Helper()
	store, err := (&consul.Config{Address: server.Addr}).Open()
	if err != nil {
		t.Fatal(err)
	}
	local := file.NewLocal()
	t.Cleanup(func() { _ = local.Close() })
	stores := map[string]watcher.Store{watcher.Catalog: store, watcher.Local: local}
	return func(t *testing.T, c scene) outcome {
		tmpl, err := render.Parse(c.name, c.text, render.Rules{MissingKeys: true, Relative: true})
		if err != nil {
			return outcome{kind: "fails", why: err.Error()}
		}
		snap := watcher.Snapshot{}
		for {
			r := tmpl.Execute(t.Context(), render.Input{
				Snapshot: snap, Now: time.Now(), Env: os.LookupEnv,
				Plugin: func(name string, args []string) (string, error) {
					return proc.Run(t.Context(), proc.Command{Args: append([]string{name}, args...)})
				},
			})
			fresh := 0
			for q := range r.Asked {
				if _, known := snap[q]; known {
					continue
				}
				fresh++
				if snap[q], err = stores[q.Store].Fetch(t.Context(), q, 0); err != nil {
					return outcome{kind: "fails", why: err.Error()}
				}
			}
			switch {
			case fresh > 0:
			case r.Err != nil && r.Complete():
				return outcome{kind: "fails", why: r.Err.Error()}
			case !r.Complete():
				return outcome{kind: "waits", why: r.Waiting[0].String()}
			default:
				return outcome{kind: "renders", text: string(r.Content)}
			}
		}
	}
}

// The table of what is meant to differ is a short one.
func TestFewDifferences(t *testing.T) {
	if len(meant) > 10 {
		t.Errorf("%d differences are meant: %v", len(meant), slices.Sorted(maps.Keys(meant)))
	}
}
