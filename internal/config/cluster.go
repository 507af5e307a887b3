package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/login"
	"github.com/pgbaton/pgbaton/internal/probe"
	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// Cluster is a cluster block.
type Cluster struct {
	Kind        string
	Name        string
	Store       string // that its keys are in; "" is the first
	Settings    cluster.Settings
	Confirm     []cluster.Way // ways to confirm a leader, the most trusted first
	HoldTimeout time.Duration // how long its traffic is held at most; 0 goes by the cluster's own settings
	EarlyHold   bool          // hold as soon as the leader is lost, before its key is
	API         MemberAPI
	SQL         MemberSQL
	Probes      []probe.Probe
	Range       hcl.Range

	body   hcl.Body
	unread bool // its own settings have mistakes
}

// MemberAPI is how the REST servers of a cluster's members are asked.
type MemberAPI struct {
	User         string `hcl:"user,optional" default:"none"`
	PasswordFile string `hcl:"password_file,optional" default:"none"`
	CAFile       string `hcl:"ca_file,optional" default:"the system's"`
	CertFile     string `hcl:"cert_file,optional" default:"none"`
	KeyFile      string `hcl:"key_file,optional" default:"cert_file"`
	Insecure     bool   `hcl:"insecure,optional" default:"false"`
}

// MemberSQL is how the members' PostgreSQL servers are logged in to.
type MemberSQL struct {
	User         string `hcl:"user,optional" default:"\"postgres\""`
	Database     string `hcl:"database,optional" default:"\"postgres\""`
	PasswordFile string `hcl:"password_file,optional" default:"none"`
	SSLMode      string `hcl:"sslmode,optional" default:"\"prefer\""`
	CAFile       string `hcl:"ca_file,optional" default:"none"`
	CertFile     string `hcl:"cert_file,optional" default:"none"`
	KeyFile      string `hcl:"key_file,optional" default:"none"`
}

type clusterBlock struct {
	Kind        string       `hcl:"kind,label"`
	Name        string       `hcl:"name,label"`
	Store       string       `hcl:"store,optional" default:"the first"`
	Confirm     []string     `hcl:"confirm,optional" default:"by the kind"` // nil is by the kind
	HoldTimeout string       `hcl:"hold_timeout,optional" default:"\"auto\""`
	EarlyHold   *bool        `hcl:"early_hold,optional" default:"true"` // nil is true
	API         *MemberAPI   `hcl:"api,block"`
	SQL         *MemberSQL   `hcl:"sql,block"`
	Probes      []probeBlock `hcl:"probe,block"`
	Rest        hcl.Body     `hcl:",remain"`
	Body        hcl.Body     `hcl:",body"`
	Range       hcl.Range    `hcl:",def_range"`
}

func (l *loader) cluster(b clusterBlock) Cluster {
	c := Cluster{Kind: b.Kind, Name: b.Name, Store: b.Store, EarlyHold: b.EarlyHold == nil || *b.EarlyHold, Range: b.Range, body: b.Body}
	if notName(b.Name) {
		l.errorf(b.Range, "letters, digits, - and _", "cluster name %q", b.Name)
	}
	if kind := l.kinds.Clusters[b.Kind]; kind != nil {
		c.Settings = kind()
		before := len(l.problems)
		l.settings(b.Rest, c.Settings, implied(clusterBlock{})...)
		c.unread = len(l.problems) > before
		l.confirm(b, &c)
	} else {
		l.unknown(b.Range, "there is no kind of cluster named %q", b.Kind, slices.Collect(maps.Keys(l.kinds.Clusters)))
	}
	if b.HoldTimeout != "" && b.HoldTimeout != "auto" {
		at := where(b.Body, "hold_timeout", b.Range)
		before := len(l.problems)
		if c.HoldTimeout = l.duration(at, "hold_timeout", b.HoldTimeout); c.HoldTimeout == 0 && len(l.problems) == before {
			l.errorf(at, `write "auto", or a time such as "60s"`, "cluster %s: hold_timeout is no time longer than zero", b.Name)
		}
	}
	c.Probes = l.probes(b.Name, b.Probes)
	dir := folder(b.Range)
	if b.API != nil {
		c.API = *b.API
		login.Beside(dir, &c.API.PasswordFile, &c.API.CAFile, &c.API.CertFile, &c.API.KeyFile)
	}
	if b.SQL != nil {
		c.SQL = *b.SQL
		login.Beside(dir, &c.SQL.PasswordFile, &c.SQL.CAFile, &c.SQL.CertFile, &c.SQL.KeyFile)
	}
	return c
}

// Place is where a cluster is kept, as far as the config knows.
func (c *Config) Place(cl Cluster) cluster.Place {
	query := func(name string) (string, bool) {
		s := c.storeNamed(name)
		switch {
		case s == nil:
			return "", false
		case s == &c.Stores[0]:
			return watcher.Catalog, true
		}
		return s.Name, true
	}
	p := cluster.Place{Name: cl.Name, Stores: query}
	p.Store, _ = query(cl.Store)
	return p
}

// confirm fills in how a leader is confirmed.
func (l *loader) confirm(b clusterBlock, c *Cluster) {
	all, usual := c.Settings.Ways()
	if b.Confirm == nil {
		if c.Confirm = usual; len(usual) == 0 {
			c.Confirm = []cluster.Way{cluster.WayKey}
		}
		return
	}
	at := where(b.Body, "confirm", b.Range)
	if len(b.Confirm) == 0 {
		l.fault(explain.ConfigMissing, at, `leave it out, or trust the leader key alone with ["none"]`, "cluster %s: confirm is empty", b.Name)
	}
	var ways []string
	for _, way := range append(slices.Clone(all), cluster.WayKey) {
		ways = append(ways, string(way))
	}
	for i, way := range b.Confirm {
		c.Confirm = append(c.Confirm, cluster.Way(way))
		switch {
		case !slices.Contains(ways, way):
			l.unknown(at, "cluster "+b.Name+": there is no way to confirm a leader named %q", way, ways)
		case way == string(cluster.WayKey) && len(b.Confirm) > 1:
			l.fault(explain.ConfigConflict, at, `"none" trusts the leader key alone: no other way would ever be needed`, "cluster %s: confirm has none beside others", b.Name)
		case slices.Contains(b.Confirm[:i], way):
			l.fault(explain.ConfigConflict, at, "name each way once", "cluster %s: confirm has %q twice", b.Name, way)
		}
	}
}

// unknown is for a word that is none of those it may be. format has a place for it.
func (l *loader) unknown(at hcl.Range, format, word string, known []string) {
	slices.Sort(known)
	advice := "known are " + strings.Join(known, ", ")
	if near := render.Nearest(word, known); near != "" {
		advice = fmt.Sprintf("did you mean %q?", near)
	}
	l.fault(explain.ConfigUnknown, at, advice, format, word)
}
