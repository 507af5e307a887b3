package consul

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/watcher"
)

func (s *Store) service(q watcher.Query, opts *api.QueryOptions) (any, *api.QueryMeta, error) {
	return s.instances(q, opts, s.client.Health().Service)
}

// connect lists the instances that speak Consul's mesh: proxies, and services
// that do so by themselves.
func (s *Store) connect(q watcher.Query, opts *api.QueryOptions) (any, *api.QueryMeta, error) {
	return s.instances(q, opts, s.client.Health().Connect)
}

type lookUp func(service, tag string, passingOnly bool, opts *api.QueryOptions) ([]*api.ServiceEntry, *api.QueryMeta, error)

func (s *Store) instances(q watcher.Query, opts *api.QueryOptions, lookUp lookUp) (any, *api.QueryMeta, error) {
	accepted := strings.Split(q.Options.Status, ",")
	if q.Options.Status == "" {
		accepted = []string{watcher.Passing}
	}
	passingOnly := len(accepted) == 1 && accepted[0] == watcher.Passing
	entries, meta, err := lookUp(q.Path, q.Options.Tag, passingOnly, opts)
	if err = errors.Join(err, whole(entries)); err != nil {
		return nil, meta, err
	}
	list := make([]*watcher.Instance, 0, len(entries))
	for _, e := range entries {
		if e.Node == nil || e.Service == nil || whole(e.Checks) != nil {
			return nil, meta, errHole
		}
		i := instance(e)
		if slices.Contains(accepted, i.Status) || slices.Contains(accepted, "any") {
			list = append(list, i)
		}
	}
	if q.Options.Near == "" {
		slices.SortStableFunc(list, func(a, b *watcher.Instance) int {
			return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.ID, b.ID))
		})
	}
	return list, meta, nil
}

func instance(e *api.ServiceEntry) *watcher.Instance {
	i := &watcher.Instance{
		Node: e.Node.Node, NodeID: e.Node.ID, NodeAddress: e.Node.Address, NodeDatacenter: e.Node.Datacenter,
		NodeTaggedAddresses: e.Node.TaggedAddresses, NodeMeta: e.Node.Meta,
		ServiceMeta: e.Service.Meta, Address: cmp.Or(e.Service.Address, e.Node.Address),
		ID: e.Service.ID, Name: e.Service.Service, Tags: tags(e.Service.Tags), Port: e.Service.Port,
		Weights: watcher.Weights{Passing: e.Service.Weights.Passing, Warning: e.Service.Weights.Warning},
	}
	if len(e.Service.TaggedAddresses) > 0 {
		i.ServiceTaggedAddresses = make(map[string]watcher.ServiceAddress, len(e.Service.TaggedAddresses))
		for name, a := range e.Service.TaggedAddresses {
			i.ServiceTaggedAddresses[name] = watcher.ServiceAddress{Address: a.Address, Port: a.Port}
		}
	}
	i.Checks = watcher.Checks{}
	for _, c := range e.Checks {
		i.Checks = append(i.Checks, watcher.Check{
			Node: c.Node, CheckID: c.CheckID, Name: c.Name, Status: c.Status, Notes: c.Notes,
			Output: c.Output, ServiceID: c.ServiceID, ServiceName: c.ServiceName, ServiceTags: c.ServiceTags, Type: c.Type,
			Namespace: c.Namespace, Partition: c.Partition, ExposedPort: c.ExposedPort, PeerName: c.PeerName,
			Definition: &c.Definition, CreateIndex: c.CreateIndex, ModifyIndex: c.ModifyIndex,
		})
	}
	i.Status = i.Checks.AggregatedStatus()
	return i
}

func tags(list []string) watcher.Tags {
	sorted := append(watcher.Tags{}, list...) // an empty list, not none
	slices.Sort(sorted)
	return sorted
}

func (s *Store) services(_ watcher.Query, opts *api.QueryOptions) (any, *api.QueryMeta, error) {
	byName, meta, err := s.client.Catalog().Services(opts)
	if err != nil {
		return nil, meta, err
	}
	list := make([]*watcher.CatalogService, 0, len(byName))
	for name, t := range byName {
		list = append(list, &watcher.CatalogService{Name: name, Tags: tags(t)})
	}
	slices.SortFunc(list, func(a, b *watcher.CatalogService) int { return strings.Compare(a.Name, b.Name) })
	return list, meta, nil
}

func (s *Store) nodes(q watcher.Query, opts *api.QueryOptions) (any, *api.QueryMeta, error) {
	found, meta, err := s.client.Catalog().Nodes(opts)
	if err = errors.Join(err, whole(found)); err != nil {
		return nil, meta, err
	}
	list := make([]*watcher.NodeInfo, 0, len(found))
	for _, n := range found {
		list = append(list, node(n))
	}
	if q.Options.Near == "" {
		slices.SortFunc(list, func(a, b *watcher.NodeInfo) int {
			return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.Address, b.Address))
		})
	}
	return list, meta, nil
}

func (s *Store) node(q watcher.Query, opts *api.QueryOptions) (any, *api.QueryMeta, error) {
	name := q.Path
	if name == "" {
		// Not Agent().NodeName(): it knows no token but the first, and asks once.
		var self struct{ Config struct{ NodeName string } }
		now := *opts
		now.WaitIndex = 0
		if _, err := s.client.Raw().Query("/v1/agent/self", &self, &now); err != nil {
			return nil, nil, err
		}
		name = self.Config.NodeName
	}
	found, meta, err := s.client.Catalog().Node(name, opts)
	if err != nil || found == nil || found.Node == nil {
		return nil, meta, err
	}
	detail := &watcher.NodeDetail{Node: node(found.Node), Services: make([]*watcher.NodeService, 0, len(found.Services))}
	for _, v := range found.Services {
		if v == nil {
			return nil, meta, errHole
		}
		detail.Services = append(detail.Services, &watcher.NodeService{
			ID: v.ID, Service: v.Service, Tags: tags(v.Tags), Meta: v.Meta, Port: v.Port,
			Address: v.Address, EnableTagOverride: v.EnableTagOverride,
		})
	}
	slices.SortFunc(detail.Services, func(a, b *watcher.NodeService) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.ID, b.ID))
	})
	return detail, meta, nil
}

func node(n *api.Node) *watcher.NodeInfo {
	return &watcher.NodeInfo{
		ID: n.ID, Node: n.Node, Address: n.Address, Datacenter: n.Datacenter,
		TaggedAddresses: n.TaggedAddresses, Meta: n.Meta,
	}
}
