package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"golang.org/x/sync/errgroup"

	"github.com/pgbaton/pgbaton/internal/baton"
	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/control"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/probe"
	"github.com/pgbaton/pgbaton/internal/secret"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/target"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/templates"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
	"github.com/pgbaton/pgbaton/watcher/file"
)

// assembly is a config brought to life, with nothing running yet.
type assembly struct {
	config   *config.Config
	watcher  *watcher.Watcher
	clusters []baton.Definition
	specs    []target.Spec
	stores   map[string]watcher.Store // by their names in queries; the first is watcher.Catalog
	local    *file.Local
	tracker  *baton.Tracker
	secrets  *secret.Keeper
	group    *control.Group // who may use the control socket; nil is none
}

// load reads a config with the real kinds and templates.
func load(from sources) (*config.Config, config.Problems) {
	return config.Load(from.paths, from.options())
}

// options are those of a config with the real kinds and templates.
func (s sources) options() config.Options {
	return config.Options{Kinds: kinds(), Builtin: templates.Text, Builtins: templates.Names(), Private: templates.Private, Extra: s.extra}
}

// sources are where a config comes from.
type sources struct {
	paths []string // files and folders
	extra []config.Extra
}

// assemble opens what the config names. owners says whether this is the machine
// that it speaks of: one that only looks need not know the files' owners, keeps
// no state, and watches over no leader.
func assemble(c *config.Config, owners bool, secrets *secret.Keeper, log hclog.Logger) (*assembly, error) {
	learn(c, secrets)
	a := &assembly{config: c, stores: map[string]watcher.Store{}, local: file.NewLocal(), secrets: secrets}
	all := map[string]watcher.Store{watcher.Local: a.local}
	for i, s := range c.Stores {
		store, err := s.Settings.Open()
		if err != nil {
			return nil, errors.Join(placed(s.Range, err), a.close())
		}
		name := storeName(c, i)
		a.stores[name], all[name] = store, listen(store, secrets)
	}
	var err error
	if owners {
		if a.group, err = groupOf(c.Status); err != nil {
			return nil, errors.Join(err, a.close())
		}
	}
	holds := slices.ContainsFunc(c.Targets, func(t config.Target) bool { return t.Hold })
	for _, cl := range c.Clusters {
		d, err := a.definition(cl, owners, holds)
		if err != nil {
			return nil, errors.Join(placed(cl.Range, err), a.close())
		}
		a.clusters = append(a.clusters, d)
	}
	memory := state.Folder{}
	if owners {
		memory.Dir = c.StateDir
	}
	if a.tracker, err = baton.New(a.clusters, memory, log); err != nil {
		return nil, errors.Join(err, a.close())
	}
	all[watcher.Clusters] = a.tracker
	a.watcher = watcher.New(all, log)
	for _, t := range c.Targets {
		spec, err := a.spec(t, owners, log)
		if err != nil {
			return nil, errors.Join(err, a.close())
		}
		a.specs = append(a.specs, spec)
	}
	return a, nil
}

// storeName is what queries call the store at i: the first is the one that is meant where
// none is named.
func storeName(c *config.Config, i int) string {
	if i == 0 {
		return watcher.Catalog
	}
	return c.Stores[i].Name
}

// placed is an error about a place of the config, if it has one. A config that only
// this machine can't use is no bad one: the exit code stays that of a failure.
func placed(at hcl.Range, err error) error {
	if at.Filename == "" {
		return err
	}
	return &exitError{exitFailed, config.Problems{config.At(at, err)}}
}

// run watches what the targets need, until ctx ends.
func (a *assembly) run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { return a.watcher.Run(ctx) })
	g.Go(func() error { return a.tracker.Run(ctx, a.watcher.Subscribe) })
	return g.Wait()
}

// definition is a cluster as it is tracked. A verb that only looks asks members
// what it has to know, and watches over nobody.
func (a *assembly) definition(c config.Cluster, daemon, holds bool) (baton.Definition, error) {
	place := a.config.Place(c)
	if s, rooted := a.stores[place.Store].(interface{ Root() string }); rooted {
		place.Root = s.Root()
	}
	source, err := c.Settings.Source(place)
	return baton.Definition{
		Name: c.Name, Source: source, Policy: cluster.Policy{Confirm: c.Confirm, EarlyHold: c.EarlyHold},
		Ask:    probe.Config{API: probe.API(c.API), SQL: probe.SQL(c.SQL)},
		Probes: c.Probes,
		Pulse:  daemon && holds, Rehearse: daemon,
	}, err
}

// close lets go of what the stores hold. Nothing may be running any more.
func (a *assembly) close() error {
	err := a.local.Close()
	for _, s := range a.stores {
		if c, ok := s.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

func (a *assembly) spec(t config.Target, owners bool, log hclog.Logger) (target.Spec, error) {
	log = log.With("target", t.Kind+"."+t.Name)
	keeps := t.Keeps
	keeps.Log = log
	daemon, err := t.Settings.Daemon(log)
	if c, can := reload.As[reload.Confiner](daemon); can && err == nil {
		err = c.Confine(keeps)
	}
	if err != nil {
		return target.Spec{}, fmt.Errorf("target %s %s: %w", t.Kind, t.Name, err)
	}
	daemon = discreet{daemon, a.secrets, map[string][]byte{}}
	if len(t.Check) > 0 {
		daemon = reload.WithCheck(daemon, t.Check, t.CheckTimeout, keeps)
	}
	s := target.Spec{
		Kind: t.Kind, Name: t.Name, Vars: t.Vars, Daemon: daemon,
		Settle:     target.Settle{Min: t.WaitMin, Max: t.WaitMax},
		MaxRemoval: t.MaxRemoval, LeaveDrift: t.LeaveDrift,
		Hold: t.Hold, HoldTimeout: a.holdTimeout, Knows: a.knows, OnChange: t.OnChange,
		Minimum: func(service string) int {
			if n, ok := t.Minimum[service]; ok {
				return n
			}
			return 1
		},
	}
	if t.Kind == config.LooseKind {
		s.Minimum = nil // an empty service is as good as any
		s.LeaveDrift = true
		s.Env = a.config.Stores[0].Environment()
	}
	if _, can := reload.As[reload.Holder](daemon); can {
		if s.Recipe, err = recipe(t); err != nil {
			return target.Spec{}, err
		}
	}
	for _, tmpl := range t.Templates {
		d := render.Destination{Path: tmpl.Destination, Perms: tmpl.Perms, MakeDirs: tmpl.MakeDirs, Backup: tmpl.Backup}
		if d.User, err = render.UserID(tmpl.User); err == nil {
			d.Group, err = render.GroupID(tmpl.Group)
		}
		if err != nil {
			if owners {
				err = hint.Wrap(fmt.Errorf("target %s %s: %w", t.Kind, t.Name, err), "create it, or correct user and group in the template block")
				return target.Spec{}, placed(tmpl.Range, err)
			}
		}
		s.Templates = append(s.Templates, target.Template{
			Source: tmpl.Source, Name: tmpl.Name, Text: tmpl.Text,
			Rules: tmpl.Rules, Destination: d,
		})
	}
	return s, nil
}

// knows says whether the config has a cluster.
func (a *assembly) knows(cluster string) bool {
	return slices.ContainsFunc(a.config.Clusters, func(c config.Cluster) bool { return c.Name == cluster })
}

// holdTimeout is what the config says of a cluster; 0 is nothing.
func (a *assembly) holdTimeout(cluster string) time.Duration {
	for _, c := range a.config.Clusters {
		if c.Name == cluster {
			return c.HoldTimeout
		}
	}
	return 0
}
