package funcs

import (
	"fmt"
	"slices"
	"strings"
	"text/template"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
)

var states = []string{"any", watcher.Passing, watcher.Warning, watcher.Critical, watcher.Maintenance}

func catalog(w *World) template.FuncMap {
	return template.FuncMap{
		"service": func(text ...string) ([]*watcher.Instance, error) { return w.service("service", watcher.Service, text) },
		"connect": func(text ...string) ([]*watcher.Instance, error) { return w.service("connect", watcher.Connect, text) },
		"services": func(text ...string) ([]*watcher.CatalogService, error) {
			return list[*watcher.CatalogService](w, "services", watcher.Services, grammars.services, text)
		},
		"nodes": func(text ...string) ([]*watcher.NodeInfo, error) {
			return list[*watcher.NodeInfo](w, "nodes", watcher.Nodes, grammars.nodes, text)
		},
		// node gives an empty detail for a node that does not exist.
		"node": func(text ...string) (*watcher.NodeDetail, error) {
			arg, err := grammars.node.parse("node", strings.Join(text, ""))
			if err != nil {
				return nil, err
			}
			a, ok := w.answer(watcher.Query{Store: arg.store, Kind: watcher.Node, Path: arg.name, Options: arg.options})
			detail, there := a.Value.(*watcher.NodeDetail)
			if ok && !there {
				detail = &watcher.NodeDetail{}
			}
			return detail, nil
		},
		// datacenters takes whether those that can't be reached are left out: they
		// are, for they are unknown.
		"datacenters": func(ignore ...bool) ([]string, error) {
			if len(ignore) > 1 {
				return nil, fmt.Errorf("datacenters: one argument at most, have %d", len(ignore))
			}
			return ask[[]string](w, watcher.Query{Kind: watcher.Datacenters}), nil
		},
		"peerings": func(text ...string) ([]*watcher.Peering, error) {
			return list[*watcher.Peering](w, "peerings", watcher.Peerings, grammars.peerings, text)
		},
		"partitions": func() []*watcher.Partition {
			return ask[[]*watcher.Partition](w, watcher.Query{Kind: watcher.Partitions})
		},
		"exportedServices": func(partition ...string) ([]watcher.ExportedService, error) {
			return ofPartition[watcher.ExportedService](w, "exportedServices", watcher.Exported, partition)
		},
		"importedServices": func(partition ...string) ([]watcher.ImportedService, error) {
			return ofPartition[watcher.ImportedService](w, "importedServices", watcher.Imported, partition)
		},
		"caRoots": func(...string) []*watcher.Root { return ask[[]*watcher.Root](w, watcher.Query{Kind: watcher.CARoots}) },
		"caLeaf": func(service ...string) (any, error) {
			if len(service) == 0 || service[0] == "" {
				return nil, nil
			}
			return ask[*watcher.Leaf](w, watcher.Query{Kind: watcher.CALeaf, Path: service[0]}), nil
		},
	}
}

// ofPartition looks up what a partition has; without one it is the agent's own.
func ofPartition[T any](w *World, fn string, kind watcher.Kind, partition []string) ([]T, error) {
	if len(partition) > 1 {
		return nil, fmt.Errorf("%s: one partition at most, have %d", fn, len(partition))
	}
	return ask[[]T](w, watcher.Query{Kind: kind, Options: watcher.Options{Partition: strings.Join(partition, "")}}), nil
}

// list looks up what has no name of its own.
func list[T any](w *World, fn string, kind watcher.Kind, g grammar, text []string) ([]T, error) {
	arg, err := g.parse(fn, strings.Join(text, ""))
	if err != nil {
		return nil, err
	}
	return ask[[]T](w, watcher.Query{Store: arg.store, Kind: kind, Options: arg.options}), nil
}

// ask looks something up; what is not known yet is the zero T.
func ask[T any](w *World, q watcher.Query) T {
	a, _ := w.answer(q)
	found, _ := a.Value.(T)
	return found
}

// service lists a service's instances: the passing ones, unless states follow
// the name. It waits while there are fewer than the service's minimum.
func (w *World) service(fn string, kind watcher.Kind, text []string) ([]*watcher.Instance, error) {
	if len(text) == 0 || text[0] == "" {
		return []*watcher.Instance{}, nil
	}
	arg, err := grammars.service.parse(fn, strings.Join(text, "|"))
	if err != nil {
		return nil, err
	}
	name := arg.name
	if arg.options.Status, err = statuses(arg.options.Status); err != nil {
		return nil, err
	}
	q := watcher.Query{Store: arg.store, Kind: kind, Path: name, Options: arg.options}
	a, ok := w.answer(q)
	list, _ := a.Value.([]*watcher.Instance)
	if ok && w.Minimum != nil {
		if least := w.Minimum(name); len(list) < least {
			w.wait(q, fmt.Sprintf("%d instances, the minimum is %d", len(list), least))
		}
	}
	return list, nil
}

// statuses sorts a list of states, so that equal lists share a watch.
func statuses(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	var list []string
	for _, s := range strings.Split(text, ",") {
		s = strings.TrimSpace(s)
		if s == "" {
			continue
		}
		if !slices.Contains(states, s) {
			return "", hint.Wrap(fmt.Errorf("service: there is no check state %q", s), "the states are %s", strings.Join(states, ", "))
		}
		list = append(list, s)
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ","), nil
}
