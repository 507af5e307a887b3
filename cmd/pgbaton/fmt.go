package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/aymanbagabas/go-udiff"
	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/render"
)

// formatting are the flags of fmt.
type formatting struct{ check, diff bool }

func fmtVerb(std stdio) *cobra.Command {
	var f formatting
	cmd := &cobra.Command{
		Use: "fmt FILE…",
		Example: `  pgbaton fmt pgbaton.hcl
  # every *.hcl of a folder; in CI, where exit code 2 is a file that is not laid out so
  pgbaton fmt -check -diff conf.d
  # standard input
  pgbaton fmt -`,
		Short: "Lay configs out: indentation, and equals signs below each other",
		Long: `Lays configs out anew, in place and each at once: indentation, and equals signs below each other. Blanks alone are changed. It prints
the names of the files that it changed. A config that is no HCL 2, as consul-template's may be, stays as it is.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(errors.New("name a file or a folder, or - for standard input"), cmd.CommandPath())
			}
			return f.all(std, args)
		},
	}
	cmd.Flags().BoolVar(&f.check, "check", false, "write nothing; exit code 2 if anything would change")
	cmd.Flags().BoolVar(&f.diff, "diff", false, "write nothing; show what would change")
	return cmd
}

// all lays out files, and the *.hcl of folders. One that can't be is no reason to leave the
// others.
func (f formatting) all(std stdio, args []string) error {
	var problems config.Problems
	changes := false
	for _, arg := range args {
		paths, err := configsIn(arg)
		if err != nil {
			return err
		}
		for _, path := range paths {
			changed, bad, err := f.one(std, path)
			if err != nil {
				return err
			}
			changes = changes || changed
			problems = append(problems, bad...)
		}
	}
	switch {
	case len(problems) > 0:
		return problems
	case f.check && changes:
		return &exitError{exitChanges, errors.New("there are changes")}
	}
	return nil
}

// configsIn are the *.hcl of a folder, or the file itself.
func configsIn(path string) ([]string, error) {
	info, err := os.Stat(path)
	switch {
	case path == "-":
		return []string{path}, nil
	case err != nil:
		return nil, explain.Mark(hint.Wrap(err, "name a config file or a folder"), explain.ConfigUnreadable)
	case !info.IsDir():
		return []string{path}, nil
	}
	return slices.DeleteFunc(config.Files([]string{path}), func(p string) bool { return filepath.Ext(p) != ".hcl" }), nil
}

func (f formatting) one(std stdio, path string) (changed bool, problems config.Problems, err error) {
	var text []byte
	if path == "-" {
		text, err = io.ReadAll(std.in)
	} else {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return false, nil, explain.Mark(hint.Wrap(err, "let the user who runs this read it"), explain.ConfigUnreadable)
	}
	formatted, problems := config.Format(path, text)
	if problems.Fatal() {
		return false, problems, nil
	}
	changed = string(formatted) != string(text)
	switch {
	case f.diff:
		_, err = io.WriteString(std.out, paintDiff(udiff.Unified(path, path, string(text), string(formatted)), coloured(std.out)))
	case path == "-" && !f.check:
		_, err = std.out.Write(formatted)
	case changed:
		_, err = fmt.Fprintln(std.out, path)
	}
	if err != nil || !changed || f.check || f.diff || path == "-" {
		return changed, nil, err
	}
	return changed, nil, swapIn(render.File{Destination: render.Destination{Path: path}, Content: formatted})
}
