package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/baton"
	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/hint"
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
	store    watcher.Store
	local    *file.Local
	tracker  *baton.Tracker
}

// load reads a config with the real kinds and templates.
func load(paths []string) (*config.Config, config.Problems) {
	return config.Load(paths, config.Options{Kinds: kinds(), Builtin: templates.Text, Builtins: templates.Names()})
}

// assemble opens what the config names. owners says whether the files' owners
// must be there: a machine that only looks need not know those users.
func assemble(c *config.Config, owners bool, log hclog.Logger) (*assembly, error) {
	store, err := c.Store.Settings.Open()
	if err != nil {
		return nil, err
	}
	a := &assembly{config: c, store: store, local: file.NewLocal()}
	for _, cl := range c.Clusters {
		a.clusters = append(a.clusters, baton.Definition{
			Name: cl.Name, Scope: cl.Scope, Namespace: cl.Namespace, Group: cl.Group,
			Datacenter: cl.Datacenter, Trust: cluster.Trust(cl.Confirm),
		})
	}
	a.tracker = baton.New(store, a.clusters, log)
	a.watcher = watcher.New(map[string]watcher.Store{
		watcher.Catalog:  store,
		watcher.Local:    a.local,
		watcher.Clusters: a.tracker,
	}, log)
	for _, t := range c.Targets {
		spec, err := a.spec(t, owners, log)
		if err != nil {
			return nil, errors.Join(err, a.close())
		}
		a.specs = append(a.specs, spec)
	}
	return a, nil
}

// close lets go of what the stores hold. Nothing may be running any more.
func (a *assembly) close() error {
	err := a.local.Close()
	if c, ok := a.store.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}

func (a *assembly) spec(t config.Target, owners bool, log hclog.Logger) (target.Spec, error) {
	daemon, err := t.Settings.Daemon(log.With("target", t.Kind+"."+t.Name))
	if err != nil {
		return target.Spec{}, fmt.Errorf("target %s %s: %w", t.Kind, t.Name, err)
	}
	if len(t.Check) > 0 {
		daemon = reload.WithCheck(daemon, t.Check, t.CheckTimeout)
	}
	s := target.Spec{
		Kind: t.Kind, Name: t.Name, Vars: t.Vars, Daemon: daemon,
		Settle: target.Settle{Min: t.WaitMin, Max: t.WaitMax},
		Minimum: func(service string) int {
			if n, ok := t.Minimum[service]; ok {
				return n
			}
			return 1
		},
	}
	for _, tmpl := range t.Templates {
		d := render.Destination{Path: tmpl.Destination, Perms: tmpl.Perms, MakeDirs: tmpl.MakeDirs, Backup: tmpl.Backup}
		if d.User, err = id(tmpl.User, userID); err == nil {
			d.Group, err = id(tmpl.Group, groupID)
		}
		if err != nil {
			if owners {
				return target.Spec{}, hint.Wrap(fmt.Errorf("target %s %s: %w", t.Kind, t.Name, err), "create it, or correct user and group in the template block")
			}
		}
		s.Templates = append(s.Templates, target.Template{
			Source: tmpl.Source, Name: tmpl.Name, Text: tmpl.Text,
			Delims: render.Delims{Left: tmpl.Left, Right: tmpl.Right}, Destination: d,
		})
	}
	return s, nil
}

// id resolves a user or group; nil for "", which keeps what is there.
func id(name string, lookup func(string) (string, error)) (*int, error) {
	if name == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(name)
	if err != nil {
		text, err := lookup(name)
		if err != nil {
			return nil, err
		}
		if n, err = strconv.Atoi(text); err != nil {
			return nil, err
		}
	}
	return &n, nil
}

func userID(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func groupID(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}

// newLogger logs to standard error, in colour if a person looks.
func newLogger(c *config.Config, std stdio) hclog.Logger {
	o := &hclog.LoggerOptions{
		Name: "pgbaton", Level: hclog.LevelFromString(c.LogLevel), Output: std.err,
		JSONFormat: c.LogFormat == "json", TimeFormat: time.RFC3339Nano,
	}
	if f, ok := std.err.(*os.File); ok && c.LogFormat == "" && isTerminal(f) {
		o.Color = hclog.AutoColor
		o.TimeFormat = "15:04:05.000"
	}
	return hclog.New(o)
}
