package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/pgbaton/pgbaton/internal/baton"
	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/file"
)

func captureVerb(std stdio) *cobra.Command {
	var l looking
	var out string
	cmd := &cobra.Command{
		Use: "capture",
		Example: `  # for render -state, diff -state, a bug report
  pgbaton capture -config pgbaton.hcl -out captured.yaml`,
		Short: "Write what the templates need from the store as a state file",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return l.look(cmd.Context(), std, func(ctx context.Context, a *assembly, targets []rendered) error {
				catalog, err := capture(ctx, a, l, targets)
				if err != nil {
					return err
				}
				text, err := yaml.Marshal(catalog)
				if err != nil {
					return err
				}
				if out == "" {
					_, err = std.out.Write(text)
					return err
				}
				perms := os.FileMode(0o600) // values may be secrets
				set, err := render.Stage([]render.File{{Destination: render.Destination{Path: out, Perms: &perms}, Content: text}})
				if err != nil {
					return err
				}
				return set.Rename()
			})
		},
	}
	configFlag(cmd, &l.sources.paths)
	cmd.Flags().DurationVar(&l.timeout, "timeout", 30*time.Second, "how long to wait for what is missing")
	cmd.Flags().StringVar(&out, "out", "", "write to this `file`, readable by its owner alone")
	return cmd
}

// capture asks the store once for each thing that the templates looked at.
func capture(ctx context.Context, a *assembly, l looking, targets []rendered) (*file.Catalog, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	catalog := &file.Catalog{}
	for _, t := range targets {
		for q := range t.asked {
			switch q.Store {
			case watcher.Local: // files are not the store's
			case watcher.Clusters:
				if err := a.captureCluster(ctx, q.Path, catalog); err != nil {
					return nil, err
				}
			default:
				if _, err := a.captureOne(ctx, q, catalog); err != nil {
					return nil, err
				}
			}
		}
	}
	return catalog, nil
}

func (a *assembly) captureOne(ctx context.Context, q watcher.Query, into *file.Catalog) (watcher.Answer, error) {
	answer, err := a.stores[q.Store].Fetch(ctx, q, 0)
	if err != nil {
		return answer, fmt.Errorf("capture: %w", err)
	}
	into.Add(q, answer)
	return answer, nil
}

// captureCluster asks for all that a cluster is decoded from.
func (a *assembly) captureCluster(ctx context.Context, name string, into *file.Catalog) error {
	at := slices.IndexFunc(a.clusters, func(d baton.Definition) bool { return d.Name == name })
	if at < 0 {
		return nil
	}
	known := watcher.Snapshot{}
	for asked := -1; asked < len(known); {
		asked = len(known)
		for _, q := range a.clusters[at].Source.Queries(known) {
			if _, has := known[q]; has {
				continue
			}
			answer, err := a.captureOne(ctx, q, into)
			if err != nil {
				return err
			}
			known[q] = answer
		}
	}
	return nil
}
