package patroni

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// saying is the answer of a member of three, at 10.0.0.N:8008, that says who leads. Its
// view names the others.
func saying(t testing.TB, n int, leader string, role string) answer {
	t.Helper()
	var members []string
	for i := 1; i <= 3; i++ {
		as := "replica"
		if leader == fmt.Sprint("pg", i) {
			as = "leader"
		}
		members = append(members, fmt.Sprintf(`{"name":"pg%d","role":%q,"state":"running","api_url":"http://10.0.0.%[1]d:8008/patroni","host":"10.0.0.%[1]d","port":5432,"timeline":4,"lag":16}`, i, as))
	}
	v, err := decodeView([]byte(`{"members":[` + strings.Join(members, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	a := answer{base: fmt.Sprintf("http://10.0.0.%d:8008", n), remote: fmt.Sprintf("10.0.0.%d:8008", n), view: v}
	if role != "" {
		a.live = ofItself(t, role, 4)
	}
	return a
}

func ofItself(t testing.TB, role string, timeline int) *live {
	t.Helper()
	at := `"received_location":1000,"replayed_location":1000`
	if role == "primary" {
		at = `"location":2000`
	}
	l, err := decodeLive(fmt.Appendf(nil, `{"state":"running","role":%q,"timeline":%d,"database_system_identifier":"7000000000000000001","xlog":{%s},"patroni":{"version":"3.0.2","scope":"batman"}}`, role, timeline, at))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTally(t *testing.T) {
	away := func(n int) answer {
		return answer{base: fmt.Sprintf("http://10.0.0.%d:8008", n), err: errors.New("no answer within 1s")}
	}
	old := func(a answer) answer { a.age = 31 * time.Second; return a }
	other := func(a answer) answer { a.live.Patroni.Scope = "robin"; return a }
	alias := func(a answer) answer { a.base = "http://db.example.net:8008"; return a }
	for name, c := range map[string]struct {
		answers []answer
		leader  string
		failure string // a part of the error; "" is none
	}{
		"all agree":                       {[]answer{saying(t, 1, "pg1", "primary"), saying(t, 2, "pg1", "replica"), saying(t, 3, "pg1", "replica")}, "pg1", ""},
		"two against one":                 {[]answer{saying(t, 1, "pg1", "primary"), saying(t, 2, "pg2", "primary"), saying(t, 3, "pg2", "replica")}, "pg2", ""},
		"nobody leads, as most say":       {[]answer{saying(t, 1, "pg1", "primary"), saying(t, 2, "", "replica"), saying(t, 3, "", "replica")}, "", ""},
		"one of them is away":             {[]answer{away(1), saying(t, 2, "pg2", "primary"), saying(t, 3, "pg2", "replica")}, "pg2", ""},
		"a tie":                           {[]answer{away(3), saying(t, 1, "pg1", "primary"), saying(t, 2, "pg2", "primary")}, "", "http://10.0.0.1:8008 says pg1; http://10.0.0.2:8008 says pg2"},
		"three of three minds":            {[]answer{saying(t, 1, "pg1", "primary"), saying(t, 2, "pg2", "replica"), saying(t, 3, "", "replica")}, "", "do not agree"},
		"one alone":                       {[]answer{saying(t, 1, "pg1", "primary"), away(2), away(3)}, "", "only 1 of 3 members say who leads"},
		"nobody":                          {[]answer{away(1), away(2), away(3)}, "", "no member says who leads: http://10.0.0.1:8008: no answer within 1s"},
		"an old view does not count":      {[]answer{old(saying(t, 1, "pg1", "primary")), saying(t, 2, "pg2", "primary"), away(3)}, "", "only 1 of 3"},
		"two old views do not win":        {[]answer{old(saying(t, 1, "pg1", "primary")), old(saying(t, 3, "pg1", "replica")), saying(t, 2, "pg2", "primary")}, "", "has not heard of its store for 31s"},
		"another cluster does not count":  {[]answer{other(saying(t, 1, "pg9", "primary")), saying(t, 2, "pg2", "primary"), saying(t, 3, "pg2", "replica")}, "pg2", ""},
		"at two addresses it counts once": {[]answer{alias(saying(t, 1, "pg1", "primary")), saying(t, 1, "pg1", "primary"), saying(t, 2, "pg2", "primary"), saying(t, 3, "pg2", "replica")}, "pg2", ""},
		"it tells nothing of itself":      {[]answer{saying(t, 1, "pg1", ""), saying(t, 2, "pg1", "replica"), saying(t, 3, "pg1", "replica")}, "pg1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tally(c.answers, 0)
			switch {
			case c.failure == "" && err != nil:
				t.Fatalf("error %v", err)
			case c.failure != "" && (err == nil || !strings.Contains(err.Error(), c.failure) || hint.Of(err) == ""):
				t.Fatalf("error %v, hint %q; want %q", err, hint.Of(err), c.failure)
			case c.failure == "" && (got.view.leader != c.leader || got.scope != "batman"):
				t.Errorf("leader %q of scope %q, want %q", got.view.leader, got.scope, c.leader)
			}
		})
	}
}

// TestReigns: the timeline of the leader key rises with each promotion, once.
func TestReigns(t *testing.T) {
	now := time.Unix(1e9, 0)
	k := &known{}
	step := func(what string, want uint64, role string, answers ...answer) {
		t.Helper()
		now = now.Add(time.Second)
		c, err := tally(answers, 0)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		k.learn(c, now)
		got := cluster.DecodePatroni("batman", "", k.keys(c.view))
		if got.Key.Created != want || got.Key.Name != c.view.leader || len(got.Problems) > 0 || got.Leader == nil || got.Leader.Role != role || got.System != "7000000000000000001" {
			t.Errorf("%s: key %+v, want created %d; leader %+v, want role %q; problems %v", what, got.Key, want, got.Leader, role, got.Problems)
		}
	}
	two := func(n, leader int, role string) answer { return saying(t, n, fmt.Sprint("pg", leader), role) }
	promoted := two(2, 2, "primary")
	promoted.live = ofItself(t, "primary", 5)
	step("pg1 leads", 4, "primary", two(1, 1, "primary"), two(2, 1, "replica"), two(3, 1, "replica"))
	step("its REST server hangs", 4, "primary", two(2, 1, "replica"), two(3, 1, "replica"))
	step("pg2 is named, and not yet promoted", 5, "replica", two(2, 2, "replica"), two(3, 2, "replica"))
	step("pg2 is promoted", 5, "primary", promoted, two(3, 2, "replica"))
	now = now.Add(time.Minute) // what it said of itself is forgotten, that it was promoted is not
	step("its REST server hangs, for long", 5, "primary", two(1, 2, "replica"), two(3, 2, "replica"))
	step("pg3 is named, and tells nothing of itself", 6, "replica", two(1, 3, "replica"), two(3, 3, ""))
}

// TestKeys: what comes out is what Patroni would have in its store.
func TestKeys(t *testing.T) {
	view, err := decodeView([]byte(`{"members":[
		{"name":"pg1","role":"leader","state":"running","api_url":"https://10.0.0.1:8008/patroni","host":"10.0.0.1","port":5432,"timeline":4},
		{"name":"pg2","role":"sync_standby","state":"streaming","api_url":"https://[fd00::2]:8008/patroni","host":"fd00::2","port":5433,"timeline":4,"lag":16,"tags":{"nofailover":true}},
		{"name":"pg3","role":"replica","state":"stopped","api_url":"","lag":"unknown"},
		{"name":"pg4","role":"replica","state":"running","host":"evil\nhost = 6.6.6.6","port":5432,"lag":0},
		{"name":"pg5","role":"replica","state":"running","host":"u@6.6.6.6","port":"1/x","lag":0}],
		"pause":true,"scheduled_switchover":{"at":"2026-11-26T10:00:00+00:00","from":"pg1","to":"pg2"}}`))
	if err != nil {
		t.Fatal(err)
	}
	k := &known{}
	leader := answer{base: "https://10.0.0.1:8008", view: view, live: ofItself(t, "primary", 4), config: `{"ttl":20,"loop_wait":5,"pause":false}`}
	c, err := tally([]answer{leader, {base: "https://[fd00::2]:8008", remote: "[fd00::2]:8008", view: view}, {base: "http://b", remote: "c", view: view}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	k.learn(c, time.Now())
	pairs, err := contents{"batman", k.keys(c.view)}.below(prefixQuery("service/batman/"))
	if err != nil {
		t.Fatal(err)
	}
	got := cluster.DecodePatroni("batman", "service/batman/", pairs)
	if got.Leader == nil || got.Leader.Address() != "10.0.0.1:5432" || got.Leader.LSN != 2000 || got.TTL != 20*time.Second || !got.Paused || got.Timeline != 4 {
		t.Errorf("cluster %+v, leader %+v", got, got.Leader)
	}
	if f := got.Failover; f == nil || f.Leader != "pg1" || f.Member != "pg2" || f.ScheduledAt.Hour() != 10 {
		t.Errorf("failover %+v", f)
	}
	m := got.Member("pg2")
	if m == nil || m.Address() != "[fd00::2]:5433" || !m.Sync || !m.Tag("nofailover") || m.LSN != 1984 || m.Lag != 16 || !m.Running() || len(got.SyncStandbys) != 1 {
		t.Errorf("pg2 is %+v", m)
	}
	if m := got.Member("pg3"); m == nil || m.Host != "" || m.Running() {
		t.Errorf("pg3 is %+v", m)
	}
	if got.Member("pg4") != nil || got.Member("pg5") != nil || len(got.Problems) != 2 {
		t.Errorf("bad hosts got through: %+v, problems %q", got.Members, got.Problems)
	}
	for _, p := range got.Problems {
		if !strings.HasPrefix(p, "service/batman/members/pg") {
			t.Errorf("problem %q names no key", p)
		}
	}
}

// TestBase: a path means a scope, wherever the namespace is.
func TestBase(t *testing.T) {
	for path, want := range map[string]string{
		"service/batman/":               "service/batman/",
		"/service/batman/":              "/service/batman/",
		"batman/leader":                 "batman/",
		"a/b/batman/members/pg1":        "a/b/batman/",
		"batman/batman/":                "batman/batman/",
		"service/batman/members/batman": "service/batman/",
		"service/batman/0/":             "service/batman/0/",
		"service/batman/2/leader":       "service/batman/2/",
		"service/batman/none":           "service/batman/",
		"service/robin/":                "",
		"service/batman":                "",
		"service/batman-2/":             "",
		"":                              "",
	} {
		if base, found := (contents{scope: "batman"}).base(path); base != want || found != (want != "") {
			t.Errorf("%s: %q, %v, want %q", path, base, found, want)
		}
	}
	if base, found := (contents{scope: "42"}).base("service/42/leader"); !found || base != "service/42/" {
		t.Errorf("a scope that is a number: %q, %v", base, found)
	}
}

func TestBadViews(t *testing.T) {
	many := `{"members":[` + strings.Join(slices.Repeat([]string{`{}`}, maxMembers+1), ",") + `]}`
	for want, body := range map[string]string{
		"no JSON object":          `<html>`,
		"of the kind":             `{"members":[{"name":1}]}`,
		"it has no members":       `{}`,
		"more than 100":           many,
		"two leaders":             `{"members":[{"name":"a","role":"leader"},{"name":"b","role":"leader"}]}`,
		`member "a" twice`:        `{"members":[{"name":"a"},{"name":"a"}]}`,
		"a member's name is none": `{"members":[{"name":"a/../leader"}]}`,
	} {
		if _, err := decodeView([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: error %v, want %q", body, err, want)
		}
	}
	if _, err := readAll(strings.NewReader(strings.Repeat(" ", maxAnswer+1))); err == nil {
		t.Error("a huge answer was read")
	}
}
