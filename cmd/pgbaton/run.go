package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/target"
)

func runVerb(std stdio) *cobra.Command {
	var sources sources
	var once, dry, parseOnly, force bool
	var timeout, filesFirst time.Duration
	var flags looseFlags
	cmd := &cobra.Command{
		Use: "run",
		Example: `  # the daemon
  pgbaton run -config pgbaton.hcl
  # once, and print instead of writing
  pgbaton run -once -config pgbaton.hcl
  pgbaton run -dry -config pgbaton.hcl`,
		Short: "The daemon: keep every target in sync",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if sources.extra, err = flags.extra(cmd); err != nil {
				return err
			}
			if len(sources.paths)+len(sources.extra) == 0 {
				return usage(errors.New("name a config with -config, or a template with -template"), cmd.CommandPath())
			}
			if force && !once {
				return usage(errors.New("-force goes with -once; pgbaton apply -force asks the one that runs"), cmd.CommandPath())
			}
			switch {
			case parseOnly:
				return checkConfig(std, sources)
			case dry:
				return runDry(cmd.Context(), std, sources, timeout)
			case once:
				return runOnce(cmd.Context(), std, sources, timeout, force)
			}
			return runDaemon(cmd.Context(), std, sources, filesFirst)
		},
	}
	cmd.Flags().StringArrayVar(&sources.paths, "config", nil, "config `file` or folder; may be repeated")
	flags.bind(cmd)
	cmd.Flags().BoolVar(&parseOnly, "parse-only", false, "check the config and its templates, and exit")
	cmd.Flags().BoolVar(&once, "once", false, "reconcile once, reload, and exit")
	cmd.Flags().BoolVar(&force, "force", false, "with -once: whatever a freeze or a guard says")
	cmd.Flags().BoolVar(&dry, "dry", false, "print what would be written, once, and write nothing")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "with -once and -dry: how long to wait for what is missing")
	cmd.Flags().DurationVar(&filesFirst, "files-first", 0, "tell systemd that it is ready once all files are in place, or after this time at the latest")
	return cmd
}

func runDry(ctx context.Context, std stdio, from sources, timeout time.Duration) error {
	return looking{sources: from, timeout: timeout}.look(ctx, std,
		func(_ context.Context, _ *assembly, targets []rendered) error { return show(std, targets, "") })
}

func runOnce(ctx context.Context, std stdio, from sources, timeout time.Duration, force bool) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	c, problems := load(from)
	if problems.Fatal() {
		return problems
	}
	log, err := daemonLogger(c, std)
	if err != nil {
		return err
	}
	warn(log, problems)
	a, err := assemble(c, true, std.secrets, log)
	if err != nil {
		return err
	}
	defer func() { _ = a.close() }()
	watching, done := context.WithCancel(ctx)
	defer done()
	var g errgroup.Group
	g.Go(func() error { return a.run(watching) })

	limited, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done within %v", timeout))
	defer cancel()
	// One target's trouble is no reason to leave the others undone.
	errs := make([]error, len(a.specs))
	list := make([]*target.Loop, len(a.specs))
	var loops sync.WaitGroup
	for i, spec := range a.specs {
		loop := target.NewLoop(spec, a.watcher.Subscribe(), target.Records{Folder: state.Folder{Dir: c.StateDir}}, log, nil)
		if force {
			loop.Force()
		}
		list[i] = loop
		loops.Go(func() { errs[i] = named(spec, loop.Once(limited)) })
	}
	shown := std.progress.during(func() string { return std.secrets.Hide(underWay(list)) })
	loops.Wait()
	shown()
	// What a killed daemon held is over: nobody here would look after it.
	for _, spec := range a.specs {
		if names, err := releaseFile(ctx, state.Folder{Dir: c.StateDir}, target.HeldPrefix+spec.ID(), log); err != nil || len(names) > 0 {
			errs = append(errs, named(spec, err))
			log.Warn("released what was held before", "names", strings.Join(names, ", "))
		}
	}
	done()
	if err := errors.Join(append(errs, g.Wait())...); err != nil || c.Exec == nil {
		return err
	}
	return runChild(ctx, childOf(c.Exec))
}

// underWay is what targets wait for, or that they are being applied.
func underWay(loops []*target.Loop) string {
	var texts []string
	for _, l := range loops {
		switch s := l.State(); {
		case s.Waiting != "":
			texts = append(texts, s.Waiting)
		case !s.InSync:
			texts = append(texts, s.ID+" is checked and applied")
		}
	}
	return strings.Join(texts, "; ")
}

// runChild runs the child process to its end, or ours.
func runChild(ctx context.Context, child *proc.Child) error {
	if err := child.Start(); err != nil {
		return childError(err)
	}
	select {
	case err := <-child.Ended():
		return childError(err)
	case <-ctx.Done():
		return child.Stop(context.WithoutCancel(ctx))
	}
}

// named says which target an error is of, unless it says so itself.
func named(spec target.Spec, err error) error {
	var waiting *target.WaitingError
	if err == nil || errors.As(err, &waiting) {
		return err
	}
	return hint.Wrap(fmt.Errorf("%s: %w", spec.ID(), err), "%s", hint.Of(err))
}
