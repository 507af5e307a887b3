package funcs

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// given are the types that templates get, and what docs/templates.md calls them.
var given = []struct {
	typ  reflect.Type
	name string
}{
	{reflect.TypeFor[cluster.Cluster](), "a cluster"},
	{reflect.TypeFor[cluster.Member](), "a member of a cluster"},
	{reflect.TypeFor[cluster.Failover](), "a failover"},
	{reflect.TypeFor[watcher.Pair](), "a key"},
	{reflect.TypeFor[watcher.Instance](), "an instance of a service"},
	{reflect.TypeFor[watcher.NodeInfo](), "a node"},
	{reflect.TypeFor[watcher.NodeDetail](), "a node with its services"},
	{reflect.TypeFor[watcher.NodeService](), "a service of a node"},
}

// Fields are the fields and methods of a type that templates get, as text/template names
// it; none if it is no such type.
func Fields(typ string) []string {
	for _, g := range given {
		pointer := reflect.PointerTo(g.typ)
		if typ != g.typ.String() && typ != pointer.String() {
			continue
		}
		var names []string
		for _, f := range reflect.VisibleFields(g.typ) {
			if f.IsExported() {
				names = append(names, f.Name)
			}
		}
		for i := range pointer.NumMethod() {
			names = append(names, pointer.Method(i).Name)
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	return nil
}

// TypeName is what a person calls a type that text/template names.
func TypeName(typ string) string {
	for _, g := range given {
		if typ == g.typ.String() || typ == reflect.PointerTo(g.typ).String() {
			return g.name
		}
	}
	return fmt.Sprintf("what is of the type %s", typ)
}
