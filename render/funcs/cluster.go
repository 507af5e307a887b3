package funcs

import (
	"fmt"
	"text/template"

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
	}
}

// placeholder lets a template run on to find what else it asks for. Its result
// is thrown away.
func placeholder(name string) *cluster.Cluster {
	return &cluster.Cluster{Name: name, Phase: cluster.Starting, Leader: &cluster.Member{}}
}
