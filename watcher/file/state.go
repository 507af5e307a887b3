package file

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
)

// Catalog is the content of a state file: what a store would say.
type Catalog struct {
	KV          map[string]Value      `yaml:"kv,omitempty" json:"kv,omitempty"`
	Services    map[string][]Instance `yaml:"services,omitempty" json:"services,omitempty"`
	Nodes       []Node                `yaml:"nodes,omitempty" json:"nodes,omitempty"`
	Datacenters []string              `yaml:"datacenters,omitempty" json:"datacenters,omitempty"`
	Mesh        *Mesh                 `yaml:"mesh,omitempty" json:"mesh,omitempty"`

	// Stores are what others than the first store of a config say, by their names; one
	// that is not among them says what stands above.
	Stores map[string]*Catalog `yaml:"stores,omitempty" json:"stores,omitempty"`
}

// Of is what the store of a name says; "" is the first.
func (c *Catalog) Of(store string) *Catalog {
	if other := c.Stores[store]; other != nil {
		return other
	}
	return c
}

// Value is the text of a key. In the file it is text, or anything else, which
// is then its JSON.
type Value string

// UnmarshalYAML implements yaml.Unmarshaler.
func (v *Value) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		*v = Value(n.Value)
		return nil
	}
	var any any
	if err := n.Decode(&any); err != nil {
		return err
	}
	text, err := json.Marshal(any)
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	*v = Value(text)
	return nil
}

// Instance is one instance of a service.
type Instance struct {
	ID          string            `yaml:"id,omitempty" json:"id,omitempty"` // "" is the service's name
	Node        string            `yaml:"node,omitempty" json:"node,omitempty"`
	NodeAddress string            `yaml:"node_address,omitempty" json:"node_address,omitempty"`
	Address     string            `yaml:"address" json:"address"` // may be host:port
	Port        int               `yaml:"port,omitempty" json:"port,omitempty"`
	Tags        []string          `yaml:"tags,omitempty" json:"tags,omitempty"`
	Meta        map[string]string `yaml:"meta,omitempty" json:"meta,omitempty"`
	NodeMeta    map[string]string `yaml:"node_meta,omitempty" json:"node_meta,omitempty"`
	Checks      []Check           `yaml:"checks,omitempty" json:"checks,omitempty"` // none is passing
	Datacenter  string            `yaml:"datacenter,omitempty" json:"datacenter,omitempty"`
}

// Check is the state of one health check.
type Check struct {
	ID     string `yaml:"id,omitempty" json:"id,omitempty"`
	Name   string `yaml:"name,omitempty" json:"name,omitempty"`
	Status string `yaml:"status" json:"status"`
	Output string `yaml:"output,omitempty" json:"output,omitempty"`
}

// Node is a node of the catalog.
type Node struct {
	ID              string            `yaml:"id,omitempty" json:"id,omitempty"`
	Name            string            `yaml:"name" json:"name"`
	Address         string            `yaml:"address" json:"address"`
	Datacenter      string            `yaml:"datacenter,omitempty" json:"datacenter,omitempty"`
	TaggedAddresses map[string]string `yaml:"tagged_addresses,omitempty" json:"tagged_addresses,omitempty"`
	Meta            map[string]string `yaml:"meta,omitempty" json:"meta,omitempty"`
}

// ParseCatalog reads a state file, YAML or JSON. An empty one is an error: a
// writer is probably in the middle of it.
func ParseCatalog(content []byte) (*Catalog, error) {
	var c Catalog
	dec := yaml.NewDecoder(bytes.NewReader(content))
	dec.KnownFields(true)
	switch err := dec.Decode(&c); {
	case errors.Is(err, io.EOF):
		return nil, hint.Wrap(errors.New("it is empty"), "write {} for a catalog with nothing in it")
	case err != nil:
		return nil, hint.Wrap(err, "the top level has kv, services, nodes, datacenters and mesh")
	}
	return &c, nil
}

// Answer answers one query from the catalog.
func (c *Catalog) Answer(q watcher.Query) (watcher.Answer, error) {
	if o := q.Options; o.Filter != "" || o.Namespace != "" || o.Partition != "" || o.Peer != "" || o.Sameness != "" {
		return watcher.Answer{}, hint.Wrap(fmt.Errorf("a state file has no filters, namespaces, partitions and peers: %s", q),
			"ask for the service alone, and choose in the template")
	}
	present := func(v any) (watcher.Answer, error) {
		return watcher.Answer{Presence: watcher.Present, Value: v}, nil
	}
	switch q.Kind {
	case watcher.Key:
		key := strings.TrimPrefix(q.Path, "/")
		if v, ok := c.KV[key]; ok {
			return present(watcher.Pair{Path: key, Key: key, Value: string(v)})
		}
		return watcher.Answer{Presence: watcher.Absent}, nil
	case watcher.Prefix:
		return present(c.prefix(strings.TrimPrefix(q.Path, "/")))
	case watcher.Service:
		return present(instances(c.Services, q))
	case watcher.Services:
		return present(c.services())
	case watcher.Nodes:
		return present(c.nodes(q.Options.Datacenter))
	case watcher.Node:
		if d := c.node(q.Path); d != nil {
			return present(d)
		}
		return watcher.Answer{Presence: watcher.Absent}, nil
	case watcher.Datacenters:
		return present(slices.Sorted(slices.Values(c.Datacenters)))
	}
	value, err := c.mesh(q)
	if err != nil {
		return watcher.Answer{}, err
	}
	return present(value)
}

func (c *Catalog) prefix(prefix string) []watcher.Pair {
	pairs := []watcher.Pair{}
	for key, v := range c.KV {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			pairs = append(pairs, watcher.Pair{Path: key, Key: strings.TrimLeft(rest, "/"), Value: string(v)})
		}
	}
	slices.SortFunc(pairs, func(a, b watcher.Pair) int { return strings.Compare(a.Path, b.Path) })
	return pairs
}

func instances(services map[string][]Instance, q watcher.Query) []*watcher.Instance {
	accepted := strings.Split(cmp.Or(q.Options.Status, watcher.Passing), ",")
	list := []*watcher.Instance{}
	for _, s := range services[q.Path] {
		i := s.instance(q.Path)
		if q.Options.Tag != "" && !i.Tags.Contains(q.Options.Tag) {
			continue
		}
		if q.Options.Datacenter != "" && i.NodeDatacenter != q.Options.Datacenter {
			continue
		}
		if slices.Contains(accepted, i.Status) || slices.Contains(accepted, "any") {
			list = append(list, i)
		}
	}
	slices.SortStableFunc(list, func(a, b *watcher.Instance) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.ID, b.ID))
	})
	return list
}

func (s *Instance) instance(name string) *watcher.Instance {
	i := &watcher.Instance{
		ID: cmp.Or(s.ID, name), Name: name, Node: s.Node, NodeMeta: s.NodeMeta, NodeDatacenter: s.Datacenter,
		Address: s.Address, Port: s.Port, Tags: watcher.Tags(slices.Sorted(slices.Values(s.Tags))),
		ServiceMeta: s.Meta, Weights: watcher.Weights{Passing: 1, Warning: 1},
	}
	if host, port, err := net.SplitHostPort(s.Address); err == nil && s.Port == 0 {
		i.Address = host
		i.Port, _ = strconv.Atoi(port)
	}
	i.NodeAddress = cmp.Or(s.NodeAddress, i.Address)
	i.Address = cmp.Or(i.Address, i.NodeAddress)
	for _, c := range s.Checks {
		i.Checks = append(i.Checks, watcher.Check{
			Node: s.Node, CheckID: c.ID, Name: c.Name, Status: c.Status, Output: c.Output,
			ServiceID: i.ID, ServiceName: name,
		})
	}
	i.Status = i.Checks.AggregatedStatus()
	return i
}

func (c *Catalog) services() []*watcher.CatalogService {
	list := make([]*watcher.CatalogService, 0, len(c.Services))
	for name, instances := range c.Services {
		var all []string
		for _, i := range instances {
			all = append(all, i.Tags...)
		}
		slices.Sort(all)
		list = append(list, &watcher.CatalogService{Name: name, Tags: slices.Compact(all)})
	}
	slices.SortFunc(list, func(a, b *watcher.CatalogService) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (c *Catalog) nodes(dc string) []*watcher.NodeInfo {
	list := []*watcher.NodeInfo{}
	for i := range c.Nodes {
		if n := &c.Nodes[i]; dc == "" || n.Datacenter == dc {
			list = append(list, n.info())
		}
	}
	slices.SortFunc(list, func(a, b *watcher.NodeInfo) int { return strings.Compare(a.Node, b.Node) })
	return list
}

func (n *Node) info() *watcher.NodeInfo {
	return &watcher.NodeInfo{
		ID: n.ID, Node: n.Name, Address: n.Address, Datacenter: n.Datacenter,
		TaggedAddresses: n.TaggedAddresses, Meta: n.Meta,
	}
}

// node finds a node by name; without a name, the first one listed.
func (c *Catalog) node(name string) *watcher.NodeDetail {
	for i := range c.Nodes {
		if name != "" && c.Nodes[i].Name != name {
			continue
		}
		d := &watcher.NodeDetail{Node: c.Nodes[i].info(), Services: []*watcher.NodeService{}}
		for service, instances := range c.Services {
			for _, s := range instances {
				if s.Node != c.Nodes[i].Name {
					continue
				}
				in := s.instance(service)
				d.Services = append(d.Services, &watcher.NodeService{
					ID: in.ID, Service: service, Tags: in.Tags, Meta: in.ServiceMeta, Port: in.Port, Address: in.Address,
				})
			}
		}
		slices.SortFunc(d.Services, func(a, b *watcher.NodeService) int {
			return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.ID, b.ID))
		})
		return d
	}
	return nil
}
