// Package baton keeps track of who leads each cluster: it watches a cluster's
// keys, asks its members what the keys can't tell, and passes both through
// cluster.Next. It is itself a store, of Cluster queries, so that a cluster is
// watched and kept as last known good like anything else.
package baton

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/pgbaton/pgbaton/internal/probe"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// Definition is a cluster to track.
type Definition struct {
	Name     string // its name in the config
	Source   cluster.Source
	Policy   cluster.Policy
	Ask      probe.Config
	Probes   []probe.Probe // what its members are asked all the time
	Pulse    bool          // watch over the leader: someone wants to hold traffic
	Rehearse bool          // try at the start whether members can be asked
}

// where is where its keys are, in a word: what was known of another place is not
// known of this one.
func (d Definition) where() string {
	q := d.Source.Queries(nil)[0]
	if q.Store == watcher.Catalog {
		return q.Path
	}
	return q.Store + ":" + q.Path
}

// Tracker answers Cluster queries.
type Tracker struct {
	courses map[string]*course
}

// New returns a tracker of the defined clusters. What was known of their leaders
// is read from memory, and kept there; its Dir may be "" for none.
func New(defs []Definition, memory state.Folder, log hclog.Logger) (*Tracker, error) {
	t := &Tracker{courses: map[string]*course{}}
	for _, d := range defs {
		c := &course{def: d, log: log.With("cluster", d.Name), memory: memory, changed: make(chan struct{})}
		d.Ask.Ways = d.Policy.Confirm
		var err error
		if c.prober, err = probe.New(d.Ask, c.log); err != nil {
			return nil, fmt.Errorf("cluster %s: %w", d.Name, err)
		}
		c.remember()
		t.courses[d.Name] = c
	}
	return t, nil
}

// Run tracks every cluster until ctx ends. Keys are read through subscriptions.
func (t *Tracker) Run(ctx context.Context, subscribe func() *watcher.Subscription) error {
	var g errgroup.Group
	for _, c := range t.courses {
		g.Go(func() error {
			c.run(ctx, subscribe())
			return nil
		})
	}
	return g.Wait()
}

// Inherit takes over what old knew of clusters that are defined alike, so that
// a config that is read again forgets no leader.
func (t *Tracker) Inherit(old *Tracker) {
	for name, c := range t.courses {
		if was := old.courses[name]; was != nil && was.def.Source == c.def.Source {
			was.mu.Lock()
			c.baton = was.baton
			was.mu.Unlock()
		}
	}
}

// Fetch implements watcher.Store. Its value is a cluster.Baton. While the keys
// can't be read it is what follows from the last ones, and from what the members
// say themselves.
func (t *Tracker) Fetch(ctx context.Context, q watcher.Query, after uint64) (watcher.Answer, error) {
	c := t.courses[q.Path]
	if c == nil {
		return watcher.Answer{}, fmt.Errorf("no cluster is named %q in the config", q.Path)
	}
	for {
		c.mu.Lock()
		answer, changed := c.answer, c.changed
		c.mu.Unlock()
		if answer.Rev != 0 && answer.Rev != after {
			return answer, nil
		}
		select {
		case <-ctx.Done():
			return watcher.Answer{}, context.Cause(ctx)
		case <-changed:
		}
	}
}

// Standing is how a cluster stands, for those who look from outside.
type Standing struct {
	Definition
	Baton cluster.Baton
	Known bool      // its keys were read; else Baton is what the process before remembered
	Fresh time.Time // when its keys were last confirmed; zero if they never were
	Err   error     // why they can't be confirmed now; nil if they can
}

// Standings tells how each cluster stands, in order of their names.
func (t *Tracker) Standings() []Standing {
	var all []Standing
	for _, name := range slices.Sorted(maps.Keys(t.courses)) {
		c := t.courses[name]
		c.mu.Lock()
		b := c.baton
		if c.health != nil {
			b.Health = c.health.verdicts() // as of now: the answer is as of the last change
		}
		all = append(all, Standing{c.def, b, c.answer.Presence == watcher.Present, c.answer.Fresh, c.answer.Err})
		c.mu.Unlock()
	}
	return all
}

// memoryVersion is raised when an older memory can't be understood any more.
const memoryVersion = 1

// memory is what of a cluster must outlive the process: who led, so that an
// older leader is not believed after a restart.
type memory struct {
	Version int             `json:"version"`
	Prefix  string          `json:"prefix"`
	Term    cluster.Term    `json:"term"`
	By      cluster.Way     `json:"by"`
	Leader  *cluster.Member `json:"leader,omitempty"` // where clients may hang if it leads no more; an older pgbaton left none
}

func (c *course) memoryName() string { return "cluster." + c.def.Name }

// remember takes up what the last process knew.
func (c *course) remember() {
	if c.memory.Dir == "" {
		return
	}
	var m memory
	found, err := c.memory.Load(c.memoryName(), &m)
	switch {
	case err != nil:
		c.log.Warn("who led before is forgotten", "error", err)
	case found && m.Version == memoryVersion && m.Prefix == c.def.where():
		c.baton = cluster.Baton{Term: m.Term, By: m.By, Before: m.Leader, Phase: cluster.Starting}
	}
}

// keep saves who leads. It is the last thing to do about a new leader: nobody
// waits for it.
func (c *course) keep(b cluster.Baton) {
	if c.memory.Dir == "" || b.Confirmed == nil {
		return
	}
	m := memory{Version: memoryVersion, Prefix: c.def.where(), Term: b.Term, By: b.By, Leader: b.Confirmed}
	if err := c.memory.Save(c.memoryName(), m); err != nil {
		c.log.Error("a restart will not know who leads", "error", err)
	}
}
