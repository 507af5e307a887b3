package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/control"
	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/status"
	"github.com/pgbaton/pgbaton/internal/target"
)

// addressed are targets that an operator means: of a config that is not brought to life,
// or of the pgbatons that run with a state folder. His word needs no store and no daemon.
type addressed struct {
	sources  sources
	stateDir string
	target   string
}

func (a *addressed) bind(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&a.sources.paths, "config", nil, "config `file` or folder; may be repeated")
	cmd.Flags().StringVar(&a.stateDir, "state-dir", "", "the state folder of the pgbaton that runs, instead of a config; without both, where it is by default")
	cmd.Flags().StringVar(&a.target, "target", "", "the target, by NAME or KIND.NAME; all by default")
}

// meant is one of them, and the pgbaton that has it.
type meant struct {
	id     string
	daemon *control.Client // nil: none that can be asked
}

// find lists the targets that are meant, and the state folder. silent says why a
// pgbaton that may run can't be asked.
func (a *addressed) find(cmd *cobra.Command) (list []meant, folder state.Folder, silent, err error) {
	var ids []string
	switch {
	case a.stateDir != "" && len(a.sources.paths) > 0:
		return nil, folder, nil, usage(errors.New("name either -config or -state-dir"), cmd.CommandPath())
	case a.stateDir != "":
		folder.Dir = a.stateDir
	case len(a.sources.paths) == 0:
		folder.Dir = inUse(cmd.Context(), usualDirs())
	default:
		c, problems := load(a.sources)
		if problems.Fatal() {
			return nil, folder, nil, problems
		}
		folder.Dir = c.StateDir
		for _, t := range c.Targets {
			ids = append(ids, t.Kind+"."+t.Name)
		}
	}
	found, silent := control.Find(cmd.Context(), folder.Dir)
	if len(a.sources.paths) == 0 {
		if len(found) == 0 {
			return nil, folder, nil, cmp.Or(silent, noneRuns(folder.Dir))
		}
		for _, f := range found {
			for _, t := range f.Status.Targets {
				ids = append(ids, t.ID)
			}
		}
	}
	if ids, err = called(ids, func(id string) string { return id }, a.target); err != nil {
		return nil, folder, nil, err
	}
	for _, id := range ids {
		m := meant{id: id}
		for _, f := range found {
			if f.Has(id) {
				m.daemon = f.Client
			}
		}
		list = append(list, m)
	}
	return list, folder, silent, nil
}

var errNoneRuns = errors.New("no pgbaton runs")

// noneRuns is the error of a verb that needs a pgbaton that runs.
func noneRuns(dir string) error {
	err := hint.Wrap(fmt.Errorf("%w with the state folder %s", errNoneRuns, dir), "start it, or name the config or the state folder of the one that runs")
	return explain.Mark(err, explain.NoneRuns)
}

func freezeVerb(std stdio) *cobra.Command {
	var to addressed
	var limit time.Duration
	var reason string
	cmd := &cobra.Command{
		Use: "freeze",
		Example: `  # nothing of one target is changed for half an hour
  pgbaton freeze -config pgbaton.hcl -target app -for 30m -reason maintenance
  # of all targets, until pgbaton thaw
  pgbaton freeze -config pgbaton.hcl`,
		Short: "Change nothing of a target until it is thawed",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usage(fmt.Errorf("-for %v is no time longer than zero", limit), cmd.CommandPath())
			}
			list, folder, silent, err := to.find(cmd)
			if err != nil {
				return err
			}
			return tell(std, list, silent, func(m meant) (control.Reply, error) {
				if m.daemon != nil {
					return m.daemon.Freeze(cmd.Context(), control.Word{Target: m.id, For: limit.Seconds(), Reason: reason, Sudo: sudo()})
				}
				f := freezeFrom(time.Now(), limit, reason, operatorName())
				return control.Reply{Done: true, Text: "frozen " + f.String()}, target.Operator(folder).Save(target.FrozenPrefix+m.id, f)
			})
		},
	}
	to.bind(cmd)
	cmd.Flags().DurationVar(&limit, "for", 0, "how long at most; without it until it is thawed")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever looks")
	return cmd
}

func thawVerb(std stdio) *cobra.Command {
	var to addressed
	cmd := &cobra.Command{
		Use: "thaw",
		Example: `  pgbaton thaw -config pgbaton.hcl -target app
  pgbaton thaw -config pgbaton.hcl`,
		Short: "Let a frozen target change again",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, folder, silent, err := to.find(cmd)
			if err != nil {
				return err
			}
			return tell(std, list, silent, func(m meant) (control.Reply, error) {
				if m.daemon != nil {
					return m.daemon.Thaw(cmd.Context(), control.Word{Target: m.id, Sudo: sudo()})
				}
				done, err := thaw(target.Operator(folder), m.id)
				return control.Reply{Done: done, Text: "thawed"}, err
			})
		},
	}
	to.bind(cmd)
	return cmd
}

func applyVerb(std stdio) *cobra.Command {
	var to addressed
	var force bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "apply",
		Example: `  # what a guard refuses, or a freeze keeps back
  pgbaton apply -config pgbaton.hcl -target app -force`,
		Short: "With -force: apply what is wanted now, whatever a freeze or a guard says",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force {
				return usage(errors.New("what is wanted is applied by itself; -force applies it whatever a freeze or a guard says"), cmd.CommandPath())
			}
			list, folder, silent, err := to.find(cmd)
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return tell(std, list, silent, func(m meant) (control.Reply, error) {
				if m.daemon != nil {
					return m.daemon.Apply(ctx, control.Word{Target: m.id, Timeout: timeout.Seconds(), Sudo: sudo()})
				}
				if runs, err := folder.Locked(m.id); err != nil || runs {
					return control.Reply{}, cmp.Or(err, silent, explain.Mark(errors.New("the pgbaton that runs has no control socket; its log says why"), explain.NoSocket))
				}
				return control.Reply{}, explain.Mark(hint.Wrap(errors.New("no pgbaton runs"), "pgbaton run -once -force"), explain.NoneRuns)
			})
		},
	}
	to.bind(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "whatever a freeze or a guard says")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait for the pgbaton that runs")
	return cmd
}

// tell says a word of each target, all at once, and prints what came of it. silent
// explains a failure where the pgbaton that runs could not be asked.
func tell(std stdio, list []meant, silent error, say func(meant) (control.Reply, error)) error {
	replies, errs := make([]control.Reply, len(list)), make([]error, len(list))
	var waits sync.WaitGroup
	for i, m := range list {
		waits.Go(func() { replies[i], errs[i] = say(m) })
	}
	waits.Wait()
	failed := false
	for i, m := range list {
		switch {
		case errs[i] != nil:
			failed = failed || m.daemon == nil
			errs[i] = answered(m.id, errs[i])
		case replies[i].Done:
			_, _ = fmt.Fprintf(std.out, "%s: %s\n", m.id, status.OneLine(replies[i].Text))
		}
	}
	if failed && silent != nil {
		errs = append(errs, silent)
	}
	return errors.Join(errs...)
}

// answered is what a pgbaton answered of a target, as an error with its exit code.
func answered(id string, err error) error {
	err = hint.Wrap(fmt.Errorf("%s: %w", id, err), "%s", hint.Of(err))
	switch {
	case errors.Is(err, control.ErrTimeout):
		return &exitError{exitWaiting, err}
	case errors.Is(err, control.ErrRefused):
		return &exitError{exitRefused, err}
	}
	return err
}

// sudo is who became root by sudo; "" is nobody.
func sudo() string {
	if os.Getuid() != 0 {
		return ""
	}
	return os.Getenv("SUDO_USER")
}

// operatorName is who gives a word that no daemon hears yet.
func operatorName() string { return control.Named(os.Getuid(), sudo()) }
