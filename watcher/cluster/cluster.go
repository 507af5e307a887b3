// Package cluster says who leads a PostgreSQL cluster.
//
// It is pure: decoders turn what a store holds into a Cluster, and Next turns
// a sequence of Clusters into a Baton, which says whose turn it is to take the
// writes. Nothing here reads a clock, a store or a server.
package cluster

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// Cluster is a cluster as its store describes it at one moment.
type Cluster struct {
	Name     string // of its config block
	Scope    string
	System   string // PostgreSQL's system identifier; "" while bootstrapping
	Phase    Phase
	Timeline uint64 // the leader's; 0 if unknown

	Leader        *Member  // who takes writes; nil in a standby cluster or without one
	StandbyLeader *Member  // who leads a standby cluster; nil in any other
	Members       []Member // everyone, sorted by name
	Replicas      []Member // those that can serve reads, the leader left out
	SyncStandbys  []Member // those of Replicas that replicate synchronously

	Key      LeaderKey
	Paused   bool      // Patroni's maintenance mode: Postgres runs on without a leader key
	Failsafe bool      // Patroni's failsafe mode is configured
	Standby  bool      // the whole cluster follows another one
	Fenced   bool      // the store wants nobody to be led to a leader, whatever that says of itself
	Failover *Failover // nil if none was asked for

	TTL          time.Duration // of the leader key; 0 if unknown
	LoopWait     time.Duration
	RetryTimeout time.Duration

	Problems []string // what could not be read, each naming its key
}

// LeaderKey is the key that its holder leads by.
type LeaderKey struct {
	Name    string // of the member; "" if nobody holds it
	Session string
	Created uint64 // rises with each new key within one store
}

// Failover is a switchover or failover that an operator asked for.
type Failover struct {
	Leader      string    // who shall step down; "" is whoever leads
	Member      string    // who shall follow; "" is left to the cluster
	ScheduledAt time.Time // zero is now
}

// Due says whether it is to happen at now, or within lead of it.
func (f *Failover) Due(now time.Time, lead time.Duration) bool {
	return f != nil && !f.ScheduledAt.After(now.Add(lead))
}

// Member is one server of a cluster.
type Member struct {
	Name             string
	Host             string     // the first of Endpoints
	Port             int        // the first of Endpoints
	Endpoints        []Endpoint // all that its connection URL names
	API              string     // URL of its REST server
	Proxy            *Endpoint  // the pooler in front of it, if it names one
	Role             string     // primary, replica, standby_leader, promoted, demoted, …; "master" reads as primary
	State            string     // running, streaming, starting, stopped, …
	Version          string
	Timeline         uint64
	ReplicationState string
	Sync             bool // a synchronous standby
	Paused           bool
	PendingRestart   bool
	Tags             map[string]any

	Healthy bool    // every probe of it passes; true if there is none
	Checks  []Check // what each came to

	// Heartbeats move these; they are no change.
	LSN        uint64 // bytes: what it wrote, or replayed
	Received   uint64 // bytes; 0 if unknown
	Lag        uint64 // bytes behind the leader
	LagKnown   bool
	Delay      time.Duration // it shows all that was committed longer ago than this
	DelayKnown bool          // a lag probe has told it
}

// Check is what the probe of a name came to; nil if there is none of that name.
func (m Member) Check(name string) *Check {
	for i := range m.Checks {
		if m.Checks[i].Name == name {
			return &m.Checks[i]
		}
	}
	return nil
}

// Address is the member's host:port, an IPv6 host in brackets.
func (m Member) Address() string { return Endpoint{m.Host, m.Port}.String() }

// APIHost is the host of the member's REST server.
func (m Member) APIHost() string { return apiEndpoint(m.API).Host }

// APIPort is the port of the member's REST server; 0 if it named none.
func (m Member) APIPort() int { return apiEndpoint(m.API).Port }

// Tag says whether a boolean tag is set, such as nofailover.
func (m Member) Tag(name string) bool {
	switch v := m.Tags[name].(type) {
	case bool:
		return v
	case string:
		b, _ := strconv.ParseBool(v)
		return b
	}
	return false
}

// NoLoadBalance says whether reads shall stay away from it.
func (m Member) NoLoadBalance() bool { return m.Tag("noloadbalance") }

// Running says whether it takes connections.
func (m Member) Running() bool {
	return slices.Contains([]string{"running", "streaming", "in archive recovery"}, m.State)
}

// Member finds a member by name.
func (c *Cluster) Member(name string) *Member {
	for i := range c.Members {
		if c.Members[i].Name == name {
			return &c.Members[i]
		}
	}
	return nil
}

// same leaves out what heartbeats move.
func (m Member) same(o Member) bool {
	if !(Health{Checks: m.Checks}).same(Health{Checks: o.Checks}) {
		return false
	}
	m.LSN, m.Received, m.Lag, m.LagKnown = o.LSN, o.Received, o.Lag, o.LagKnown
	m.Delay, m.DelayKnown, m.Checks = o.Delay, o.DelayKnown, o.Checks
	return reflect.DeepEqual(m, o)
}

func sameMember(a, b *Member) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.same(*b)
}

// Same says whether two descriptions differ in no more than heartbeats.
func (c *Cluster) Same(o *Cluster) bool {
	if c == nil || o == nil {
		return c == o
	}
	a, b := *c, *o
	equal := sameMember(a.Leader, b.Leader) && sameMember(a.StandbyLeader, b.StandbyLeader) &&
		slices.EqualFunc(a.Members, b.Members, Member.same) &&
		slices.EqualFunc(a.Replicas, b.Replicas, Member.same) &&
		slices.EqualFunc(a.SyncStandbys, b.SyncStandbys, Member.same)
	if !equal {
		return false
	}
	a.Leader, a.StandbyLeader, a.Members, a.Replicas, a.SyncStandbys = nil, nil, nil, nil, nil
	b.Leader, b.StandbyLeader, b.Members, b.Replicas, b.SyncStandbys = nil, nil, nil, nil, nil
	return reflect.DeepEqual(a, b)
}

// arrange derives everything that follows from Members and from who leads:
// the replicas, the synchronous ones, the lag of each. What probes tell of a member
// counts more than its key.
func (c *Cluster) arrange(leader *Member, health map[string]Health) {
	c.Leader, c.StandbyLeader = nil, nil
	c.Replicas, c.SyncStandbys = nil, nil
	if leader != nil {
		own := *leader
		leader = &own
		own.Healthy, own.Checks = health[own.Name].Healthy(), health[own.Name].Checks
		if c.Standby {
			c.StandbyLeader = leader
		} else {
			c.Leader = leader
		}
		c.Timeline = cmp.Or(leader.Timeline, c.Timeline)
	}
	c.Members = slices.Clone(c.Members)
	for i := range c.Members {
		m := &c.Members[i]
		m.Lag, m.LagKnown = 0, leader != nil && leader.LSN > 0 && m.LSN > 0
		if m.LagKnown && leader.LSN > m.LSN {
			m.Lag = leader.LSN - m.LSN
		}
		h := health[m.Name]
		m.Healthy, m.Checks = h.Healthy(), h.Checks
		if m.Delay, m.DelayKnown = h.Behind.Delay, h.Behind.Timed; h.Behind.Known {
			m.Lag, m.LagKnown = h.Behind.Bytes, true
		}
		if leader != nil && m.Name == leader.Name {
			continue
		}
		if m.Role != "replica" || !m.Running() || m.Host == "" {
			continue
		}
		c.Replicas = append(c.Replicas, *m)
		if m.Sync {
			c.SyncStandbys = append(c.SyncStandbys, *m)
		}
	}
}

// TagNames lists a member's tags in order, for templates.
func (m Member) TagNames() []string { return slices.Sorted(maps.Keys(m.Tags)) }
