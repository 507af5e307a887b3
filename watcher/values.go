package watcher

import (
	"slices"
	"strings"
	"time"
)

// The values of answers. Their fields carry the names that consul-template
// gives them, so that its templates find them here.

// Pair is a key and its value.
type Pair struct {
	Path        string // the whole key
	Key         string // the key below the queried prefix; the whole key for a single one
	Value       string
	CreateIndex uint64
	ModifyIndex uint64
	LockIndex   uint64
	Flags       uint64
	Session     string // the ID of the session that holds it, or ""
}

// Instance is one instance of a service.
type Instance struct {
	Node                   string
	NodeID                 string
	NodeAddress            string
	NodeDatacenter         string `json:"-"` // consul-template has no such field, and its JSON not either
	NodeTaggedAddresses    map[string]string
	NodeMeta               map[string]string
	ServiceMeta            map[string]string
	Address                string // the service's own address, else its node's
	ServiceTaggedAddresses map[string]ServiceAddress
	ID                     string
	Name                   string
	Tags                   Tags
	Checks                 Checks
	Status                 string // the worst of Checks
	Port                   int
	Weights                Weights
}

// ServiceAddress is one more address of a service.
type ServiceAddress struct {
	Address string
	Port    int
}

// Weights are an instance's weights in DNS answers.
type Weights struct{ Passing, Warning int }

// Tags are the sorted tags of a service.
type Tags []string

// Contains says whether tag is one of them.
func (t Tags) Contains(tag string) bool { return slices.Contains(t, tag) }

// Check is one health check of an instance or of its node.
type Check struct {
	Node        string
	CheckID     string
	Name        string
	Status      string
	Notes       string
	Output      string
	ServiceID   string
	ServiceName string
	ServiceTags []string
	Type        string // of the check: http, tcp, ttl and so on
	Namespace   string `json:",omitempty"`
	Partition   string `json:",omitempty"`
	ExposedPort int
	PeerName    string `json:",omitempty"`
	Definition  any    // how it is done, as the store has it
	CreateIndex uint64
	ModifyIndex uint64
}

// Checks are all checks of an instance.
type Checks []Check

// States of checks.
const (
	Passing     = "passing"
	Warning     = "warning"
	Critical    = "critical"
	Maintenance = "maintenance"
)

// AggregatedStatus is the worst state among the checks; without checks it is
// passing. A node or service in maintenance counts as the worst.
func (c Checks) AggregatedStatus() string {
	worst := 0
	names := [...]string{Passing, Warning, Critical, Maintenance}
	for _, check := range c {
		rank := 2 // a state that we don't know is not one to trust
		switch check.Status {
		case Passing:
			rank = 0
		case Warning:
			rank = 1
		}
		if check.CheckID == "_node_maintenance" || strings.HasPrefix(check.CheckID, "_service_maintenance:") {
			rank = 3
		}
		worst = max(worst, rank)
	}
	return names[worst]
}

// CatalogService is a service's name with all tags of its instances.
type CatalogService struct {
	Name string
	Tags Tags
}

// NodeInfo is a node of the catalog.
type NodeInfo struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	Meta            map[string]string
}

// NodeDetail is a node with the services on it.
type NodeDetail struct {
	Node     *NodeInfo
	Services []*NodeService
}

// NodeService is a service on one node.
type NodeService struct {
	ID                string
	Service           string
	Tags              Tags
	Meta              map[string]string
	Port              int
	Address           string
	EnableTagOverride bool
}

// Partition is an admin partition.
type Partition struct {
	Name        string
	Description string
}

// Peering is a connection to another Consul cluster.
type Peering struct {
	ID                  string
	Name                string
	Partition           string
	Meta                map[string]string
	PeeringState        string
	PeerID              string
	PeerServerName      string
	PeerServerAddresses []string
	StreamStatus        PeeringStream
	Remote              PeeringRemote
}

// PeeringStream is what goes over a peering.
type PeeringStream struct {
	ImportedServices []string
	ExportedServices []string
	LastHeartbeat    *time.Time
	LastReceive      *time.Time
	LastSend         *time.Time
}

// PeeringRemote is the other side of a peering.
type PeeringRemote struct {
	Partition  string
	Datacenter string
}

// ExportedService is a service that others may use.
type ExportedService struct {
	Service   string
	Partition string
	Namespace string
	Consumers Consumers
}

// ImportedService is a service that others export to us.
type ImportedService struct {
	Service         string
	Partition       string
	Namespace       string
	SourcePeer      string
	SourcePartition string
}

// Consumers are those who may use an exported service.
type Consumers struct {
	Peers      []string
	Partitions []string
}

// Root is a root certificate of Consul's mesh.
type Root struct {
	ID          string
	Name        string
	RootCertPEM string `json:"RootCert"`
	Active      bool
	CreateIndex uint64
	ModifyIndex uint64
}

// Leaf is a certificate of a service in Consul's mesh, with its key.
type Leaf struct {
	SerialNumber  string
	CertPEM       string `json:",omitempty"`
	PrivateKeyPEM string `json:",omitempty"`
	Service       string
	ServiceURI    string
	ValidAfter    time.Time
	ValidBefore   time.Time
	CreateIndex   uint64
	ModifyIndex   uint64
}
