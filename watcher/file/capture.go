package file

import (
	"slices"
	"strings"

	"github.com/pgbaton/pgbaton/watcher"
)

// Add puts an answer into the catalog, so that the same query is answered
// alike from a state file.
func (c *Catalog) Add(q watcher.Query, a watcher.Answer) {
	if q.Store != watcher.Catalog {
		if c.Stores == nil {
			c.Stores = map[string]*Catalog{}
		}
		if c.Stores[q.Store] == nil {
			c.Stores[q.Store] = &Catalog{}
		}
		q.Store, c = watcher.Catalog, c.Stores[q.Store]
	}
	switch q.Kind {
	case watcher.Connect, watcher.Partitions, watcher.Peerings, watcher.Exported, watcher.Imported, watcher.CARoots, watcher.CALeaf:
		c.addMesh(q, a.Value)
		return
	}
	switch v := a.Value.(type) {
	case watcher.Pair:
		c.addPair(v)
	case []watcher.Pair:
		for _, p := range v {
			c.addPair(p)
		}
	case []*watcher.Instance:
		for _, i := range v {
			c.addInstance(q.Path, fromInstance(i))
		}
	case []*watcher.CatalogService:
		if c.Services == nil {
			c.Services = map[string][]Instance{}
		}
		for _, s := range v {
			if _, known := c.Services[s.Name]; !known {
				c.Services[s.Name] = nil
			}
		}
	case *watcher.NodeDetail:
		c.addNode(v.Node)
		for _, s := range v.Services {
			c.addInstance(s.Service, Instance{
				ID: s.ID, Node: v.Node.Node, NodeAddress: v.Node.Address, Address: s.Address, Port: s.Port, Tags: s.Tags, Meta: s.Meta,
			})
		}
	case []*watcher.NodeInfo:
		for _, n := range v {
			c.addNode(n)
		}
	case []string:
		c.Datacenters = v
	}
}

func (c *Catalog) addPair(p watcher.Pair) {
	if c.KV == nil {
		c.KV = map[string]Value{}
	}
	c.KV[strings.TrimPrefix(p.Path, "/")] = Value(p.Value)
}

func (c *Catalog) addInstance(service string, i Instance) {
	if c.Services == nil {
		c.Services = map[string][]Instance{}
	}
	has := func(have Instance) bool { return have.ID == i.ID && have.Node == i.Node }
	if !slices.ContainsFunc(c.Services[service], has) {
		c.Services[service] = append(c.Services[service], i)
	}
}

func (c *Catalog) addNode(n *watcher.NodeInfo) {
	if slices.ContainsFunc(c.Nodes, func(have Node) bool { return have.Name == n.Node }) {
		return
	}
	c.Nodes = append(c.Nodes, Node{
		ID: n.ID, Name: n.Node, Address: n.Address, Datacenter: n.Datacenter,
		TaggedAddresses: n.TaggedAddresses, Meta: n.Meta,
	})
}

func fromInstance(i *watcher.Instance) Instance {
	out := Instance{
		ID: i.ID, Node: i.Node, NodeAddress: i.NodeAddress, Address: i.Address, Port: i.Port,
		Tags: i.Tags, Meta: i.ServiceMeta, NodeMeta: i.NodeMeta, Datacenter: i.NodeDatacenter,
	}
	for _, c := range i.Checks {
		out.Checks = append(out.Checks, Check{ID: c.CheckID, Name: c.Name, Status: c.Status, Output: c.Output})
	}
	return out
}
