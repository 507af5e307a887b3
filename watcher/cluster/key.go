package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
)

// Key is the settings of a plain key that names the leader.
type Key struct {
	Path         string `hcl:"path"`                                                 // of the key, as the store has it
	Port         int    `hcl:"port,optional" default:"5432"`                         // of a leader whose text has none; 0 is 5432
	Service      string `hcl:"service,optional" default:"none"`                      // whose instances the members are; "" is none
	CatalogStore string `hcl:"catalog_store,optional" default:"store"`               // that has the service; "" is the cluster's own
	Datacenter   string `hcl:"datacenter,optional" default:"the store's, in Consul"` // "" is the store's own
}

// Source implements Settings. The key is read as it is written: nothing is put before it.
func (k *Key) Source(at Place) (Source, error) {
	s := keySource{scope: k.Path, port: cmp.Or(k.Port, 5432), service: k.Service != ""}
	if strings.Trim(k.Path, "/ ") == "" || strings.HasSuffix(k.Path, "/") {
		return nil, hint.Wrap(fmt.Errorf("cluster %s: path %q is no key", at.Name, k.Path), `write the whole key, as path = "service/pg/leader"`)
	}
	if s.port < 1 || s.port > 65535 {
		return nil, hint.Wrap(fmt.Errorf("cluster %s: port %d is no port", at.Name, k.Port), "a number from 1 to 65535")
	}
	if k.Service == "" && k.CatalogStore != "" {
		return nil, hint.Wrap(fmt.Errorf("cluster %s: catalog_store is set, and service is not", at.Name), "name the service, or leave catalog_store out")
	}
	catalog, err := at.other("catalog_store", k.CatalogStore)
	if err != nil {
		return nil, err
	}
	options := watcher.Options{Datacenter: k.Datacenter}
	s.key = watcher.Query{Store: at.Store, Kind: watcher.Key, Path: k.Path, Options: options}
	// A check that fails must not hide a leader that the key names.
	options.Status = "any"
	s.catalog = watcher.Query{Store: catalog, Kind: watcher.Service, Path: k.Service, Options: options}
	return s, nil
}

// Ways implements Settings.
func (k *Key) Ways() (all, usual []Way) { return []Way{WaySQL}, nil }

type keySource struct {
	scope   string
	port    int
	key     watcher.Query
	service bool // there is a catalog to look into
	catalog watcher.Query
}

func (s keySource) Scope() string { return s.scope }

func (s keySource) Queries(watcher.Snapshot) []watcher.Query {
	if s.service {
		return []watcher.Query{s.key, s.catalog}
	}
	return []watcher.Query{s.key}
}

func (s keySource) Decode(before Cluster, known watcher.Snapshot) Cluster {
	c := Cluster{Scope: s.scope, Phase: Starting}
	instances, _ := known[s.catalog].Value.([]*watcher.Instance)
	var at []*watcher.Instance // of c.Members
	for _, i := range instances {
		if m, err := instanceMember(i, instances, s.port); err != nil {
			c.Problems = append(c.Problems, fmt.Sprintf("service %s: instance %s of node %s: %v", s.catalog.Path, i.ID, i.Node, err))
		} else {
			c.Members, at = append(c.Members, m), append(at, i)
		}
	}
	pair, is := known[s.key].Value.(watcher.Pair)
	var leader *Member
	if is {
		named, err := parseLeader(pair.Value, s.service)
		if err == nil {
			leader, err = s.find(named, c.Members, at)
		}
		if err != nil {
			c.Problems = append(c.Problems, s.key.Path+": "+err.Error())
			c.Key = LeaderKey{Name: named.String(), Session: pair.Session, Created: pair.ModifyIndex}
			if pair.ModifyIndex != 0 && before.Key.Created == pair.ModifyIndex {
				c.Key.Name = before.Key.Name // it is not the key that has changed
			}
		}
	}
	if leader != nil {
		if m := c.Member(leader.Name); m != nil {
			*m = *leader
		} else {
			c.Members = append(c.Members, *leader)
		}
		c.Key = LeaderKey{Name: leader.Name, Session: pair.Session, Created: pair.ModifyIndex}
		if before.Key.Name == c.Key.Name && before.Key.Session == c.Key.Session {
			c.Key.Created = before.Key.Created // it was written again, and says the same
		}
	}
	slices.SortFunc(c.Members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	c.arrange(leader, nil)
	c.Problems = slices.Compact(slices.Sorted(slices.Values(c.Problems)))
	return c
}

// find makes a member of whom the key names: an instance of the service, if it is one.
func (s keySource) find(named namedLeader, members []Member, at []*watcher.Instance) (*Member, error) {
	port := cmp.Or(named.port, s.port)
	looks := []func(Member, *watcher.Instance) bool{
		func(m Member, _ *watcher.Instance) bool { return m.Host == named.host && m.Port == port },
		func(m Member, i *watcher.Instance) bool {
			return named.port == 0 && (m.Host == named.host || i.NodeAddress == named.host)
		},
	}
	if !named.address {
		looks = append([]func(Member, *watcher.Instance) bool{
			func(_ Member, i *watcher.Instance) bool { return i.Node == named.name },
			func(_ Member, i *watcher.Instance) bool { return i.ID == named.name },
		}, looks...)
		looks = append(looks, func(_ Member, i *watcher.Instance) bool { return i.Name == named.name })
	}
	for _, is := range looks {
		var found []Member
		for i := range members {
			if is(members[i], at[i]) {
				found = append(found, members[i])
			}
		}
		if len(found) > 1 {
			return nil, fmt.Errorf("it names %s, which %d instances of service %s are", named, len(found), s.catalog.Path)
		}
		if len(found) == 1 {
			m := found[0]
			m.Role = "primary"
			return &m, nil
		}
	}
	switch {
	case s.service && !named.address:
		return nil, fmt.Errorf("it names %s, which no instance of service %s is", named, s.catalog.Path)
	case named.host == "":
		return nil, errors.New("it has a name and no address: set service, to look it up in the catalog")
	}
	m := Member{Role: "primary", State: "running"}
	endpoints := slices.Clone(named.endpoints)
	for i := range endpoints {
		endpoints[i].Port = cmp.Or(endpoints[i].Port, s.port)
	}
	m.setEndpoints(endpoints)
	if m.Name = named.name; m.Name == "" {
		if m.Name = m.Host; m.Port != s.port {
			m.Name = m.Address()
		}
	}
	return &m, nil
}

// instanceMember makes a member of an instance. Its name is its node's, as far as that
// tells it from the others.
func instanceMember(i *watcher.Instance, all []*watcher.Instance, port int) (Member, error) {
	m := Member{Name: cmp.Or(i.Node, i.ID), Role: "replica", State: i.Status}
	if i.Status == watcher.Passing {
		m.State = "running"
	}
	if slices.ContainsFunc(all, func(other *watcher.Instance) bool { return other != i && other.Node == i.Node }) {
		m.Name = i.ID
		if slices.ContainsFunc(all, func(other *watcher.Instance) bool { return other != i && other.ID == i.ID }) {
			m.Name = i.Node + "/" + i.ID
		}
	}
	if len(m.Name) > maxName {
		return m, fmt.Errorf("its name is longer than %d bytes", maxName)
	}
	e, err := parseHostPort(net.JoinHostPort(i.Address, strconv.Itoa(cmp.Or(i.Port, port))))
	if err != nil {
		return m, err
	}
	m.setEndpoints([]Endpoint{e})
	for name, value := range i.ServiceMeta {
		m.tag(name, value)
	}
	for _, name := range i.Tags {
		m.tag(name, true)
	}
	return m, nil
}

func (m *Member) tag(name string, value any) {
	if m.Tags == nil {
		m.Tags = map[string]any{}
	}
	m.Tags[name] = value
}
