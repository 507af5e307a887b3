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
		"service": w.service,
		"services": func(text ...string) ([]*watcher.CatalogService, error) {
			arg, err := parse("services", strings.Join(text, ""), "?@")
			if err != nil {
				return nil, err
			}
			a, _ := w.answer(watcher.Query{Kind: watcher.Services, Options: arg.options})
			list, _ := a.Value.([]*watcher.CatalogService)
			return list, nil
		},
		"nodes": func(text ...string) ([]*watcher.NodeInfo, error) {
			arg, err := parse("nodes", strings.Join(text, ""), "?@~")
			if err != nil {
				return nil, err
			}
			a, _ := w.answer(watcher.Query{Kind: watcher.Nodes, Options: arg.options})
			list, _ := a.Value.([]*watcher.NodeInfo)
			return list, nil
		},
		"node": func(text ...string) (*watcher.NodeDetail, error) {
			arg, err := parse("node", strings.Join(text, ""), "?@")
			if err != nil {
				return nil, err
			}
			a, _ := w.answer(watcher.Query{Kind: watcher.Node, Path: arg.name, Options: arg.options})
			detail, _ := a.Value.(*watcher.NodeDetail) // nil for a node that does not exist
			return detail, nil
		},
		"datacenters": func(...bool) []string {
			a, _ := w.answer(watcher.Query{Kind: watcher.Datacenters})
			list, _ := a.Value.([]string)
			return list
		},
	}
}

// service lists a service's instances: the passing ones, unless states follow
// the name. It waits while there are fewer than the service's minimum.
func (w *World) service(text ...string) ([]*watcher.Instance, error) {
	if len(text) == 0 || text[0] == "" {
		return []*watcher.Instance{}, nil
	}
	arg, err := parse("service", strings.Join(text, "|"), marks)
	if err != nil {
		return nil, err
	}
	name := arg.name
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		arg.options.Tag, name = name[:dot], name[dot+1:]
	}
	if arg.options.Status, err = statuses(arg.options.Status); err != nil {
		return nil, err
	}
	q := watcher.Query{Kind: watcher.Service, Path: name, Options: arg.options}
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
		if !slices.Contains(states, s) {
			return "", hint.Wrap(fmt.Errorf("service: there is no check state %q", s), "the states are %s", strings.Join(states, ", "))
		}
		list = append(list, s)
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ","), nil
}
