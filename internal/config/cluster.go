package config

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/render"
)

// Cluster is a cluster block.
type Cluster struct {
	Kind        string
	Name        string
	Scope       string
	Namespace   string
	Datacenter  string
	Group       string
	Confirm     []string      // ways to confirm a leader, the most trusted first
	HoldTimeout time.Duration // how long its traffic is held at most; 0 goes by Patroni's own settings
	EarlyHold   bool          // hold as soon as the leader is lost, before its key is
	API         MemberAPI
	SQL         MemberSQL
	Range       hcl.Range
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
	Kind        string     `hcl:"kind,label"`
	Name        string     `hcl:"name,label"`
	Scope       string     `hcl:"scope,optional" default:"the block's name"`                       // "" is the block's name
	Namespace   string     `hcl:"namespace,optional" default:"\"service\""`                        // "" is service
	Datacenter  string     `hcl:"datacenter,optional" default:"the store's"`                       // "" is the store's own
	Group       *int       `hcl:"group,optional" default:"none"`                                   // of Citus; 0 is the coordinator
	Confirm     []string   `hcl:"confirm,optional" default:"[\"patroni-api\", \"sql\", \"role\"]"` // nil is ways, "none" left out
	HoldTimeout string     `hcl:"hold_timeout,optional" default:"\"auto\""`
	EarlyHold   *bool      `hcl:"early_hold,optional" default:"true"` // nil is true
	API         *MemberAPI `hcl:"api,block"`
	SQL         *MemberSQL `hcl:"sql,block"`
	Body        hcl.Body   `hcl:",body"`
	Range       hcl.Range  `hcl:",def_range"`
}

// ways are the ways to confirm a leader.
var ways = []string{"patroni-api", "sql", "role", "none"} //nolint:gochecknoglobals // a constant

func (l *loader) cluster(b clusterBlock) Cluster {
	c := Cluster{
		Kind: b.Kind, Name: b.Name, Scope: cmp.Or(b.Scope, b.Name), Namespace: strings.Trim(cmp.Or(b.Namespace, "service"), "/"),
		Datacenter: b.Datacenter, Confirm: ways[:3], EarlyHold: b.EarlyHold == nil || *b.EarlyHold, Range: b.Range,
	}
	if b.Kind != "patroni" {
		l.fault(explain.ConfigUnknown, b.Range, `write cluster "patroni" "NAME"`, "there is no kind of cluster named %q", b.Kind)
	}
	if notName(b.Name) {
		l.errorf(b.Range, "letters, digits, - and _", "cluster name %q", b.Name)
	}
	if b.Group != nil {
		c.Group = itoa(*b.Group)
	}
	if b.Confirm != nil {
		c.Confirm = b.Confirm
		l.confirm(b)
	}
	if b.HoldTimeout != "" && b.HoldTimeout != "auto" {
		at := where(b.Body, "hold_timeout", b.Range)
		before := len(l.problems)
		if c.HoldTimeout = l.duration(at, "hold_timeout", b.HoldTimeout); c.HoldTimeout == 0 && len(l.problems) == before {
			l.errorf(at, `write "auto", or a time such as "60s"`, "cluster %s: hold_timeout is no time longer than zero", b.Name)
		}
	}
	dir := folder(b.Range)
	if b.API != nil {
		c.API = *b.API
		beside(dir, &c.API.PasswordFile, &c.API.CAFile, &c.API.CertFile, &c.API.KeyFile)
	}
	if b.SQL != nil {
		c.SQL = *b.SQL
		beside(dir, &c.SQL.PasswordFile, &c.SQL.CAFile, &c.SQL.CertFile, &c.SQL.KeyFile)
	}
	return c
}

func (l *loader) confirm(b clusterBlock) {
	at := where(b.Body, "confirm", b.Range)
	if len(b.Confirm) == 0 {
		l.fault(explain.ConfigMissing, at, `leave it out, or trust the leader key alone with ["none"]`, "cluster %s: confirm is empty", b.Name)
	}
	for i, way := range b.Confirm {
		switch {
		case !slices.Contains(ways, way):
			advice := "the ways are " + strings.Join(ways, ", ")
			if near := render.Nearest(way, ways); near != "" {
				advice = `did you mean "` + near + `"?`
			}
			l.fault(explain.ConfigUnknown, at, advice, "cluster %s: there is no way to confirm a leader named %q", b.Name, way)
		case way == "none" && len(b.Confirm) > 1:
			l.fault(explain.ConfigConflict, at, `"none" trusts the leader key alone: no other way would ever be needed`, "cluster %s: confirm has none beside others", b.Name)
		case slices.Contains(b.Confirm[:i], way):
			l.fault(explain.ConfigConflict, at, "name each way once", "cluster %s: confirm has %q twice", b.Name, way)
		}
	}
}

// beside makes relative paths begin at dir.
func beside(dir string, paths ...*string) {
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}
