package repmgr

import (
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

func TestPlaces(t *testing.T) {
	for _, c := range []struct{ conninfo, want string }{
		{"host=10.0.0.1 port=5433 user=repmgr dbname=repmgr password=secret", "postgres://10.0.0.1:5433/"},
		{"host = 'pg1.example.net' password='it''s'", ""},
		{`host = 'pg1.example.net'  password='it\'s secret host=evil' port = '5432'`, "postgres://pg1.example.net:5432/"},
		{"host=pg1 hostaddr=10.0.0.1", "postgres://10.0.0.1:5432/"},
		{"host=fd00::1 port=5432", "postgres://[fd00::1]:5432/"},
		{"host=a,b port=1,2", "postgres://a:1,b:2/"},
		{"host=a,b,c port=1,2", ""},
		{"dbname=repmgr", ""},
		{"host=/var/run/postgresql", "postgres://%2Fvar%2Frun%2Fpostgresql:5432/"},
		{"host='a\nb' port=5432", "postgres://a%0Ab:5432/"},
		{"host=a@b#c", "postgres://a%40b%23c:5432/"},
		{"secret", ""},
		{"host='10.0.0.1", ""},
		{"postgresql://u:secret@10.0.0.1:5433/repmgr?sslmode=require", "postgres://10.0.0.1:5433/"},
		{"postgres://u:p%40ss@[fd00::1]/repmgr", "postgres://[fd00::1]:5432/"},
		{"postgresql://a:1,b:2/repmgr", "postgres://a:1,b:2/"},
		{"postgresql:///repmgr?host=10.0.0.1&port=5433", "postgres://10.0.0.1:5433/"},
		{"postgresql://10.0.0.1:5432:secret/repmgr", ""},
		{"postgresql:///repmgr", ""},
	} {
		got, err := places(c.conninfo)
		if got != c.want || (err != nil) != (c.want == "") || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %q, error %v, want %q", c.conninfo, got, err, c.want)
		}
	}
}

// FuzzPlaces: whatever a conninfo has, what its reader makes of it can end no word of a
// config.
func FuzzPlaces(f *testing.F) {
	f.Add("host=10.0.0.1 port=5432 password='x'")
	f.Add("postgresql://u:p@[::1]:5432,b/x?host=a&hostaddr=%0a")
	f.Add(`host=a\ b port='1
2'`)
	f.Fuzz(func(t *testing.T, conninfo string) {
		text, err := places(conninfo)
		if err != nil {
			return
		}
		doc := document{Address: "a:1", ID: 1, State: "running", Timeline: 1, Nodes: []row{{ID: 1, Name: "n", Type: "primary", Active: true, ConnURL: text}}}
		pairs, _ := arrange([]document{doc}, map[string]string{"a:1": "a:1"})
		c := cluster.DecodeRepmgr("s", "", pairs, cluster.Cluster{})
		for _, m := range c.Members {
			for _, e := range m.Endpoints {
				if strings.ContainsAny(e.Host, " \t\r\n\x00'\"\\;{}#@?,") || e.Host == "" || e.Port < 1 || e.Port > 65535 {
					t.Errorf("%q: endpoint %+v got through", conninfo, e)
				}
			}
		}
		for _, a := range addresses(doc.Nodes[0]) {
			if _, err := addressOf(a); err != nil {
				t.Errorf("%q: it would ask %q", conninfo, a)
			}
		}
	})
}

// TestArrange: a server that is asked at two addresses is one node, and one that does not
// answer is known by its place.
func TestArrange(t *testing.T) {
	table := []row{
		{ID: 1, Name: "one", Type: "primary", Active: true, ConnURL: "postgres://10.0.0.1:5432/"},
		{ID: 2, Name: "two", Type: "standby", Active: true, ConnURL: "postgres://10.0.0.2:5432,10.1.0.2:5432/"},
	}
	pairs, writers := arrange([]document{
		{Address: "db.example.net:5432", State: "running", Nodes: table},
		{Address: "10.0.0.1:5432", State: "running", Nodes: table},
		{Address: "10.0.0.2:5432", State: "unreachable", Reason: "it can't be reached"},
		{Address: "10.1.0.2:5432", State: "streaming", Recovery: true, Nodes: table},
		{Address: "10.0.0.9:5432", State: "unreachable", Reason: "it can't be reached"},
	}, map[string]string{"db.example.net:5432": "10.0.0.1:5432", "10.0.0.1:5432": "10.0.0.1:5432", "10.1.0.2:5432": "10.1.0.2:5432"})
	var have []string
	for _, p := range pairs {
		have = append(have, p.Path)
	}
	if got := strings.Join(have, " "); got != "nodes/1 nodes/10.0.0.9:5432 nodes/2" || strings.Join(writers, " ") != "1" {
		t.Errorf("keys %s, writers %v", got, writers)
	}
	if !strings.Contains(pairs[2].Value, `"state":"streaming"`) {
		t.Errorf("node 2 is %s", pairs[2].Value)
	}
	for path, want := range map[string]int{"repmgr/main/": 3, "repmgr/main/nodes/": 3, "repmgr/main/nodes/1": 2, "": 3, "nodes/2": 1} {
		if got := below(pairs, watcher.Query{Kind: watcher.Prefix, Path: path}); len(got) != want || want > 0 && !strings.HasPrefix(got[0].Path, path) {
			t.Errorf("below %q are %v", path, got)
		}
	}
}
