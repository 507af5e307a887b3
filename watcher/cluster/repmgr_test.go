package cluster

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/watcher"
)

// rows are a repmgr.nodes in which node primary is the primary of three, and node 9 is
// the witness.
func rows(primary int64) (list []repmgrRow) {
	for id := int64(1); id <= 3; id++ {
		r := repmgrRow{ID: id, Name: fmt.Sprint("pg", id), Type: "standby", Active: true, Upstream: primary, ConnURL: fmt.Sprintf("postgres://10.0.0.%d:5432/", id), Location: "default", Priority: 100}
		if id == primary {
			r.Type, r.Upstream = "primary", 0
		}
		list = append(list, r)
	}
	return append(list, repmgrRow{ID: 9, Name: "witness", Type: "witness", Active: true, ConnURL: "postgres://10.0.0.9:5432/"})
}

// node says what a node does: it takes writes if it is primary in its own table.
func node(id, primary int64, timeline uint64) repmgrNode {
	return repmgrNode{
		Address: fmt.Sprintf("10.0.0.%d:5432", id), ID: id, State: "running", Recovery: id != primary && id != 9,
		Timeline: timeline, System: "7", LSN: 1000, Nodes: rows(primary),
	}
}

func nodePairs(t *testing.T, nodes ...repmgrNode) (pairs []watcher.Pair) {
	t.Helper()
	for _, n := range nodes {
		value, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, watcher.Pair{Path: fmt.Sprintf("repmgr/main/nodes/%d", n.ID), Value: string(value)})
	}
	return pairs
}

func TestDecodeRepmgr(t *testing.T) {
	away := func(id int64) repmgrNode {
		return repmgrNode{Address: fmt.Sprintf("10.0.0.%d:5432", id), ID: id, State: "unreachable", Reason: "it can't be reached"}
	}
	change := func(n repmgrNode, how func(*repmgrNode)) repmgrNode { how(&n); return n }
	before := Cluster{System: "7", Key: LeaderKey{Name: "pg1"}}
	for name, c := range map[string]struct {
		nodes    []repmgrNode
		before   Cluster
		leader   string
		replicas string
		problem  string // a part of the only one; "" is none
	}{
		"all is well":                     {[]repmgrNode{node(1, 1, 4), node(2, 1, 4), node(3, 1, 4)}, Cluster{}, "pg1", "pg2 pg3", ""},
		"a standby is away":               {[]repmgrNode{node(1, 1, 4), node(2, 1, 4), away(3)}, Cluster{}, "pg1", "pg2", ""},
		"the primary is away":             {[]repmgrNode{away(1), node(2, 1, 4), node(3, 1, 4)}, before, "", "pg2 pg3", ""},
		"promoted, the others follow":     {[]repmgrNode{away(1), node(2, 2, 5), node(3, 2, 5)}, before, "pg2", "pg3", ""},
		"an old primary comes back":       {[]repmgrNode{node(1, 1, 4), node(2, 2, 5), node(3, 2, 5)}, before, "pg2", "pg3", "pg1 takes writes on timeline 4 beside the leader pg2 on 5"},
		"the new one is out of sight":     {[]repmgrNode{node(1, 1, 4), away(2), node(3, 2, 5)}, Cluster{}, "", "pg3", "pg1 takes writes on timeline 4, and another node is on 5"},
		"two on one timeline":             {[]repmgrNode{node(2, 2, 5), node(3, 3, 5)}, Cluster{}, "", "", "nobody is believed"},
		"two on one, and it led before":   {[]repmgrNode{node(1, 1, 4), node(2, 2, 4)}, before, "pg1", "", "pg2 takes writes on timeline 4 beside"},
		"promoted by hand, not in repmgr": {[]repmgrNode{change(node(2, 1, 5), func(n *repmgrNode) { n.Recovery = false })}, Cluster{}, "", "", ""},
		"not active":                      {[]repmgrNode{change(node(1, 1, 4), func(n *repmgrNode) { n.Nodes[0].Active = false })}, Cluster{}, "", "", ""},
		"which node it is can't be told":  {[]repmgrNode{change(node(1, 1, 4), func(n *repmgrNode) { n.ID = 0 })}, Cluster{}, "", "", "which node it is can't be told"},
		"a witness has no say":            {[]repmgrNode{node(1, 1, 4), node(2, 1, 4), change(node(9, 1, 9), func(n *repmgrNode) { n.System = "8" })}, Cluster{}, "pg1", "pg2", ""},
		"another cluster's server":        {[]repmgrNode{node(1, 1, 4), node(2, 1, 4), change(node(3, 3, 9), func(n *repmgrNode) { n.System = "8" })}, Cluster{}, "pg1", "pg2", "another cluster's server"},
		"two systems, one known":          {[]repmgrNode{node(1, 1, 4), change(node(3, 3, 9), func(n *repmgrNode) { n.System = "8" })}, before, "pg1", "", "another cluster's server"},
		"it may not tell its system":      {[]repmgrNode{change(node(1, 1, 4), func(n *repmgrNode) { n.System = "" }), node(2, 1, 4)}, Cluster{}, "pg1", "pg2", ""},
		"a row that breaks out":           {[]repmgrNode{change(node(1, 1, 4), func(n *repmgrNode) { n.Nodes[1].ConnURL = "postgres://a%0Ahost=evil:5432/" }), node(2, 1, 4)}, Cluster{}, "pg1", "", "a character that no host has"},
		"a name that breaks out":          {[]repmgrNode{change(node(1, 1, 4), func(n *repmgrNode) { n.Nodes[1].Name = "a\nb" }), node(2, 1, 4)}, Cluster{}, "pg1", "", "its name is none"},
		"nobody":                          {nil, before, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := DecodeRepmgr("main", "repmgr/main/", nodePairs(t, c.nodes...), c.before)
			leader, created := "", uint64(0)
			if got.Leader != nil {
				leader, created = got.Leader.Name, got.Leader.Timeline
			}
			var replicas []string
			for _, r := range got.Replicas {
				if r.Name != "witness" && r.State == "running" {
					replicas = append(replicas, r.Name)
				}
			}
			if leader != c.leader || got.Key.Name != c.leader || got.Key.Created != created || c.problem == "" && strings.Join(replicas, " ") != c.replicas {
				t.Errorf("leader %q, key %+v, replicas %v; want %q and %q", leader, got.Key, replicas, c.leader, c.replicas)
			}
			if got.Member("witness") != nil {
				t.Error("the witness is a member")
			}
			if c.problem == "" && len(got.Problems) > 0 || c.problem != "" && (len(got.Problems) == 0 || !strings.Contains(strings.Join(got.Problems, "\n"), c.problem)) {
				t.Errorf("problems %q, want %q", got.Problems, c.problem)
			}
			for _, p := range got.Problems {
				if !strings.HasPrefix(p, "repmgr/main/nodes/") {
					t.Errorf("problem %q names no key", p)
				}
			}
		})
	}
}

// FuzzDecodeRepmgr decodes whatever a node's document may hold. No host that comes out can
// end a line or a word of a config.
func FuzzDecodeRepmgr(f *testing.F) {
	for _, n := range []repmgrNode{node(1, 1, 4), node(2, 1, 4)} {
		value, _ := json.Marshal(n)
		f.Add(string(value), `{"nodes":[{"node_id":1,"node_name":"a","conn_url":"postgres://a b/"}],"node_id":1,"timeline":18446744073709551615}`)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		pairs := []watcher.Pair{{Path: "repmgr/main/nodes/1", Value: one}, {Path: "repmgr/main/nodes/2", Value: two}}
		c := DecodeRepmgr("main", "repmgr/main/", pairs, Cluster{})
		for _, m := range c.Members {
			for _, e := range m.Endpoints {
				if strings.ContainsAny(e.Host, " \t\r\n\x00'\"\\;{}#") || e.Host == "" || len(e.Host) > maxName || e.Port < 1 || e.Port > 65535 {
					t.Errorf("endpoint %+v got through", e)
				}
			}
			if m.Name == "" || len(m.Name) > maxName || strings.ContainsAny(m.Name, "\r\n\x00") || m.Host == "" {
				t.Errorf("member %+v got through", m)
			}
		}
		if l := c.Leader; l != nil && (l.Name != c.Key.Name || c.Member(l.Name) == nil) {
			t.Errorf("%q leads by the key of %+v", l.Name, c.Key)
		}
		if again := DecodeRepmgr("main", "repmgr/main/", pairs, c); again.Leader != nil && c.Leader != nil && again.Leader.Name != c.Leader.Name {
			t.Errorf("the same again is led by %q, and was by %q", again.Leader.Name, c.Leader.Name)
		}
		for _, p := range c.Problems {
			if strings.ContainsAny(p, "\r\n\x00") {
				t.Errorf("problem %q breaks its line", p)
			}
		}
	})
}
