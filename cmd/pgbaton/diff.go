package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/aymanbagabas/go-udiff"
	"github.com/spf13/cobra"
)

func diffVerb(std stdio) *cobra.Command {
	var l looking
	var secrets bool
	cmd := &cobra.Command{
		Use: "diff",
		Example: `  pgbaton diff -config pgbaton.hcl # exit 2
  # what another state of the store would change
  pgbaton diff -config pgbaton.hcl -state other.yaml # exit 2`,
		Short: "Show what would change on disk; exit code 2 if anything would",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return l.look(cmd.Context(), std, func(_ context.Context, _ *assembly, targets []rendered) error {
				changes, err := printDiffs(std, targets, secrets)
				if err == nil && changes {
					err = &exitError{exitChanges, errors.New("there are changes")}
				}
				return err
			})
		},
	}
	lookingFlags(cmd, &l)
	cmd.Flags().BoolVar(&secrets, "secrets", false, "show passwords, tokens and keys as they are")
	return cmd
}

// printDiffs prints what differs from the disk, and says whether anything does.
// Secrets are hidden unless they are asked for: of one that changed is shown that
// it did.
func printDiffs(std stdio, targets []rendered, secrets bool) (changes bool, err error) {
	for _, t := range targets {
		for _, f := range t.wanted.Files {
			from := f.Path
			old, err := os.ReadFile(f.Path)
			if errors.Is(err, fs.ErrNotExist) {
				from = os.DevNull
			} else if err != nil {
				return changes, err
			}
			texts := []string{string(old), string(f.Content)}
			if !secrets {
				texts = std.secrets.Veil(texts...)
			}
			d := udiff.Unified(from, f.Path, texts[0], texts[1])
			if d == "" && string(old) != string(f.Content) {
				d = fmt.Sprintf("--- %s\n+++ %s\nthey differ in what is hidden: -secrets shows it\n", from, f.Path)
			}
			if d == "" && from == os.DevNull {
				d = fmt.Sprintf("--- %s\n+++ %s\n", from, f.Path) // an empty file to be made
			}
			if f.Perms != nil && from != os.DevNull {
				if info, err := os.Stat(f.Path); err == nil && info.Mode().Perm() != *f.Perms {
					d = fmt.Sprintf("mode of %s: %04o -> %04o\n", f.Path, info.Mode().Perm(), *f.Perms) + d
				}
			}
			if d != "" {
				changes = true
				_, _ = fmt.Fprint(std.out, paintDiff(d, coloured(std.out)))
			}
		}
	}
	return changes, nil
}
