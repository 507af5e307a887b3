package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
	"github.com/pgbaton/pgbaton/watcher/file"
)

func checkVerb(std stdio) *cobra.Command {
	var paths []string
	cmd := &cobra.Command{
		Use: "check",
		Example: `  pgbaton check -config pgbaton.hcl
  # every *.hcl and *.json of a folder, merged
  pgbaton check -config conf.d`,
		Short: "Find every mistake in config and templates, without a store",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return checkConfig(std, sources{paths: paths}) },
	}
	configFlag(cmd, &paths)
	return cmd
}

func checkConfig(std stdio, from sources) error {
	c, problems := load(from)
	if c != nil {
		problems = append(problems, checkTemplates(c)...)
	}
	if problems.Fatal() {
		return problems
	}
	for _, p := range problems {
		_, _ = fmt.Fprint(std.err, p.String())
	}
	count := 0
	for _, t := range c.Targets {
		count += len(t.Templates)
	}
	_, _ = fmt.Fprintf(std.out, "valid: %s, %s, %s\n", several(len(c.Targets), "target"), several(count, "template"), several(len(c.Clusters), "cluster"))
	return nil
}

// checkTemplates finds the mistakes of all templates.
func checkTemplates(c *config.Config) (problems config.Problems) {
	for _, t := range c.Targets {
		for _, tmpl := range t.Templates {
			problems = append(problems, checkTemplate(c, tmpl, t.Vars)...)
		}
	}
	return problems
}

// checkTemplate finds what can be known of a template's mistakes without data.
func checkTemplate(c *config.Config, t config.Template, vars map[string]any) config.Problems {
	text := t.Text
	if t.Source != "" {
		content, err := file.Read(t.Source)
		if err != nil {
			p := config.Problem{File: t.Source, Code: explain.ConfigUnreadable, Message: fmt.Sprintf("template can't be read: %v", err), Hint: "correct source, or create the file"}
			return config.Problems{p}
		}
		text = string(content)
	}
	parsed, err := render.Parse(t.Name, text, t.Rules)
	if err != nil {
		return config.Problems{config.TemplateProblem(err)}
	}
	var problems config.Problems
	var names []string
	for _, cl := range c.Clusters {
		names = append(names, cl.Name)
	}
	used, _ := parsed.Calls("cluster")
	for _, name := range used {
		if !slices.Contains(names, name) {
			err := explain.Mark(parsed.Mistaken("cluster", name, "no cluster block is named %q", name), explain.ConfigUnknown)
			if near := render.Nearest(name, names); near != "" {
				problems = append(problems, config.TemplateProblem(hint.Wrap(err, "did you mean %q?", near)))
			} else {
				problems = append(problems, config.TemplateProblem(hint.Wrap(err, `add cluster "patroni" %q; there are: %s`, name, strings.Join(names, ", "))))
			}
		}
	}
	if len(problems) == 0 {
		if err := parsed.Rehearse(context.Background(), rehearsal(c, vars)); err != nil {
			problems = append(problems, config.TemplateProblem(err))
		}
	}
	return problems
}

// rehearsal is data that is made up: each cluster has a leader and a replica. Of keys and
// services nothing is known.
func rehearsal(c *config.Config, vars map[string]any) render.Input {
	snapshot := watcher.Snapshot{}
	for _, cl := range c.Clusters {
		leader := cluster.Member{Name: "pg1", Host: "192.0.2.1", Port: 5432, State: "running", Role: "primary", API: "http://192.0.2.1:8008/patroni"}
		replica := cluster.Member{Name: "pg2", Host: "192.0.2.2", Port: 5432, State: "running", Role: "replica", API: "http://192.0.2.2:8008/patroni"}
		b := cluster.Baton{Confirmed: &leader}
		b.Seen = cluster.Cluster{Name: cl.Name, Scope: cl.Name, Members: []cluster.Member{leader, replica}, Leader: &leader, Replicas: []cluster.Member{replica}}
		snapshot[watcher.Query{Store: watcher.Clusters, Kind: watcher.Cluster, Path: cl.Name}] = watcher.Answer{Presence: watcher.Present, Value: b}
	}
	return render.Input{Snapshot: snapshot, Now: time.Now(), Env: os.LookupEnv, Vars: vars}
}

// several is a number of things.
func several(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
