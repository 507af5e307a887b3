package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbaton/pgbaton/watcher"
)

// keys makes the pairs below a scope.
func keys(kv map[string]string) []watcher.Pair {
	var out []watcher.Pair
	for k, v := range kv {
		out = append(out, watcher.Pair{Path: "service/batman/" + k, Value: v, Session: "s-" + v, CreateIndex: 10})
	}
	return out
}

func decode(kv map[string]string) Cluster {
	return DecodePatroni("batman", "service/batman/", keys(kv))
}

// TestVersions decodes the forms that Patroni 2, 3 and 4 write.
func TestVersions(t *testing.T) {
	for name, c := range map[string]struct{ leader, replica, sync string }{
		"2": {
			`{"conn_url":"postgres://10.0.0.1:5432/postgres","api_url":"http://10.0.0.1:8008/patroni","state":"running","role":"master","version":"2.1.7","xlog_location":67108864,"timeline":3}`,
			`{"conn_url":"postgres://10.0.0.2:5432/postgres","api_url":"http://10.0.0.2:8008/patroni","state":"running","role":"replica","version":"2.1.7","xlog_location":67104768,"timeline":3}`,
			`{"leader":"pg1","sync_standby":"pg2"}`,
		},
		"3": {
			`{"conn_url":"postgres://10.0.0.1:5432/postgres","api_url":"http://10.0.0.1:8008/patroni","state":"running","role":"master","version":"3.3.0","xlog_location":67108864,"timeline":3,"proxy_url":"postgres://10.0.0.1:6432/postgres"}`,
			`{"conn_url":"postgres://10.0.0.2:5432/postgres","api_url":"http://10.0.0.2:8008/patroni","state":"streaming","role":"replica","version":"3.3.0","xlog_location":67104768,"replication_state":"streaming","timeline":3,"tags":{"noloadbalance":true,"zone":"a","weight":3}}`,
			`{"leader":"pg1","sync_standby":"PG2"}`,
		},
		"4": {
			`{"conn_url":"postgres://10.0.0.1:5432/postgres","api_url":"https://10.0.0.1:8008/patroni","state":"running","role":"primary","version":"4.0.4","xlog_location":67108864,"timeline":3}`,
			`{"conn_url":"postgres://10.0.0.2:5432/postgres","api_url":"https://10.0.0.2:8008/patroni","state":"streaming","role":"replica","version":"4.0.4","xlog_location":67104768,"replication_state":"streaming","receive_lsn":67104768,"replay_lsn":67104768,"timeline":3}`,
			`{"leader":"pg1","quorum":1,"sync_standby":"pg2,pg3"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := decode(map[string]string{
				"leader": "pg1", "members/pg1": c.leader, "members/pg2": c.replica, "sync": c.sync,
				"initialize": "7420871337042069420", "config": `{"ttl":30,"loop_wait":10,"retry_timeout":10,"synchronous_mode":true}`,
				"failover": `{}`, "history": `[[1,2,"no recovery target specified"]]`, "status": `{"optime":67108864}`,
			})
			if len(c.Problems) > 0 {
				t.Errorf("problems: %v", c.Problems)
			}
			if c.Leader == nil || c.Leader.Name != "pg1" || c.Leader.Role != "primary" || c.Leader.Address() != "10.0.0.1:5432" || c.Leader.APIPort() != 8008 {
				t.Errorf("leader is %+v", c.Leader)
			}
			if len(c.Replicas) != 1 || c.Replicas[0].Name != "pg2" || !c.Replicas[0].Sync || c.Replicas[0].Lag != 4096 || !c.Replicas[0].LagKnown {
				t.Errorf("replicas are %+v", c.Replicas)
			}
			if len(c.SyncStandbys) != 1 || c.Timeline != 3 || c.TTL != 30*time.Second || c.System != "7420871337042069420" || c.Failover != nil {
				t.Errorf("cluster is %+v", c)
			}
		})
	}
}

func TestTags(t *testing.T) {
	m := Member{Tags: map[string]any{"noloadbalance": true, "nofailover": "true", "zone": "a", "weight": 3.0, "nosync": false}}
	if !m.NoLoadBalance() || !m.Tag("nofailover") || m.Tag("zone") || m.Tag("nosync") || m.Tag("missing") {
		t.Errorf("tags of %+v", m)
	}
	if have := strings.Join(m.TagNames(), " "); have != "nofailover noloadbalance nosync weight zone" {
		t.Errorf("tag names are %s", have)
	}
}

func TestConnURL(t *testing.T) {
	for url, want := range map[string][]Endpoint{
		"postgres://h:5432/postgres":             {{"h", 5432}},
		"postgres://h/postgres":                  {{"h", 5432}},
		"postgresql://h:6000":                    {{"h", 6000}},
		"postgres://a:1,b:2/db":                  {{"a", 1}, {"b", 2}},
		"postgres://a,b:2/db":                    {{"a", 2}, {"b", 2}},
		"postgres://[::1]:5432/postgres":         {{"::1", 5432}},
		"postgres://[fd00::1],[fd00::2]:6/db":    {{"fd00::1", 6}, {"fd00::2", 6}},
		"postgres://u:p@h:5432/db?sslmode=x":     {{"h", 5432}},
		"postgres://%2Fvar%2Frun:5432/db":        {{"/var/run", 5432}},
		"postgres://db-1.prod.example:5432/db?x": {{"db-1.prod.example", 5432}},
	} {
		have, err := parseConnURL(url)
		if diff := cmp.Diff(want, have); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +have):\n%s", url, err, diff)
		}
	}
	for _, url := range []string{
		"", "h:5432", "http://h:5432", "postgres://", "postgres://:5432/", "postgres://h:0/", "postgres://h:99999/", "postgres://h:x/",
		"postgres://[::1/db", "postgres://[nonsense]:1/db", "postgres://h\nadmin_users=x:5432/db", "postgres://;reboot:5432/", "postgres://a b:1/",
		`postgres://h':5432/`, "postgres://h%0Ax:5432/", "postgres://{{x}}:5432/",
		"postgres://[::1%\n  bind :1]:5432/", "postgres://unix%40x:1/", "postgres://a%3Ab:1/",
	} {
		if have, err := parseConnURL(url); err == nil {
			t.Errorf("%q was taken as %v", url, have)
		}
	}
}

func TestAPIEndpoint(t *testing.T) {
	for url, want := range map[string]Endpoint{
		"http://10.0.0.1:8008/patroni": {"10.0.0.1", 8008},
		"https://[fd00::1]:8008/":      {"fd00::1", 8008},
		"http://db-1.example:8008":     {"db-1.example", 8008},
		"http://[::1%25eth0%20x]:8008": {},
		"http://a;b:8008":              {},
		"":                             {},
	} {
		if have := apiEndpoint(url); have != want {
			t.Errorf("%q is %v, want %v", url, have, want)
		}
	}
}

func TestBadKeys(t *testing.T) {
	good := `{"conn_url":"postgres://10.0.0.1:5432/postgres","state":"running","role":"primary"}`
	for name, c := range map[string]struct {
		kv     map[string]string
		leader string // "" is none
		want   string // part of the problem
	}{
		"broken replica":     {map[string]string{"leader": "pg1", "members/pg1": good, "members/pg2": `{"conn_url":`}, "pg1", "service/batman/members/pg2: it is no JSON"},
		"broken leader":      {map[string]string{"leader": "pg1", "members/pg1": `nonsense`}, "", "service/batman/members/pg1"},
		"empty leader":       {map[string]string{"leader": "", "members/pg1": good}, "", "service/batman/leader: it is empty"},
		"leader without key": {map[string]string{"leader": "pg9", "members/pg1": good}, "", "names pg9, whose member key is missing"},
		"leader without url": {map[string]string{"leader": "pg1", "members/pg1": `{"role":"replica"}`}, "", "has no conn_url"},
		"bad config":         {map[string]string{"leader": "pg1", "members/pg1": good, "config": "["}, "pg1", "service/batman/config"},
		"bad sync":           {map[string]string{"leader": "pg1", "members/pg1": good, "sync": "["}, "pg1", "service/batman/sync"},
		"bad failover":       {map[string]string{"leader": "pg1", "members/pg1": good, "failover": `{"leader":"pg1","scheduled_at":"soon"}`}, "pg1", "service/batman/failover"},
		"citus":              {map[string]string{"0/leader": "c1", "1/leader": "w1"}, "", "set group in the cluster block"},
	} {
		t.Run(name, func(t *testing.T) {
			cl := decode(c.kv)
			leader := ""
			if cl.Leader != nil {
				leader = cl.Leader.Name
			}
			if leader != c.leader {
				t.Errorf("leader is %q, want %q", leader, c.leader)
			}
			if !strings.Contains(strings.Join(cl.Problems, "\n"), c.want) {
				t.Errorf("problems are %q, want one with %q", cl.Problems, c.want)
			}
		})
	}
}

func TestProblemsHoldNoPassword(t *testing.T) {
	for _, url := range []string{
		"postgres://u:s3cret@10.0.0.1:99999/x", "mysql://u:s3cret@h/x", "postgres://u:s3cret/x@h:1/", "postgres://u:s3cret,@[::/", "u:s3cret@h",
	} {
		c := decode(map[string]string{"leader": "pg1", "members/pg1": `{"conn_url":"` + url + `","role":"primary"}`})
		if text := strings.Join(c.Problems, "\n"); !strings.Contains(text, "members/pg1") || strings.Contains(text, "s3cret") {
			t.Errorf("%s: problems %q", url, text)
		}
	}
}

// TestEmptiedScopeKeepsTheReplicas takes all keys away, as a store does that
// was wiped, or a token that may not see them any more.
func TestEmptiedScopeKeepsTheReplicas(t *testing.T) {
	kv := map[string]string{
		"initialize": "7", "leader": "pg1",
		"members/pg1": `{"conn_url":"postgres://a:1/x","role":"primary","state":"running","timeline":4}`,
		"members/pg2": `{"conn_url":"postgres://b:1/x","role":"replica","state":"running","timeline":4}`,
	}
	before := Next(Baton{}, decode(kv), Policy{}, nil, time.Now())
	after := Next(before, decode(nil), Policy{}, nil, time.Now())
	v := after.View()
	if v.Leader == nil || v.Leader.Name != "pg1" || len(v.Replicas) != 1 || v.Phase != Leaderless || len(v.Problems) != 1 {
		t.Errorf("with all keys gone: leader %v, replicas %v, phase %s, problems %v", v.Leader, v.Replicas, v.Phase, v.Problems)
	}
	if back := Next(after, decode(kv), Policy{}, nil, time.Now()); back.Phase != Steady || len(back.Seen.Problems) != 0 {
		t.Errorf("with the keys back: %+v", back)
	}
	// An older leader is refused even if the system identifier is missing.
	delete(kv, "initialize")
	kv["leader"], kv["members/pg2"] = "pg2", strings.Replace(kv["members/pg2"], "4}", "3}", 1)
	pairs := keys(kv)
	for i := range pairs {
		pairs[i].CreateIndex = 1
	}
	if old := Next(before, DecodePatroni("batman", "service/batman/", pairs), Policy{}, nil, time.Now()); old.Term.Leader != "pg1" || old.Refused == "" {
		t.Errorf("an older leader without a system identifier: %+v", old)
	}
}

func TestFailoverForms(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for value, want := range map[string]*Failover{
		"":                                nil,
		"{}":                              nil,
		"pg1:pg2":                         {Leader: "pg1", Member: "pg2"},
		`{"leader":"pg1","member":"pg2"}`: {Leader: "pg1", Member: "pg2"},
		`{"member":"pg2"}`:                {Member: "pg2"},
		`{"leader":"pg1","member":null,"scheduled_at":"2026-03-04T05:06:07+00:00"}`: {Leader: "pg1", ScheduledAt: at},
		`{"leader":"pg1","scheduled_at":"2026-03-04T05:06:07.000000+00:00"}`:        {Leader: "pg1", ScheduledAt: at},
	} {
		have, err := decodeFailover(value)
		if err != nil {
			t.Errorf("%q: %v", value, err)
		}
		if have != nil {
			have.ScheduledAt = have.ScheduledAt.UTC()
		}
		if want != nil {
			want.ScheduledAt = want.ScheduledAt.UTC()
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%q (-want +have):\n%s", value, diff)
		}
	}
}

func TestStandbyClusterHasNoLeader(t *testing.T) {
	member := `{"conn_url":"postgres://10.0.0.1:5432/postgres","state":"running","role":"standby_leader"}`
	for name, kv := range map[string]map[string]string{
		"by config": {"leader": "dr1", "members/dr1": strings.Replace(member, "standby_leader", "replica", 1), "config": `{"standby_cluster":{"host":"10.1.0.1"}}`},
		"by role":   {"leader": "dr1", "members/dr1": member},
	} {
		c := decode(kv)
		if c.Leader != nil || c.StandbyLeader == nil || c.StandbyLeader.Name != "dr1" || !c.Standby {
			t.Errorf("%s: leader %v, standby leader %v", name, c.Leader, c.StandbyLeader)
		}
	}
}

func TestHeartbeatsAreNoChange(t *testing.T) {
	kv := map[string]string{"leader": "pg1", "members/pg1": `{"conn_url":"postgres://a:1/x","role":"master","state":"running","xlog_location":100}`}
	a := Next(Baton{}, decode(kv), Policy{}, nil, time.Now())
	kv["members/pg1"] = strings.Replace(kv["members/pg1"], "100", "200", 1)
	b := Next(a, decode(kv), Policy{}, nil, time.Now())
	if !b.Same(a) {
		t.Error("a heartbeat counts as a change")
	}
	kv["members/pg1"] = strings.Replace(kv["members/pg1"], "running", "stopping", 1)
	if Next(b, decode(kv), Policy{}, nil, time.Now()).Same(b) {
		t.Error("a change of state does not count as a change")
	}
}

// TestLeaderNeverGoesBack plays a store that was restored from an older
// snapshot.
func TestLeaderNeverGoesBack(t *testing.T) {
	at := func(leader, timeline string, created uint64) Cluster {
		pairs := keys(map[string]string{
			"leader": leader, "initialize": "7",
			"members/pg1": `{"conn_url":"postgres://a:1/x","role":"primary","state":"running","timeline":` + timeline + `}`,
			"members/pg2": `{"conn_url":"postgres://b:1/x","role":"primary","state":"running","timeline":` + timeline + `}`,
		})
		for i := range pairs {
			pairs[i].CreateIndex = created
		}
		return DecodePatroni("batman", "service/batman/", pairs)
	}
	now := time.Now()
	b := Next(Baton{}, at("pg1", "1", 10), Policy{}, nil, now)
	b = Next(b, at("pg2", "2", 20), Policy{}, nil, now)
	if b.Term.Leader != "pg2" {
		t.Fatalf("the later term was not taken: %+v", b)
	}
	back := Next(b, at("pg1", "1", 10), Policy{}, nil, now)
	if back.Term.Leader != "pg2" || back.Refused == "" {
		t.Errorf("an older term was taken: leader %s, refused %q", back.Term.Leader, back.Refused)
	}
	restored := Next(back, at("pg1", "3", 5), Policy{}, nil, now)
	if restored.Term.Leader != "pg1" || restored.Refused != "" {
		t.Errorf("a lower index on a higher timeline was refused: %+v", restored)
	}
}

func TestPatroniKeys(t *testing.T) {
	coordinator := 0
	for want, p := range map[string]Patroni{
		"service/batman/":   {},
		"service/robin/":    {Scope: "robin"},
		"service/batman/0/": {Group: &coordinator},
		"db/prod/batman/":   {Namespace: "/db/prod/"},
	} {
		for root, want := range map[string]string{"": want, "/": "/" + want} {
			s, err := p.Source(Place{Name: "batman", Store: "dcs", Root: root})
			if err != nil {
				t.Fatal(err)
			}
			query := watcher.Query{Store: "dcs", Kind: watcher.Prefix, Path: want}
			if have := s.Queries(nil); len(have) != 1 || have[0] != query {
				t.Errorf("%+v reads %v, want %v", p, have, query)
			}
			seen := s.Decode(Cluster{}, watcher.Snapshot{query: {Presence: watcher.Present, Value: []watcher.Pair{
				{Path: want + "leader", Value: "pg1"}, {Path: want + "members/pg1", Value: `{"conn_url":"postgres://a:1/x","role":"primary","state":"running"}`},
			}}})
			if seen.Leader == nil || seen.Leader.Name != "pg1" || seen.Scope != s.Scope() {
				t.Errorf("below %s there is %+v", want, seen)
			}
		}
	}
}
