package file

import (
	"encoding/json"
	"fmt"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
)

// Mesh is what a state file says of Consul's mesh and of what few clusters have.
// Values have the fields that templates see, whatever their case.
type Mesh struct {
	Connect    map[string][]Instance `yaml:"connect,omitempty" json:"connect,omitempty"`
	Partitions []any                 `yaml:"partitions,omitempty" json:"partitions,omitempty"`
	Peerings   []any                 `yaml:"peerings,omitempty" json:"peerings,omitempty"`
	Exported   []any                 `yaml:"exported_services,omitempty" json:"exported_services,omitempty"`
	Imported   []any                 `yaml:"imported_services,omitempty" json:"imported_services,omitempty"`
	CARoots    []any                 `yaml:"ca_roots,omitempty" json:"ca_roots,omitempty"`
	CALeaf     map[string]any        `yaml:"ca_leaf,omitempty" json:"ca_leaf,omitempty"` // by service
}

// mesh answers queries of the mesh. A state file that says nothing of it knows
// nothing of it.
func (c *Catalog) mesh(q watcher.Query) (any, error) {
	if c.Mesh == nil {
		return nil, hint.Wrap(fmt.Errorf("the state file says nothing of %s", q), "add mesh to it; mesh: {} is one with nothing in it")
	}
	switch q.Kind {
	case watcher.Connect:
		return instances(c.Mesh.Connect, q), nil
	case watcher.Partitions:
		return shaped[[]*watcher.Partition](c.Mesh.Partitions)
	case watcher.Peerings:
		return shaped[[]*watcher.Peering](c.Mesh.Peerings)
	case watcher.Exported:
		return shaped[[]watcher.ExportedService](c.Mesh.Exported)
	case watcher.Imported:
		return shaped[[]watcher.ImportedService](c.Mesh.Imported)
	case watcher.CARoots:
		return shaped[[]*watcher.Root](c.Mesh.CARoots)
	case watcher.CALeaf:
		leaf, there := c.Mesh.CALeaf[q.Path]
		if !there {
			return nil, fmt.Errorf("the state file has no certificate of %s", q.Path)
		}
		return shaped[*watcher.Leaf](leaf)
	}
	return nil, fmt.Errorf("a state file has no %s queries", q.Kind)
}

// addMesh puts an answer of the mesh into the catalog.
func (c *Catalog) addMesh(q watcher.Query, value any) {
	if c.Mesh == nil {
		c.Mesh = &Mesh{}
	}
	m := c.Mesh
	switch v := value.(type) {
	case []*watcher.Instance:
		if m.Connect == nil {
			m.Connect = map[string][]Instance{}
		}
		m.Connect[q.Path] = nil
		for _, i := range v {
			m.Connect[q.Path] = append(m.Connect[q.Path], fromInstance(i))
		}
	case []*watcher.Partition:
		m.Partitions, _ = shaped[[]any](v)
	case []*watcher.Peering:
		m.Peerings, _ = shaped[[]any](v)
	case []watcher.ExportedService:
		m.Exported, _ = shaped[[]any](v)
	case []watcher.ImportedService:
		m.Imported, _ = shaped[[]any](v)
	case []*watcher.Root:
		m.CARoots, _ = shaped[[]any](v)
	case *watcher.Leaf:
		if m.CALeaf == nil {
			m.CALeaf = map[string]any{}
		}
		m.CALeaf[q.Path], _ = shaped[any](v)
	}
}

// shaped turns a value into another type of the same shape, by way of JSON.
func shaped[T any](value any) (out T, err error) {
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		err = fmt.Errorf("read mesh of the state file: %w", err)
	}
	return out, err
}
