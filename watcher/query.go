package watcher

import (
	"context"
	"strings"
	"time"
)

// Kind says what a query asks for, and with it the type of its answer's value.
type Kind string

// The kinds and the types of their values.
const (
	Key         Kind = "key"         // Pair
	Prefix      Kind = "prefix"      // []Pair, sorted by path
	Service     Kind = "service"     // []*Instance, sorted by node, then ID
	Services    Kind = "services"    // []*CatalogService, sorted by name
	Node        Kind = "node"        // *NodeDetail
	Nodes       Kind = "nodes"       // []*NodeInfo, sorted by name
	Datacenters Kind = "datacenters" // []string, sorted
	Connect     Kind = "connect"     // []*Instance that speak Consul's mesh for a service, sorted likewise
	Partitions  Kind = "partitions"  // []*Partition, sorted by name
	Peerings    Kind = "peerings"    // []*Peering, sorted by state, partition, name
	Exported    Kind = "exported"    // []ExportedService, sorted by name
	Imported    Kind = "imported"    // []ImportedService, sorted by name
	CARoots     Kind = "ca roots"    // []*Root, as Consul has them
	CALeaf      Kind = "ca leaf"     // *Leaf
	File        Kind = "file"        // string, the file's content
	Stat        Kind = "stat"        // string, another one whenever a file's content, mode or owner is
	Cluster     Kind = "cluster"     // cluster.Baton
)

// Names of the stores that every pgbaton has. The store of the catalog and of
// keys is the one without a name.
const (
	Catalog  = ""        // Consul, or the state file
	Local    = "local"   // this machine's files
	Clusters = "cluster" // decoded clusters
)

// Query names one thing in one store. It is comparable: equal queries share a
// watch.
type Query struct {
	Store   string // its name in the config
	Kind    Kind
	Path    string // key, prefix, or the name of a service, node, file, cluster
	Options Options
}

// Options narrow a query. Zero fields leave it as wide as it is.
type Options struct {
	Datacenter string
	Namespace  string
	Partition  string
	Peer       string // services only: as imported from this peer
	Sameness   string // services only: of this sameness group
	Tag        string // services only: instances with this tag
	Near       string // services and nodes: order by round trip from this node
	Filter     string // an expression for the store to filter by
	Status     string // services only: comma-separated check states, "" is passing
	Within     string // files only: the folder that the path must not lead out of, by no link; "" is none
}

// String is for people: logs, status, waiting messages.
func (q Query) String() string {
	var b strings.Builder
	if q.Store != Catalog && q.Store != Local && q.Store != Clusters {
		b.WriteString(q.Store + " ")
	}
	b.WriteString(string(q.Kind))
	if q.Path != "" {
		b.WriteString(" " + q.Path)
	}
	for _, o := range []struct{ name, value string }{
		{"dc", q.Options.Datacenter},
		{"ns", q.Options.Namespace},
		{"partition", q.Options.Partition},
		{"peer", q.Options.Peer},
		{"sameness-group", q.Options.Sameness},
		{"tag", q.Options.Tag},
		{"near", q.Options.Near},
		{"filter", q.Options.Filter},
		{"status", q.Options.Status},
		{"within", q.Options.Within},
	} {
		if o.value != "" {
			b.WriteString(" " + o.name + "=" + o.value)
		}
	}
	return b.String()
}

// Presence tells what is known of a query's subject.
type Presence uint8

// The three presences. Something empty is Present.
const (
	Unknown Presence = iota // no store has answered yet
	Absent                  // the store answered that there is no such thing
	Present
)

func (p Presence) String() string { return [...]string{"unknown", "absent", "present"}[p] }

// Answer is what is known of a query's subject. A store fills Presence, Value,
// Rev and Partial; the watcher the rest.
type Answer struct {
	Presence Presence
	Value    any    // nil unless Present; its type follows from the query's Kind
	Rev      uint64 // the store's revision; equal means unchanged, no more
	Partial  bool   // the store withheld something that its reader may not see

	Change uint64    // rises whenever Presence or Value changes; the order of changes in this watcher
	Since  time.Time // when Presence or Value last changed
	Fresh  time.Time // when the store last confirmed it
	Err    error     // why the store can't confirm it now; nil if it can
}

// Store is a place that answers queries.
type Store interface {
	// Fetch returns the answer to q: at once if after is 0, else when its
	// revision differs from after, or when the store's patience for one
	// request ends. It gives up when ctx ends. A thing that does not exist is
	// an answer (Absent), never an error; anything that can't be known is an
	// error, never an answer. A store that derives its answers from another one
	// gives what it knows while that one is away, with Err and Fresh set.
	Fetch(ctx context.Context, q Query, after uint64) (Answer, error)
}

// Snapshot holds the answers to some queries as they stood at one moment. It
// is never changed once it is handed out.
type Snapshot map[Query]Answer
