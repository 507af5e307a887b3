package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/watcher/file"
)

func checkVerb(std stdio) *cobra.Command {
	var paths []string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find every mistake in config and templates, without a store",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return checkConfig(std, sources{paths: paths}) },
	}
	configFlag(cmd, &paths)
	return cmd
}

func checkConfig(std stdio, from sources) error {
	c, problems := load(from)
	count := 0
	if c != nil {
		for _, t := range c.Targets {
			for _, tmpl := range t.Templates {
				count++
				problems = append(problems, checkTemplate(c, tmpl)...)
			}
		}
	}
	if problems.Fatal() {
		return problems
	}
	for _, p := range problems {
		_, _ = fmt.Fprint(std.err, p.String())
	}
	_, _ = fmt.Fprintf(std.out, "valid: %d targets, %d templates, %d clusters\n", len(c.Targets), count, len(c.Clusters))
	return nil
}

// checkTemplate finds what can be known of a template's mistakes without data.
func checkTemplate(c *config.Config, t config.Template) config.Problems {
	text := t.Text
	if t.Source != "" {
		content, err := file.Read(t.Source)
		if err != nil {
			p := config.Problem{File: t.Source, Message: fmt.Sprintf("template can't be read: %v", err), Hint: "correct source, or create the file"}
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
			p := config.Problem{File: t.Name, Message: fmt.Sprintf("no cluster block is named %q", name)}
			if near := render.Nearest(name, names); near != "" {
				p.Hint = fmt.Sprintf("did you mean %q?", near)
			} else {
				p.Hint = fmt.Sprintf(`add cluster "patroni" %q; there are: %s`, name, strings.Join(names, ", "))
			}
			problems = append(problems, p)
		}
	}
	return problems
}
