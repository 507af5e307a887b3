package cluster

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
)

// catalog is what the service postgres has: three servers, and one that does not pass.
var catalog = []*watcher.Instance{
	{Node: "n1", ID: "pg-1", Name: "postgres", NodeAddress: "10.0.0.1", Address: "10.0.0.1", Port: 5432, Status: watcher.Passing, Tags: watcher.Tags{"noloadbalance"}, ServiceMeta: map[string]string{"zone": "a"}},
	{Node: "n2", ID: "pg-2", Name: "postgres", NodeAddress: "10.0.0.2", Address: "db2.example.net", Status: watcher.Passing},
	{Node: "n3", ID: "pg-3", Name: "postgres", NodeAddress: "10.0.0.3", Address: "10.0.0.3", Port: 5433, Status: watcher.Critical},
}

// decodeKey decodes a key, and the catalog if k has a service.
func decodeKey(t *testing.T, k Key, pair *watcher.Pair, instances []*watcher.Instance, before Cluster) Cluster {
	t.Helper()
	k.Path = "service/pg/leader"
	source, err := k.Source(Place{Name: "main"})
	if err != nil {
		t.Fatal(err)
	}
	known := watcher.Snapshot{}
	for _, q := range source.Queries(nil) {
		switch {
		case q.Kind == watcher.Service:
			known[q] = watcher.Answer{Presence: watcher.Present, Value: instances}
		case pair == nil:
			known[q] = watcher.Answer{Presence: watcher.Absent}
		default:
			known[q] = watcher.Answer{Presence: watcher.Present, Value: *pair}
		}
	}
	return source.Decode(before, known)
}

func TestKeyTexts(t *testing.T) {
	for text, want := range map[string]string{ // NAME=ADDRESS without a catalog
		"10.0.0.1:5433":                         "10.0.0.1:5433=10.0.0.1:5433",
		"10.0.0.1:5432":                         "10.0.0.1=10.0.0.1:5432",
		" 10.0.0.1\n":                           "10.0.0.1=10.0.0.1:5432",
		"db1.example.net":                       "db1.example.net=db1.example.net:5432",
		"fd00::1":                               "fd00::1=[fd00::1]:5432",
		"[fd00::1]":                             "fd00::1=[fd00::1]:5432",
		"[fd00::1]:5433":                        "[fd00::1]:5433=[fd00::1]:5433",
		`"10.0.0.1"`:                            "10.0.0.1=10.0.0.1:5432",
		"postgres://u:p@db1:5433/app?sslmode=x": "db1:5433=db1:5433",
		"postgresql://a,b:5433/app":             "a:5433=a:5433",
		`{"host":"10.0.0.1","port":5433}`:       "10.0.0.1:5433=10.0.0.1:5433",
		`{"host":"10.0.0.1","port":"5433"}`:     "10.0.0.1:5433=10.0.0.1:5433",
		`{"host":"10.0.0.1:5433"}`:              "10.0.0.1:5433=10.0.0.1:5433",
		`{"Address":"10.0.0.1"}`:                "10.0.0.1=10.0.0.1:5432",
		`{"ServiceAddress":"db1","ServicePort":5433,"Node":"n1"}`: "n1=db1:5433",
		`{"name":"pg1","ip":"10.0.0.1"}`:                          "pg1=10.0.0.1:5432",
		`{"conn_url":"postgres://db1:5433/x","role":"primary"}`:   "db1:5433=db1:5433",
		`{"url":"postgres://db1/x"}`:                              "db1=db1:5432",
		`{"address":"postgres://db1/x","port":null}`:              "db1=db1:5432",
	} {
		c := decodeKey(t, Key{}, &watcher.Pair{Path: "service/pg/leader", Value: text, Session: "s", ModifyIndex: 7}, nil, Cluster{})
		if c.Leader == nil || c.Leader.Name+"="+c.Leader.Address() != want || len(c.Problems) > 0 {
			t.Errorf("%s: leader %+v, want %s, problems %q", text, c.Leader, want, c.Problems)
			continue
		}
		if c.Key != (LeaderKey{c.Leader.Name, "s", 7}) || len(c.Members) != 1 || c.Leader.Role != "primary" || !c.Leader.Running() || c.Standby || c.Fenced {
			t.Errorf("%s: %+v", text, c)
		}
	}
	if c := decodeKey(t, Key{Port: 6000}, &watcher.Pair{Value: "postgres://a,b/x"}, nil, Cluster{}); len(c.Leader.Endpoints) != 2 || c.Leader.Port != 5432 {
		t.Errorf("several hosts of a URL, whose port is PostgreSQL's: %+v", c.Leader)
	}
	if c := decodeKey(t, Key{Port: 6000}, &watcher.Pair{Value: "a"}, nil, Cluster{}); c.Leader.Port != 6000 || c.Leader.Name != "a" {
		t.Errorf("a port of its own: %+v", c.Leader)
	}
}

func TestKeyBadTexts(t *testing.T) {
	texts := []string{
		"", "  ", "10.0.0.1:0", "10.0.0.1:x", "10.0.0.1:99999", ":5432", "a b", "host=a port=1", "mysql://a/", "postgres://", "[::1", "{", "[]", "{}", `{"port":5432}`,
		`{"host":["a"]}`, `{"host":"a","port":"x"}`, `{"host":"a","port":5432.5}`, `{"host":"a","port":true}`, `{"host":"a"} {}`, `"`, `{"name":"pg1"}`, "u:s3cret@db1", "postgres://u:s3cret@db1:x/",
		`{"host":"u:s3cret@db1"}`, "host=db1 password=s3cret", "h\nadmin_users=x", ";reboot", "a\u2028b", strings.Repeat("a", 300), `{"name":"a\nb","host":"c"}`, `{"host":"a","name":{}}`,
	}
	for _, text := range texts {
		for _, k := range []Key{{}, {Service: "postgres"}} {
			c := decodeKey(t, k, &watcher.Pair{Value: text, ModifyIndex: 1}, catalog, Cluster{})
			if c.Leader != nil || len(c.Problems) != 1 || !strings.HasPrefix(c.Problems[0], "service/pg/leader: ") || strings.Contains(c.Problems[0], "s3cret") || strings.Contains(c.Problems[0], "\n") {
				t.Errorf("%.40q, service %q: leader %+v, problems %q", text, k.Service, c.Leader, c.Problems)
			}
		}
	}
}

func TestKeyInTheCatalog(t *testing.T) {
	k := Key{Service: "postgres"}
	both := append([]*watcher.Instance{{Node: "n1", ID: "pg-9", Name: "postgres", NodeAddress: "10.0.0.1", Address: "10.0.0.1", Port: 5499, Status: watcher.Passing}}, catalog...)
	for name, c := range map[string]struct {
		text      string
		instances []*watcher.Instance
		leader    string // NAME=ADDRESS
		replicas  string
		problem   string
	}{
		"by node":                    {"n1", catalog, "n1=10.0.0.1:5432", "n2", ""},
		"by ID":                      {"pg-2", catalog, "n2=db2.example.net:5432", "n1", ""},
		"by name of the service":     {"postgres", catalog[:1], "n1=10.0.0.1:5432", "", ""},
		"by address":                 {"10.0.0.1", catalog, "n1=10.0.0.1:5432", "n2", ""},
		"by address and port":        {"10.0.0.3:5433", catalog, "n3=10.0.0.3:5433", "n1,n2", ""},
		"by address of another port": {"10.0.0.3", catalog, "n3=10.0.0.3:5433", "n1,n2", ""},
		"by host name":               {"db2.example.net", catalog, "n2=db2.example.net:5432", "n1", ""},
		"by address of the node":     {"10.0.0.2", catalog, "n2=db2.example.net:5432", "n1", ""},
		"by URL":                     {"postgres://u@10.0.0.1/x", catalog, "n1=10.0.0.1:5432", "n2", ""},
		"by JSON":                    {`{"Node":"n2"}`, catalog, "n2=db2.example.net:5432", "n1", ""},
		"by text in JSON":            {`"n2"`, catalog, "n2=db2.example.net:5432", "n1", ""},
		"failing its check":          {"n3", catalog, "n3=10.0.0.3:5433", "n1,n2", ""},
		"an address of its own":      {`{"name":"n1","host":"10.9.9.9"}`, catalog, "n1=10.9.9.9:5432", "n2", ""},
		"not there, an address":      {"10.9.9.9:1", catalog, "10.9.9.9:1=10.9.9.9:1", "n1,n2", ""},
		"two of a node, by ID":       {"pg-9", both, "pg-9=10.0.0.1:5499", "n2,pg-1", ""},
		"not there":                  {"n9", catalog, "", "n1,n2", "it names n9, which no instance of service postgres is"},
		"two of that name":           {"postgres", catalog, "", "n1,n2", "it names postgres, which 3 instances of service postgres are"},
		"two of a node":              {"n1", both, "", "n2,pg-1,pg-9", "it names n1, which 2 instances of service postgres are"},
		"nobody is there":            {"n1", nil, "", "", "which no instance"},
	} {
		t.Run(name, func(t *testing.T) {
			have := decodeKey(t, k, &watcher.Pair{Value: c.text, ModifyIndex: 7}, c.instances, Cluster{})
			leader, replicas := "", []string{}
			if l := have.Leader; l != nil {
				leader = l.Name + "=" + l.Address()
				if m := have.Member(l.Name); m == nil || m.Role != "primary" || have.Key.Name != l.Name {
					t.Errorf("the leader %+v is the member %+v by the key of %s", l, m, have.Key.Name)
				}
			}
			for _, m := range have.Replicas {
				replicas = append(replicas, m.Name)
			}
			if leader != c.leader || strings.Join(replicas, ",") != c.replicas {
				t.Errorf("leader %s, replicas %v", leader, replicas)
			}
			if text := strings.Join(have.Problems, "\n"); !strings.Contains(text, c.problem) || (text == "") != (c.problem == "") {
				t.Errorf("problems are %q", text)
			}
		})
	}
	c := decodeKey(t, k, nil, catalog, Cluster{})
	if c.Leader != nil || c.Key != (LeaderKey{}) || len(c.Members) != 3 || len(c.Replicas) != 2 || len(c.Problems) != 0 {
		t.Errorf("without the key: %+v", c)
	}
	if m := c.Member("n1"); !m.NoLoadBalance() || m.Tags["zone"] != "a" {
		t.Errorf("tags are %v", m.Tags)
	}
	if m := c.Member("n3"); m.State != watcher.Critical || m.Running() {
		t.Errorf("%+v takes connections", m)
	}
	c = decodeKey(t, k, &watcher.Pair{Value: "n1"}, append([]*watcher.Instance{{Node: "n4", ID: "x", Address: "a\nb", Port: 1}}, catalog...), Cluster{})
	if c.Leader == nil || len(c.Members) != 3 || len(c.Problems) != 1 || !strings.Contains(c.Problems[0], "service postgres: instance x of node n4") {
		t.Errorf("an instance with a bad address: %+v", c)
	}
}

// TestKeyTerms: the same text again is the same term; another is a later one, and a key
// that vanishes takes nobody away.
func TestKeyTerms(t *testing.T) {
	pair := func(text, session string, index uint64) *watcher.Pair {
		return &watcher.Pair{Path: "service/pg/leader", Value: text, Session: session, ModifyIndex: index}
	}
	first := decodeKey(t, Key{}, pair("a", "s1", 5), nil, Cluster{})
	b := Next(Baton{}, first, Policy{}, nil, t0)
	if b.Term.Leader != "a" || b.By != WayKey || b.Phase != Steady {
		t.Fatalf("%s", tell(b))
	}
	again := decodeKey(t, Key{}, pair(`{"host":"a","at":12}`, "s1", 9), nil, first)
	if next := Next(b, again, Policy{}, nil, t0); !next.Same(b) {
		t.Errorf("the same leader, written again: %s", cmp.Diff(b, next))
	}
	if taken := decodeKey(t, Key{}, pair("a", "s2", 9), nil, first); taken.Key != (LeaderKey{"a", "s2", 9}) {
		t.Errorf("taken anew: %+v", taken.Key)
	}
	moved := decodeKey(t, Key{}, pair("b", "s2", 11), nil, again)
	if b = Next(b, moved, Policy{}, nil, t0); b.Term.Leader != "b" || b.Term.Created != 11 || b.Former == nil {
		t.Errorf("moved: %s", tell(b))
	}
	for name, pair := range map[string]*watcher.Pair{"absent": nil, "empty": pair("", "", 12)} {
		seen := decodeKey(t, Key{}, pair, nil, moved)
		if gone := Next(b, seen, Policy{}, nil, t0); gone.Phase != Leaderless || !gone.Hold() || gone.View().Leader == nil || gone.View().Leader.Name != "b" || len(gone.Seen.Problems) != 1 {
			t.Errorf("%s: %s", name, tell(gone))
		}
	}
	asking := Policy{Confirm: []Way{WaySQL}}
	if back := Next(b, decodeKey(t, Key{}, pair("a", "s1", 5), nil, moved), asking, nil, t0); back.Term.Leader != "b" || back.Refused == "" {
		t.Errorf("an older key: %s", tell(back))
	}
	// It is the catalog that has lost somebody, and the key is what it was.
	k := Key{Service: "postgres"}
	whole := decodeKey(t, k, pair("pg-1", "", 5), catalog, Cluster{})
	b = Next(Baton{}, whole, Policy{}, nil, t0)
	less := decodeKey(t, k, pair("pg-1", "", 5), catalog[1:], whole)
	if next := Next(b, less, Policy{}, nil, t0); next.Phase != Steady || next.View().Leader.Name != "n1" || len(less.Problems) != 1 {
		t.Errorf("without its instance: %s, problems %q", tell(next), less.Problems)
	}
}

func TestKeySettings(t *testing.T) {
	stores := func(name string) (string, bool) { return map[string]string{"consul": ""}[name], name == "consul" }
	for name, k := range map[string]Key{
		"is no key":                       {Path: "/"},
		`path "pg/" is no key`:            {Path: "pg/"},
		"port -1 is no port":              {Path: "k", Port: -1},
		"port 65536 is no port":           {Path: "k", Port: 65536},
		"catalog_store is set":            {Path: "k", CatalogStore: "consul"},
		`there is no store named "other"`: {Path: "k", Service: "pg", CatalogStore: "other"},
	} {
		_, err := k.Source(Place{Name: "main", Stores: stores})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.HasPrefix(err.Error(), "cluster main: ") || hint.Of(err) == "" {
			t.Errorf("%+v: %v, hint %q", k, err, hint.Of(err))
		}
	}
	k := Key{Path: "/service/pg/leader", Service: "pg", CatalogStore: "consul", Datacenter: "dc2"}
	s, err := k.Source(Place{Name: "main", Store: "zk", Root: "/", Stores: stores})
	if err != nil {
		t.Fatal(err)
	}
	want := []watcher.Query{
		{Store: "zk", Kind: watcher.Key, Path: "/service/pg/leader", Options: watcher.Options{Datacenter: "dc2"}},
		{Store: watcher.Catalog, Kind: watcher.Service, Path: "pg", Options: watcher.Options{Datacenter: "dc2", Status: "any"}},
	}
	if diff := cmp.Diff(want, s.Queries(nil)); diff != "" {
		t.Errorf("queries (-want +have):\n%s", diff)
	}
}
