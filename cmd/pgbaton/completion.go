package main

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pgbaton/pgbaton/internal/control"
)

// files are the flags that name files, and how those end.
var files = map[string][]string{
	"config": {"hcl", "json"}, "state": {"yaml", "yml", "json"}, "from-patroni": {"yml", "yaml"}, "markdown": {"md"},
}

// folders are the flags that name folders.
var folders = []string{"state-dir", "man"}

// completions tells shells what the flags may be.
func completions(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if endings, is := files[f.Name]; is {
			_ = cmd.MarkFlagFilename(f.Name, endings...)
		}
		for _, name := range folders {
			if f.Name == name {
				_ = cmd.MarkFlagDirname(name)
			}
		}
		if f.Name == "target" {
			_ = cmd.RegisterFlagCompletionFunc("target", targetNames)
		}
	})
	for _, verb := range cmd.Commands() {
		if verb.Name() == "completion" {
			verb.Example = "  source <(pgbaton completion bash)"
			for _, shell := range verb.Commands() {
				shell.Example = "  pgbaton completion " + shell.Name()
			}
		}
		completions(verb)
	}
}

// targetNames are the targets of the config that the command line names so far, or of the
// pgbatons that run with its state folder.
func targetNames(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	given, _ := cmd.Flags().GetStringArray("config")
	var paths, ids []string
	for _, path := range given { // cobra parses the flags twice
		if !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	if len(paths) > 0 {
		c, problems := load(sources{paths: paths})
		if problems.Fatal() {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for _, t := range c.Targets {
			ids = append(ids, t.Kind+"."+t.Name)
		}
	} else if dir, err := cmd.Flags().GetString("state-dir"); err == nil && dir != "" {
		found, _ := control.Find(context.WithoutCancel(cmd.Context()), dir)
		for _, f := range found {
			for _, t := range f.Status.Targets {
				ids = append(ids, t.ID)
			}
		}
	}
	var names []string
	for _, id := range ids {
		kind, name, _ := strings.Cut(id, ".")
		names = append(names, name+"\t"+kind, id)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// typed gives flags back with as many dashes as whoever completes them typed: shells leave
// out what does not begin with that.
type typed struct {
	to   io.Writer
	text bytes.Buffer
}

// asTyped is what a completion of a flag that was begun with one dash is written to; nil is
// for anything else.
func asTyped(args []string, out io.Writer) *typed {
	if len(args) < 2 || args[0] != cobra.ShellCompRequestCmd && args[0] != cobra.ShellCompNoDescRequestCmd {
		return nil
	}
	last := args[len(args)-1]
	if !strings.HasPrefix(last, "-") || strings.HasPrefix(last, "--") {
		return nil
	}
	return &typed{to: out}
}

func (t *typed) Write(p []byte) (int, error) { return t.text.Write(p) }

func (t *typed) end() {
	for line := range strings.Lines(t.text.String()) {
		if long, is := strings.CutPrefix(line, "--"); is {
			line = "-" + long
		}
		_, _ = io.WriteString(t.to, line)
	}
}
