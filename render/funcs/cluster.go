package funcs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"text/template"

	"github.com/spf13/cast"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

func clusters(w *World) template.FuncMap {
	return template.FuncMap{
		// cluster waits until a leader was confirmed: a config without one
		// would cut everybody off.
		"cluster": func(name string) (*cluster.Cluster, error) {
			if name == "" {
				return &cluster.Cluster{}, nil
			}
			q := watcher.Query{Store: watcher.Clusters, Kind: watcher.Cluster, Path: name}
			a, ok := w.answer(q)
			if !ok {
				return placeholder(name), nil
			}
			baton, isBaton := a.Value.(cluster.Baton)
			if !isBaton {
				return nil, fmt.Errorf("cluster %s: no cluster has that name", name)
			}
			if baton.Confirmed == nil {
				why := "no leader"
				if len(baton.Seen.Problems) > 0 {
					why += ": " + baton.Seen.Problems[0]
				} else if len(baton.Seen.Members) == 0 {
					why = fmt.Sprintf("no members and no leader below its scope %s", baton.Seen.Scope)
				}
				w.wait(q, why)
				return placeholder(name), nil
			}
			view := baton.View()
			return &view, nil
		},
		"readers": func(c *cluster.Cluster, policy ...map[string]any) ([]cluster.Reader, error) {
			if c == nil {
				return nil, hint.Wrap(errors.New("readers: there is no cluster"), `give it one: readers (cluster "main")`)
			}
			var r cluster.Rotation
			for _, p := range policy {
				if err := rotate(&r, p); err != nil {
					return nil, err
				}
			}
			return c.Readers(r), nil
		},
	}
}

// rotate reads a policy that a template gives.
func rotate(r *cluster.Rotation, policy map[string]any) error {
	words := map[string]*string{"zone": &r.Zone, "zone_tag": &r.ZoneTag, "weight_tag": &r.WeightTag}
	for _, name := range slices.Sorted(maps.Keys(policy)) {
		value := policy[name]
		switch {
		case words[name] != nil:
			*words[name] = fmt.Sprint(value)
		case name == "floor":
			n, err := cast.ToIntE(value)
			if err != nil || n < 0 {
				return hint.Wrap(fmt.Errorf("readers: floor %v is no number of replicas", value), "0 is none")
			}
			r.Floor = n
		case name == "near":
			hosts, err := cast.ToStringSliceE(value)
			if err != nil {
				return hint.Wrap(fmt.Errorf("readers: near is %s", shape(value)), "give a list of hosts, the nearest first")
			}
			r.Near = hosts
		default:
			return hint.Wrap(fmt.Errorf("readers: there is no %q", name), "known are floor, near, weight_tag, zone, zone_tag")
		}
	}
	return nil
}

// placeholder lets a template run on to find what else it asks for. Its result
// is thrown away.
func placeholder(name string) *cluster.Cluster {
	return &cluster.Cluster{Name: name, Phase: cluster.Starting, Leader: &cluster.Member{}}
}
