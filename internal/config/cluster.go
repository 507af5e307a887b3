package config

import (
	"cmp"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Cluster is a cluster block: a Patroni cluster to track.
type Cluster struct {
	Kind       string
	Name       string
	Scope      string
	Namespace  string
	Datacenter string
	Group      string
	Confirm    string // "none" or "role"
	Range      hcl.Range
}

type clusterBlock struct {
	Kind       string    `hcl:"kind,label"`
	Name       string    `hcl:"name,label"`
	Scope      string    `hcl:"scope,optional"`      // "" is the block's name
	Namespace  string    `hcl:"namespace,optional"`  // "" is service
	Datacenter string    `hcl:"datacenter,optional"` // "" is the store's own
	Group      *int      `hcl:"group,optional"`      // of Citus; 0 is the coordinator
	Confirm    []string  `hcl:"confirm,optional"`    // nil is ["none"]
	Body       hcl.Body  `hcl:",body"`
	Range      hcl.Range `hcl:",def_range"`
}

func (l *loader) cluster(b clusterBlock) Cluster {
	c := Cluster{
		Kind: b.Kind, Name: b.Name, Scope: cmp.Or(b.Scope, b.Name), Namespace: strings.Trim(cmp.Or(b.Namespace, "service"), "/"),
		Datacenter: b.Datacenter, Confirm: "none", Range: b.Range,
	}
	if b.Kind != "patroni" {
		l.errorf(b.Range, `write cluster "patroni" "NAME"`, "there is no kind of cluster named %q", b.Kind)
	}
	if b.Group != nil {
		c.Group = itoa(*b.Group)
	}
	switch {
	case len(b.Confirm) > 1:
		l.errorf(where(b.Body, "confirm", b.Range), `write confirm = ["role"]`, "cluster %s: confirm takes one way", b.Name)
	case len(b.Confirm) == 1 && b.Confirm[0] != "none" && b.Confirm[0] != "role":
		l.errorf(where(b.Body, "confirm", b.Range), `"none" trusts the leader key, "role" waits until the member calls itself primary`,
			"cluster %s: there is no way to confirm named %q", b.Name, b.Confirm[0])
	case len(b.Confirm) == 1:
		c.Confirm = b.Confirm[0]
	}
	return c
}
