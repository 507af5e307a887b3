// Package baton keeps track of who leads each cluster: it reads a cluster's
// keys from its store and passes what they say through cluster.Next. It is
// itself a store, of Cluster queries, so that a cluster is watched, retried
// and kept as last known good like anything else.
package baton

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// Definition is a Patroni cluster to track.
type Definition struct {
	Name       string // its name in the config
	Scope      string // Patroni's scope
	Namespace  string // Patroni's namespace, "service" by default
	Group      string // the Citus group; "" outside Citus
	Datacenter string // where its keys are; "" is the store's own
	Trust      cluster.Trust
}

// Prefix is where the cluster's keys begin, with a slash at the end: a scope
// may be the beginning of another's name.
func (d Definition) Prefix() string { return path.Join(d.Namespace, d.Scope, d.Group) + "/" }

// Query is the one watch that the cluster needs.
func (d Definition) Query() watcher.Query {
	return watcher.Query{Kind: watcher.Prefix, Path: d.Prefix(), Options: watcher.Options{Datacenter: d.Datacenter}}
}

// Tracker answers Cluster queries.
type Tracker struct {
	keys watcher.Store
	defs map[string]Definition
	log  hclog.Logger

	mu     sync.Mutex
	batons map[string]cluster.Baton
	untold map[string]func()
}

// New returns a tracker of the defined clusters, whose keys are in one store.
func New(keys watcher.Store, defs []Definition, log hclog.Logger) *Tracker {
	t := &Tracker{keys: keys, defs: map[string]Definition{}, log: log, batons: map[string]cluster.Baton{}, untold: map[string]func(){}}
	for _, d := range defs {
		t.defs[d.Name] = d
	}
	return t
}

// Inherit takes over what old knew of clusters that are defined alike, so that
// a config that is read again forgets no leader.
func (t *Tracker) Inherit(old *Tracker) {
	old.mu.Lock()
	defer old.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, b := range old.batons {
		if old.defs[name] == t.defs[name] {
			t.batons[name] = b
		}
	}
}

// Fetch implements watcher.Store. Its value is a cluster.Baton.
func (t *Tracker) Fetch(ctx context.Context, q watcher.Query, after uint64) (watcher.Answer, error) {
	def, ok := t.defs[q.Path]
	if !ok {
		return watcher.Answer{}, fmt.Errorf("no cluster is named %q in the config", q.Path)
	}
	t.tell(def.Name)
	answer, err := t.keys.Fetch(ctx, def.Query(), after)
	if err != nil {
		return watcher.Answer{}, fmt.Errorf("cluster %s: %w", def.Name, err)
	}
	pairs, _ := answer.Value.([]watcher.Pair)
	seen := cluster.DecodePatroni(def.Scope, def.Prefix(), pairs)
	seen.Name = def.Name
	answer.Presence = watcher.Present
	answer.Value = t.next(def, seen)
	return answer, nil
}

func (t *Tracker) next(def Definition, seen cluster.Cluster) cluster.Baton {
	t.mu.Lock()
	defer t.mu.Unlock()
	prev, known := t.batons[def.Name]
	next := cluster.Next(prev, seen, def.Trust, time.Now())
	t.batons[def.Name] = next
	t.untold[def.Name] = func() { t.news(prev, next, known) }
	return next
}

// tell logs what the last answer brought. It is called when the next is asked
// for: by then the last one is on its way, and need not wait for a log.
func (t *Tracker) tell(name string) {
	t.mu.Lock()
	tell := t.untold[name]
	delete(t.untold, name)
	t.mu.Unlock()
	if tell != nil {
		tell()
	}
}

// news logs what an operator would ask about, and no heartbeat.
func (t *Tracker) news(prev, next cluster.Baton, known bool) {
	log := t.log.With("cluster", next.Seen.Name)
	if next.Confirmed != nil && next.Term.Leader != prev.Term.Leader {
		log.Info("leader confirmed", "leader", next.Term.Leader, "address", next.Confirmed.Address(), "timeline", next.Term.Timeline)
	}
	if next.Phase != prev.Phase {
		log.Info("phase", "is", string(next.Phase), "was", string(prev.Phase))
	}
	if next.Refused != "" && next.Refused != prev.Refused {
		log.Error("leader refused", "reason", next.Refused)
	}
	for _, p := range next.Seen.Problems {
		if !known || !slices.Contains(prev.Seen.Problems, p) {
			log.Warn("bad key", "problem", p)
		}
	}
}
