package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/target"
)

// addressed are targets of a config that is not brought to life: an operator's word needs
// no store and no daemon.
type addressed struct {
	sources sources
	target  string
}

func (a *addressed) bind(cmd *cobra.Command) {
	configFlag(cmd, &a.sources.paths)
	cmd.Flags().StringVar(&a.target, "target", "", "the target, by NAME or KIND.NAME; all by default")
}

// find lists the IDs of the targets that are meant, and where what is said of them
// is kept.
func (a *addressed) find() (ids []string, words, records state.Folder, err error) {
	c, problems := load(a.sources)
	if problems.Fatal() {
		return nil, words, records, problems
	}
	for _, t := range c.Targets {
		ids = append(ids, t.Kind+"."+t.Name)
	}
	ids, err = called(ids, func(id string) string { return id }, a.target)
	records = state.Folder{Dir: c.StateDir}
	return ids, target.Operator(records), records, err
}

func freezeVerb(std stdio) *cobra.Command {
	var to addressed
	var limit time.Duration
	var reason string
	cmd := &cobra.Command{
		Use:   "freeze",
		Short: "Change nothing of a target until it is thawed",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usage(fmt.Errorf("-for %v is no time longer than zero", limit), cmd.CommandPath())
			}
			ids, words, _, err := to.find()
			if err != nil {
				return err
			}
			now := time.Now().UTC().Truncate(time.Second)
			f := target.Freeze{Version: target.OperatorVersion, Since: now, Reason: reason, By: operatorName()}
			if limit > 0 {
				f.Until = now.Add(limit)
			}
			for _, id := range ids {
				if err := words.Save(target.FrozenPrefix+id, f); err != nil {
					return err
				}
				_, _ = fmt.Fprintf(std.out, "%s: frozen %s\n", id, f)
			}
			return nil
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
		Use:   "thaw",
		Short: "Let a frozen target change again",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			ids, words, _, err := to.find()
			if err != nil {
				return err
			}
			for _, id := range ids {
				if !words.Has(target.FrozenPrefix + id) {
					continue
				}
				if err := words.Remove(target.FrozenPrefix + id); err != nil {
					return err
				}
				_, _ = fmt.Fprintf(std.out, "%s: thawed\n", id)
			}
			return nil
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
		Use:   "apply",
		Short: "With -force: apply what is wanted now, whatever a freeze or a guard says",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force {
				return usage(errors.New("what is wanted is applied by itself; -force applies it whatever a freeze or a guard says"), cmd.CommandPath())
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			limited, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			ids, words, records, err := to.find()
			if err != nil {
				return err
			}
			word := target.Force{Version: target.OperatorVersion, Until: time.Now().Add(timeout).UTC(), By: operatorName()}
			errs := make([]error, len(ids))
			var waits sync.WaitGroup
			for i, id := range ids {
				waits.Go(func() { errs[i] = forceOne(limited, id, word, words, records) })
			}
			waits.Wait()
			for i, id := range ids {
				if errs[i] != nil {
					errs[i] = fmt.Errorf("%s: %w", id, errs[i])
					continue
				}
				_, _ = fmt.Fprintf(std.out, "%s: applied\n", id)
			}
			return errors.Join(errs...)
		},
	}
	to.bind(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "whatever a freeze or a guard says")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait for the pgbaton that runs")
	return cmd
}

// forceOne asks the pgbaton that runs, and waits until it has obeyed. A word that
// was not obeyed in time is taken back: it must not surprise anyone later.
func forceOne(ctx context.Context, id string, word target.Force, words, records state.Folder) error {
	runs, err := records.Locked(id)
	if err != nil {
		return err
	}
	if !runs {
		return hint.Wrap(errors.New("no pgbaton runs"), "pgbaton run -once -force")
	}
	name := target.ForcePrefix + id
	if err := words.Save(name, word); err != nil {
		return err
	}
	for words.Has(name) {
		select {
		case <-ctx.Done():
			return errors.Join(hint.Wrap(&exitError{exitWaiting, errors.New("not applied in time")}, "its log says why"), words.Remove(name))
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// operatorName is who gives the word.
func operatorName() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("user %d", os.Getuid())
}
