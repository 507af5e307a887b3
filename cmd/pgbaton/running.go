package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/control"
	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/status"
)

// running are the pgbatons that run with a config, or with a state folder, or, without
// both, with the state folder that is one by default.
type running struct {
	sources sources
	dir     string
}

func (r *running) bind(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&r.sources.paths, "config", nil, "config `file` or folder; may be repeated")
	cmd.Flags().StringVar(&r.dir, "state-dir", "", "the state folder, for whoever may not read the config; without both, where it is by default")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if r.dir != "" && len(r.sources.paths) > 0 {
			return usage(errors.New("name either -config or -state-dir"), cmd.CommandPath())
		}
		return noArgs(cmd, args)
	}
}

// named are the state folders in question, and the targets of the config.
func (r *running) named() (dirs, ids []string, err error) {
	switch {
	case len(r.sources.paths) > 0:
		c, problems := load(r.sources)
		if problems.Fatal() {
			return nil, nil, problems
		}
		for _, t := range c.Targets {
			ids = append(ids, t.Kind+"."+t.Name)
		}
		return []string{c.StateDir}, ids, nil
	case r.dir == "":
		return usualDirs(), nil, nil
	}
	return []string{r.dir}, nil, nil
}

// usualDirs are where the state folder is by default, of whoever asks and of a unit.
func usualDirs() []string {
	return slices.Compact([]string{config.StateDir(), config.SystemStateDir})
}

// inUse is the first folder that a pgbaton runs with, else the first.
func inUse(ctx context.Context, dirs []string) string {
	for _, dir := range dirs {
		if found, _ := control.Find(ctx, dir); len(found) > 0 {
			return dir
		}
	}
	return dirs[0]
}

// find asks them how they stand. errNoneRuns is in the chain of its error if there is none.
func (r *running) find(ctx context.Context) ([]control.Found, error) {
	dirs, ids, err := r.named()
	if err != nil {
		return nil, err
	}
	var list, ours []control.Found
	for _, dir := range dirs {
		found, err := control.Find(ctx, dir)
		if err != nil && len(found) == 0 {
			return nil, err
		}
		for _, f := range found {
			list = append(list, f)
			if slices.ContainsFunc(f.Status.Targets, func(t status.Target) bool { return slices.Contains(ids, t.ID) }) {
				ours = append(ours, f)
			}
		}
	}
	if len(ours) > 0 {
		return ours, nil // with others beside, of other configs
	}
	if len(list) > 0 {
		return list, nil
	}
	for _, id := range ids {
		if runs, err := (state.Folder{Dir: dirs[0]}).Locked(id); err == nil && runs {
			return nil, explain.Mark(fmt.Errorf("the pgbaton that runs has no control socket in %s; its log says why", dirs[0]), explain.NoSocket)
		}
	}
	return nil, noneRuns(strings.Join(dirs, " or "))
}
