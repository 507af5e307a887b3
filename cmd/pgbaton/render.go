package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/render"
)

func lookingFlags(cmd *cobra.Command, l *looking) {
	configFlag(cmd, &l.sources.paths)
	cmd.Flags().StringVar(&l.state, "state", "", "read a state `file` instead of the store")
	cmd.Flags().StringVar(&l.target, "target", "", "look at this `target` only")
	cmd.Flags().DurationVar(&l.timeout, "timeout", 30*time.Second, "how long to wait for what is missing")
}

func configFlag(cmd *cobra.Command, paths *[]string) {
	cmd.Flags().StringArrayVar(paths, "config", nil, "config `file` or folder; may be repeated")
	_ = cmd.MarkFlagRequired("config")
}

func renderVerb(std stdio) *cobra.Command {
	var l looking
	var out string
	var check bool
	cmd := &cobra.Command{
		Use: "render",
		Example: `  # from the store
  pgbaton render -config pgbaton.hcl -target app
  # in CI: from a captured state, below a folder, checked by the daemons
  pgbaton render -config pgbaton.hcl -state state.yaml -out rendered -check`,
		Short: "Render once, to standard output or a folder; never to a destination",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return l.look(cmd.Context(), std, func(ctx context.Context, _ *assembly, targets []rendered) error {
				for _, t := range targets {
					if check {
						if err := checkAside(ctx, t); err != nil {
							return err
						}
					}
				}
				return show(std, targets, out)
			})
		},
	}
	lookingFlags(cmd, &l)
	cmd.Flags().StringVar(&out, "out", "", "write below this `folder`, each file at its destination's path")
	cmd.Flags().BoolVar(&check, "check", false, "let each daemon check its files")
	return cmd
}

// show prints the files, or writes them below a folder.
func show(std stdio, targets []rendered, out string) error {
	var files []render.File
	for _, t := range targets {
		files = append(files, t.wanted.Files...)
	}
	for _, f := range files {
		if out == "" {
			if len(files) > 1 {
				_, _ = fmt.Fprintf(std.out, "==> %s <==\n", f.Path)
			}
			if _, err := std.out.Write(f.Content); err != nil {
				return err
			}
			continue
		}
		path, perms := filepath.Join(out, f.Path), f.Perms
		if info, err := os.Stat(f.Path); err == nil && perms == nil {
			mode := info.Mode().Perm() // as it would keep it there
			perms = &mode
		}
		set, err := render.Stage([]render.File{{
			Destination: render.Destination{Path: path, Perms: perms, MakeDirs: true}, Content: f.Content,
		}})
		if err != nil {
			return err
		}
		if err := set.Rename(); err != nil {
			return err
		}
		_, _ = fmt.Fprintln(std.err, path)
	}
	return nil
}

// checkAside lets a daemon check its files in a folder of their own.
func checkAside(ctx context.Context, t rendered) error {
	dir, err := proc.Scratch()
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	files := make([]reload.File, len(t.wanted.Files))
	for i, f := range t.wanted.Files {
		if os.Geteuid() != 0 {
			f.User, f.Group = nil, nil // nobody else can give a file away, and the check runs as us
		}
		staged := filepath.Join(dir, fmt.Sprintf("%d-%s", i, filepath.Base(f.Path)))
		set, err := render.Stage([]render.File{{
			Destination: render.Destination{Path: staged, Perms: f.Perms, User: f.User, Group: f.Group}, Content: f.Content,
		}})
		if err != nil {
			return err
		}
		if err := set.Rename(); err != nil {
			return err
		}
		as := set.Files[0]
		files[i] = reload.File{Path: f.Path, Staged: staged, Content: f.Content, Mode: as.Mode, UID: as.UID, GID: as.GID}
	}
	if err := t.spec.Daemon.Check(ctx, files); err != nil {
		return fmt.Errorf("%s: check: %w", t.spec.ID(), err)
	}
	return nil
}
