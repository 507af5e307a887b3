package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/target"
	"github.com/pgbaton/pgbaton/reload"
)

func holdVerb(std stdio) *cobra.Command {
	l := looking{}
	var limit time.Duration
	cmd := &cobra.Command{
		Use: "hold",
		Example: `  # the clients of one target wait, a minute at most
  pgbaton hold -config pgbaton.hcl -target edge -for 1m`,
		Short: "Keep the clients of a target waiting, by hand",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit <= 0 {
				return usage(fmt.Errorf("-for %v is no time longer than zero", limit), cmd.CommandPath())
			}
			return l.look(cmd.Context(), std, func(ctx context.Context, a *assembly, targets []rendered) error {
				return holdByHand(ctx, std, a, targets, limit)
			})
		},
	}
	configFlag(cmd, &l.sources.paths)
	cmd.Flags().StringVar(&l.target, "target", "", "the target, by NAME or KIND.NAME; all that hold by default")
	cmd.Flags().DurationVar(&limit, "for", time.Minute, "how long at most")
	cmd.Flags().DurationVar(&l.timeout, "timeout", 30*time.Second, "how long to wait for what is missing")
	return cmd
}

// holdByHand holds what leads to the confirmed leaders. A guard of its own
// releases it when its time has passed.
func holdByHand(ctx context.Context, std stdio, a *assembly, targets []rendered, limit time.Duration) error {
	folder := state.Folder{Dir: a.config.StateDir}
	any := false
	var errs []error
	for _, t := range targets {
		holder, can := reload.As[reload.Holder](t.spec.Daemon)
		if !can {
			continue
		}
		any = true
		names, err := holdTarget(ctx, folder, t, holder, limit)
		if err != nil {
			errs = append(errs, named(t.spec, err))
			continue
		}
		if len(names) == 0 {
			_, _ = fmt.Fprintf(std.out, "%s: nothing flows to the leader\n", t.spec.ID())
			continue
		}
		_, _ = fmt.Fprintf(std.out, "%s: held for %v: %s\n", t.spec.ID(), limit, strings.Join(names, ", "))
	}
	if !any {
		return hint.Wrap(errors.New("no target can keep its clients waiting"), "pgbouncer can, and haproxy with a master_socket")
	}
	return errors.Join(errs...)
}

func holdTarget(ctx context.Context, folder state.Folder, t rendered, holder reload.Holder, limit time.Duration) ([]string, error) {
	file := target.ByHandPrefix + t.spec.ID()
	if folder.Has(file) {
		return nil, hint.Wrap(errors.New("it is held by hand already"), "pgbaton release -target %s", t.spec.ID())
	}
	t.spec.Claim(folder)
	now := time.Now()
	holds := target.Holds{Version: target.HoldsVersion, Target: t.spec.ID(), Recipe: t.spec.Recipe}
	var names []string
	for cluster, led := range t.wanted.Led {
		leader := []reload.Address{{Host: led.Host, Port: led.Port}}
		traffic, err := holder.Traffic(ctx, leader)
		if err != nil {
			return nil, err
		}
		names = append(names, traffic.Flowing...)
		holds.Holds = append(holds.Holds, target.Hold{Cluster: cluster, Leader: leader, Names: traffic.Flowing, Began: now, Until: now.Add(limit)})
	}
	if len(names) == 0 {
		return nil, nil
	}
	slices.Sort(names)
	if err := folder.Save(file, holds); err != nil {
		return nil, err
	}
	if err := guardAlone(folder, file); err != nil {
		return nil, errors.Join(err, folder.Remove(file))
	}
	return names, holder.Hold(ctx, names)
}

func releaseVerb(std stdio) *cobra.Command {
	var configs []string
	var dir, name string
	cmd := &cobra.Command{
		Use: "release",
		Example: `  # at once, whatever holds on this machine
  pgbaton release
  # without a config, as ExecStopPost= of a unit
  pgbaton release -state-dir state`,
		Short: "Release held traffic; works without a daemon",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dirs := []string{dir}
			switch {
			case dir != "" && len(configs) > 0:
				return usage(errors.New("name either -config or -state-dir"), cmd.CommandPath())
			case len(configs) > 0:
				c, problems := load(sources{paths: configs})
				if problems.Fatal() {
					return problems
				}
				dirs[0] = c.StateDir
			case dir == "":
				dirs = usualDirs()
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			var errs []error
			for _, dir := range dirs {
				errs = append(errs, releaseAll(ctx, std, state.Folder{Dir: dir}, name))
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().StringSliceVar(&configs, "config", nil, "config file, or folder of *.hcl and *.json; may be repeated")
	cmd.Flags().StringVar(&dir, "state-dir", "", "the state folder, for when the config can't be read; without both, where it is by default")
	cmd.Flags().StringVar(&name, "target", "", "the target, by NAME or KIND.NAME; all by default")
	return cmd
}

// releaseAll releases whatever the state folder says is held, by whomever.
func releaseAll(ctx context.Context, std stdio, folder state.Folder, name string) error {
	files, err := heldFiles(folder)
	errs := []error{err}
	log := hclog.New(&hclog.LoggerOptions{Name: "pgbaton", Output: std.err, Level: hclog.Warn})
	for _, file := range files {
		id := heldTarget(file)
		if _, short, _ := strings.Cut(id, "."); name != "" && name != id && name != short {
			continue
		}
		names, err := releaseFile(ctx, folder, file, log)
		if err != nil {
			if strings.HasPrefix(file, target.ByHandPrefix) && folder.Has(file) {
				// Its guard saw it go, and went too.
				err = errors.Join(err, guardAlone(folder, file))
			}
			errs = append(errs, err)
			continue
		}
		_, _ = fmt.Fprintf(std.out, "%s: released %s\n", id, strings.Join(names, ", "))
	}
	return errors.Join(errs...)
}
