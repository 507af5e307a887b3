package cluster

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/pgbaton/pgbaton/watcher"
)

// Repmgr is a cluster that repmgr keeps. Its store is the nodes themselves; there is
// nothing to set.
type Repmgr struct{}

// Source implements Settings.
func (*Repmgr) Source(at Place) (Source, error) {
	return repmgrSource{at.Name, watcher.Query{Store: at.Store, Kind: watcher.Prefix, Path: at.Root + "repmgr/" + at.Name + "/"}}, nil
}

// Ways implements Settings.
func (*Repmgr) Ways() (all, usual []Way) {
	all = []Way{WaySQL, WayRole}
	return all, all
}

type repmgrSource struct {
	name  string
	nodes watcher.Query
}

func (s repmgrSource) Scope() string                            { return s.name }
func (s repmgrSource) Queries(watcher.Snapshot) []watcher.Query { return []watcher.Query{s.nodes} }

func (s repmgrSource) Decode(before Cluster, known watcher.Snapshot) Cluster {
	pairs, _ := known[s.nodes].Value.([]watcher.Pair)
	return DecodeRepmgr(s.name, s.nodes.Path, pairs, before)
}

// repmgrNode is what one node says: the value of its key, as watcher/repmgr writes it.
type repmgrNode struct {
	Address  string      `json:"address"`
	ID       int64       `json:"node_id"`
	State    string      `json:"state"`
	Reason   string      `json:"reason"`
	Recovery bool        `json:"recovery"`
	Timeline uint64      `json:"timeline"`
	System   string      `json:"system"`
	LSN      uint64      `json:"lsn"`
	Received uint64      `json:"received"`
	Nodes    []repmgrRow `json:"nodes"`
}

// repmgrRow is a row of its repmgr.nodes.
type repmgrRow struct {
	ID       int64  `json:"node_id"`
	Name     string `json:"node_name"`
	Type     string `json:"type"`
	Active   bool   `json:"active"`
	Upstream int64  `json:"upstream_node_id"`
	ConnURL  string `json:"conn_url"`
	Bad      string `json:"bad_conninfo"`
	Location string `json:"location"`
	Priority int64  `json:"priority"`
}

// own is the row that a node has of itself; nil if it has none.
func (n *repmgrNode) own() *repmgrRow { return n.row(n.ID) }

func (n *repmgrNode) row(id int64) *repmgrRow {
	for i := range n.Nodes {
		if n.Nodes[i].ID == id && id != 0 {
			return &n.Nodes[i]
		}
	}
	return nil
}

// leads says whether it takes writes, and its own repmgr.nodes says that it shall.
func (n *repmgrNode) leads() bool {
	own := n.own()
	return own != nil && !n.Recovery && own.Type == "primary" && own.Active
}

// called is what a node is called in messages.
func (n *repmgrNode) called() string {
	if own := n.own(); own != nil {
		return own.Name
	}
	return n.Address
}

// DecodeRepmgr reads what the nodes of a repmgr cluster say of themselves. pairs are the
// keys below prefix, and before is what those of before came to.
//
// Who leads is the node that is out of recovery and that its own repmgr.nodes calls
// primary and active. Of two, as when an old primary comes back by itself, it is the one
// on the higher timeline; and nobody leads on a timeline lower than that of a node that
// answers: its leader is out of sight.
func DecodeRepmgr(scope, prefix string, pairs []watcher.Pair, before Cluster) Cluster {
	c := Cluster{Scope: scope, Phase: Starting}
	problem := func(key, format string, args ...any) {
		text := key + ": " + fmt.Sprintf(format, args...)
		c.Problems = append(c.Problems, strings.Map(func(r rune) rune { // names are a server's word
			if unicode.IsControl(r) {
				return '?'
			}
			return r
		}, text))
	}
	var all []*repmgrNode
	keys := map[*repmgrNode]string{}
	for _, p := range pairs {
		if !strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(p.Path, "/"), strings.TrimPrefix(prefix, "/")), "nodes/") {
			continue
		}
		n := &repmgrNode{}
		if err := json.Unmarshal([]byte(p.Value), n); err != nil {
			problem(p.Path, "it is no JSON object: %v", err)
			continue
		}
		if own := n.own(); own != nil && own.Type == "witness" {
			continue // it has a server of its own, which is none of the cluster's
		}
		all, keys[n] = append(all, n), p.Path
	}
	c.System = systemOf(all, before.System)
	var answer []*repmgrNode
	for _, n := range all {
		switch {
		case len(n.Nodes) == 0:
		case n.System != "" && n.System != c.System:
			problem(keys[n], "%s is of system %s, and the others are of %s: another cluster's server", n.called(), n.System, cmp.Or(c.System, "none that they agree on"))
		default:
			answer = append(answer, n)
		}
	}
	leader := c.electRepmgr(answer, before, func(n *repmgrNode, format string, args ...any) { problem(keys[n], format, args...) })

	// Whoever leads has the newest repmgr.nodes; else it is whoever is ahead.
	var newest *repmgrNode
	for _, n := range answer {
		if newest == nil || cmp.Or(cmp.Compare(n.Timeline, newest.Timeline), cmp.Compare(n.LSN, newest.LSN)) > 0 {
			newest = n
		}
	}
	if leader != nil {
		newest = leader
	}
	if newest != nil {
		for _, r := range newest.Nodes {
			if r.Type == "witness" {
				continue
			}
			m, err := repmgrMember(r, newest, all)
			switch {
			case err != nil:
				problem(keys[newest], "node %d: %v", r.ID, err)
			case c.Member(m.Name) != nil:
				problem(keys[newest], "two nodes are called %s", m.Name)
			default:
				c.Members = append(c.Members, m)
			}
		}
	}
	slices.SortFunc(c.Members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	var lead *Member
	if leader != nil {
		c.Key = LeaderKey{Name: leader.own().Name, Session: strconv.FormatInt(leader.ID, 10), Created: leader.Timeline}
		if m := c.Member(c.Key.Name); m == nil {
			problem(keys[leader], "%s leads, and is no member", c.Key.Name)
		} else {
			copied := *m
			lead = &copied
		}
	}
	c.arrange(lead, nil)
	c.Problems = slices.Compact(slices.Sorted(slices.Values(c.Problems)))
	return c
}

// systemOf is the system identifier of most nodes; of two that are as many, the one of
// before, or none.
func systemOf(nodes []*repmgrNode, before string) string {
	votes := map[string]int{}
	most := 0
	for _, n := range nodes {
		if n.System != "" {
			votes[n.System]++
			most = max(most, votes[n.System])
		}
	}
	var found []string
	for s, n := range votes {
		if n == most {
			found = append(found, s)
		}
	}
	switch {
	case len(found) == 1:
		return found[0]
	case len(found) == 0 || slices.Contains(found, before):
		return before
	}
	return ""
}

// electRepmgr finds out who leads; nil if nobody does.
func (c *Cluster) electRepmgr(nodes []*repmgrNode, before Cluster, problem func(n *repmgrNode, format string, args ...any)) *repmgrNode {
	var leader *repmgrNode
	var equal []*repmgrNode // those on leader's timeline that claim to lead
	highest := uint64(0)
	for _, n := range nodes {
		highest = max(highest, n.Timeline)
		switch {
		case !n.leads():
		case leader == nil || n.Timeline > leader.Timeline:
			leader, equal = n, []*repmgrNode{n}
		case n.Timeline == leader.Timeline:
			equal = append(equal, n)
		}
	}
	if len(equal) > 1 {
		leader = nil
		for _, n := range equal {
			if n.own().Name == before.Key.Name {
				leader = n
			}
		}
	}
	if leader != nil && leader.Timeline < highest {
		problem(leader, "%s takes writes on timeline %d, and another node is on %d: its leader does not answer", leader.called(), leader.Timeline, highest)
		return nil
	}
	for _, n := range nodes {
		switch {
		case n.Recovery || n == leader:
		case leader == nil && n.leads():
			problem(n, "%s takes writes on timeline %d, as another node does: nobody is believed", n.called(), n.Timeline)
		case leader == nil && n.own() == nil:
			problem(n, "%s takes writes, and which node it is can't be told: its conninfo has to name the address %s", n.called(), n.Address)
		case leader != nil && n.own() != nil:
			problem(n, "%s takes writes on timeline %d beside the leader %s on %d", n.called(), n.Timeline, leader.called(), leader.Timeline)
		}
	}
	return leader
}

// repmgrMember is a node as a member: as the row of it has it, and as it is by its own
// word.
func repmgrMember(r repmgrRow, table *repmgrNode, nodes []*repmgrNode) (Member, error) {
	if r.Name == "" || len(r.Name) > maxName || strings.ContainsFunc(r.Name, unicode.IsControl) {
		return Member{}, fmt.Errorf("its name is none, or longer than %d bytes", maxName)
	}
	if r.Bad != "" {
		return Member{}, fmt.Errorf("%s: %s", r.Name, r.Bad)
	}
	endpoints, err := parseConnURL(r.ConnURL)
	if err != nil {
		return Member{}, fmt.Errorf("%s: %w", r.Name, err)
	}
	m := Member{Name: r.Name, State: "unreachable", Tags: map[string]any{
		"node_id": r.ID, "active": r.Active, "location": r.Location, "priority": r.Priority,
	}}
	if up := table.row(r.Upstream); up != nil {
		m.Tags["upstream"] = up.Name
	}
	m.setEndpoints(endpoints)
	if r.Type == "standby" {
		m.Role = "replica"
	}
	for _, n := range nodes {
		if n.ID != r.ID {
			continue
		}
		m.State = n.State
		if len(n.Nodes) > 0 {
			m.Role, m.Timeline, m.LSN, m.Received = "replica", n.Timeline, n.LSN, n.Received
			if !n.Recovery {
				m.Role = "primary"
			}
			break
		}
	}
	return m, nil
}
