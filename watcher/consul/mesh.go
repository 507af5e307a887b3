package consul

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/watcher"
)

func (s *Store) partitions(_ watcher.Query, opts *api.QueryOptions) (any, *api.QueryMeta, error) {
	if err := unhurried(opts); err != nil {
		return nil, nil, err
	}
	found, _, err := s.client.Partitions().List(opts.Context(), opts)
	if err = errors.Join(err, whole(found)); err != nil {
		return nil, nil, err
	}
	list := make([]*watcher.Partition, 0, len(found))
	for _, p := range found {
		list = append(list, &watcher.Partition{Name: p.Name, Description: p.Description})
	}
	slices.SortFunc(list, func(a, b *watcher.Partition) int { return strings.Compare(a.Name, b.Name) })
	return list, nil, nil
}

func (s *Store) peerings(_ watcher.Query, opts *api.QueryOptions) (any, *api.QueryMeta, error) {
	found, meta, err := s.client.Peerings().List(opts.Context(), opts)
	if err = errors.Join(err, whole(found)); err != nil {
		return nil, meta, err
	}
	list := make([]*watcher.Peering, 0, len(found))
	for _, p := range found {
		list = append(list, &watcher.Peering{
			ID: p.ID, Name: p.Name, Partition: p.Partition, Meta: p.Meta, PeeringState: string(p.State),
			PeerID: p.PeerID, PeerServerName: p.PeerServerName, PeerServerAddresses: p.PeerServerAddresses,
			StreamStatus: watcher.PeeringStream{
				ImportedServices: p.StreamStatus.ImportedServices, ExportedServices: p.StreamStatus.ExportedServices,
				LastHeartbeat: p.StreamStatus.LastHeartbeat, LastReceive: p.StreamStatus.LastReceive, LastSend: p.StreamStatus.LastSend,
			},
			Remote: watcher.PeeringRemote{Partition: p.Remote.Partition, Datacenter: p.Remote.Datacenter},
		})
	}
	slices.SortStableFunc(list, func(a, b *watcher.Peering) int {
		return cmp.Or(strings.Compare(a.PeeringState, b.PeeringState), strings.Compare(a.Partition, b.Partition), strings.Compare(a.Name, b.Name))
	})
	return list, meta, nil
}

func (s *Store) exported(_ watcher.Query, opts *api.QueryOptions) (any, *api.QueryMeta, error) {
	found, meta, err := s.client.ExportedServices(opts)
	if err != nil {
		return nil, meta, err
	}
	list := make([]watcher.ExportedService, 0, len(found))
	for _, e := range found {
		list = append(list, watcher.ExportedService{Service: e.Service, Consumers: watcher.Consumers{
			Peers: append([]string{}, e.Consumers.Peers...), Partitions: append([]string{}, e.Consumers.Partitions...),
		}})
	}
	slices.SortStableFunc(list, func(a, b watcher.ExportedService) int { return strings.Compare(a.Service, b.Service) })
	return list, meta, nil
}

func (s *Store) imported(_ watcher.Query, opts *api.QueryOptions) (any, *api.QueryMeta, error) {
	found, meta, err := s.client.ImportedServices(opts)
	if err != nil {
		return nil, meta, err
	}
	list := make([]watcher.ImportedService, 0, len(found))
	for _, i := range found {
		list = append(list, watcher.ImportedService(i))
	}
	slices.SortStableFunc(list, func(a, b watcher.ImportedService) int { return strings.Compare(a.Service, b.Service) })
	return list, meta, nil
}

func (s *Store) caRoots(_ watcher.Query, opts *api.QueryOptions) (any, *api.QueryMeta, error) {
	found, meta, err := s.client.Agent().ConnectCARoots(opts)
	if err == nil {
		err = whole(found.Roots)
	}
	if err != nil {
		return nil, meta, err
	}
	list := make([]*watcher.Root, 0, len(found.Roots))
	for _, r := range found.Roots {
		list = append(list, &watcher.Root{
			ID: r.ID, Name: r.Name, RootCertPEM: r.RootCertPEM, Active: r.Active, CreateIndex: r.CreateIndex, ModifyIndex: r.ModifyIndex,
		})
	}
	return list, meta, nil
}

func (s *Store) caLeaf(q watcher.Query, opts *api.QueryOptions) (any, *api.QueryMeta, error) {
	l, meta, err := s.client.Agent().ConnectCALeaf(q.Path, opts)
	if err != nil {
		return nil, meta, err
	}
	return &watcher.Leaf{
		SerialNumber: l.SerialNumber, CertPEM: l.CertPEM, PrivateKeyPEM: l.PrivateKeyPEM, Service: l.Service, ServiceURI: l.ServiceURI,
		ValidAfter: l.ValidAfter, ValidBefore: l.ValidBefore, CreateIndex: l.CreateIndex, ModifyIndex: l.ModifyIndex,
	}, meta, nil
}

// unhurried is for endpoints that do not block: they are asked again after a
// while.
func unhurried(opts *api.QueryOptions) error {
	if opts.WaitIndex == 0 {
		return nil
	}
	return pause(opts.Context(), unblockedEvery)
}

const unblockedEvery = 15 * time.Second

func pause(ctx context.Context, long time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(long):
		return nil
	}
}
