package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/target"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
	"github.com/pgbaton/pgbaton/watcher/file"
)

// rendered is what one target should be.
type rendered struct {
	spec   target.Spec
	wanted target.Wanted
	asked  map[watcher.Query]struct{}
}

// gather waits until every target is complete, and touches nothing. It is the
// daemon's own way to what is wanted. Who watches p sees what is waited for.
func gather(ctx context.Context, a *assembly, limit time.Duration, p *progress) ([]rendered, error) {
	waits := awaited{texts: make([]string, len(a.specs))}
	defer p.during(func() string { return a.secrets.Hide(waits.String()) })()
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	watching, stop := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return a.run(watching) })

	out := make([]rendered, len(a.specs))
	errs := make([]error, len(a.specs))
	var sources errgroup.Group
	for i, spec := range a.specs {
		source := target.NewSource(spec, a.watcher.Subscribe())
		sources.Go(func() error {
			defer source.Close()
			out[i], errs[i] = complete(limited, spec, source, func(text string) { waits.set(i, text) })
			return nil
		})
	}
	_ = sources.Wait()
	stop()
	return out, errors.Join(append(errs, g.Wait())...)
}

// complete waits until a target is complete, and tells what it waits for meanwhile.
func complete(ctx context.Context, spec target.Spec, source *target.Source, tell func(string)) (rendered, error) {
	defer tell("")
	for {
		w := source.Update(ctx, time.Now())
		if w.Err != nil {
			return rendered{}, fmt.Errorf("%s: %w", spec.ID(), w.Err)
		}
		if len(w.Waiting) == 0 && w.Hash != "" {
			return rendered{spec, w, source.Asked()}, nil
		}
		tell(w.WaitingFor())
		select {
		case <-source.Changed():
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return rendered{}, ctx.Err()
			}
			return rendered{}, &target.WaitingError{State: target.State{ID: spec.ID(), Waiting: w.WaitingFor()}}
		}
	}
}

// only keeps the targets that were asked for; "" keeps all.
func only(a *assembly, name string) (err error) {
	a.specs, err = called(a.specs, target.Spec.ID, name)
	return err
}

// called are those of the targets that were asked for by name, or by kind and name;
// "" is all.
func called[T any](all []T, id func(T) string, name string) ([]T, error) {
	if name == "" {
		return all, nil
	}
	var kept []T
	var ids []string
	for _, t := range all {
		ids = append(ids, id(t))
		if _, short, _ := strings.Cut(id(t), "."); name == short || name == id(t) {
			kept = append(kept, t)
		}
	}
	if len(kept) == 0 {
		err := fmt.Errorf("no target is named %q; there are %s", name, strings.Join(ids, ", "))
		return nil, &exitError{exitUsage, explain.Mark(err, explain.Usage)}
	}
	return kept, nil
}

// looking are the flags of the verbs that only look.
type looking struct {
	sources sources
	state   string
	target  string // "" is all of them
	timeout time.Duration
}

// look brings a config to life, waits until its targets are complete, and lets
// use have them.
func (l looking) look(ctx context.Context, std stdio, use func(context.Context, *assembly, []rendered) error) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	a, err := l.open(std)
	if err != nil {
		return err
	}
	defer func() { _ = a.close() }()
	if err := only(a, l.target); err != nil {
		return err
	}
	targets, err := gather(ctx, a, l.timeout, std.progress)
	if err != nil {
		return err
	}
	return use(ctx, a, targets)
}

// open loads and assembles for a verb that only looks: a state file takes the
// place of the stores, if one is given.
func (l looking) open(std stdio) (*assembly, error) {
	c, problems := load(l.sources)
	if problems.Fatal() {
		return nil, problems
	}
	if l.state != "" {
		for i := range c.Stores {
			c.Stores[i].Kind, c.Stores[i].Settings = "file", &file.Config{Path: l.state, For: storeName(c, i)}
		}
		for i := range c.Clusters {
			c.Clusters[i].Confirm, c.Clusters[i].Probes = []cluster.Way{cluster.WayKey}, nil // its members can't be asked any more
		}
	}
	if c.LogLevel == "info" {
		c.LogLevel = "warn" // what is printed is the verb's result
	}
	return assemble(c, false, std.secrets, newLogger(c, std))
}
