package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbaton/pgbaton/watcher"
)

// stolonKey is where the recorded clusterdata was.
const stolonKey = "stolon/cluster/demo/clusterdata"

// recordedStolon is a recorded clusterdata, by the beginning of its name.
func recordedStolon(t testing.TB, name string) string {
	t.Helper()
	paths, err := filepath.Glob("testdata/stolon/" + name + "-*.json")
	if err != nil || len(paths) != 1 {
		t.Fatalf("%s: %v, %v", name, paths, err)
	}
	text, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func decodeStolon(text string, before Cluster) Cluster {
	return DecodeStolon("demo", watcher.Pair{Path: stolonKey, Value: text, CreateIndex: 10, ModifyIndex: 20}, before)
}

// edited is a recorded clusterdata in which something is another. The path to it is
// written with slashes; nil takes it away.
func edited(t testing.TB, name string, edits map[string]any) string {
	t.Helper()
	var data map[string]any
	if err := json.Unmarshal([]byte(recordedStolon(t, name)), &data); err != nil {
		t.Fatal(err)
	}
	for path, value := range edits {
		at, steps := data, strings.Split(path, "/")
		for _, step := range steps[:len(steps)-1] {
			next, is := at[step].(map[string]any)
			if !is {
				t.Fatalf("%s has no %s", name, path)
			}
			at = next
		}
		if last := steps[len(steps)-1]; value == nil {
			delete(at, last)
		} else {
			at[last] = value
		}
	}
	text, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRecordedStolon decodes a real failover, moment by moment.
func TestRecordedStolon(t *testing.T) {
	const want = `
00 starting leader=- replicas= members= fenced
02 starting leader=- replicas= members= fenced
05 steady leader=keeper1@127.0.0.1:48601 timeline=1 replicas= members=keeper1:promoted:running key=af75fe57/1
15 steady leader=keeper1@127.0.0.1:48601 timeline=1 replicas= members=keeper1:promoted:running key=af75fe57/1
18 steady leader=keeper1@127.0.0.1:48601 timeline=1 replicas=keeper2 members=keeper1:promoted:running,keeper2:replica:streaming key=af75fe57/1
19 steady leader=keeper1@127.0.0.1:48601 timeline=1 replicas=keeper2,keeper3 members=keeper1:primary:running,keeper2:replica:streaming,keeper3:replica:streaming key=af75fe57/1
20 leaderless leader=keeper1@127.0.0.1:48601 timeline=1 replicas=keeper3 members=keeper1:demoted:unhealthy,keeper2:promoted:running,keeper3:replica:streaming held fenced
21 steady leader=keeper2@127.0.0.1:48602 timeline=1 replicas=keeper3 members=keeper1:demoted:unhealthy,keeper2:promoted:running,keeper3:replica:streaming key=d3efca44/13
22 steady leader=keeper2@127.0.0.1:48602 timeline=2 replicas=keeper3 members=keeper2:promoted:running,keeper3:replica:streaming key=d3efca44/13
23 steady leader=keeper2@127.0.0.1:48602 timeline=2 replicas=keeper3 members=keeper2:promoted:running,keeper3:replica:streaming key=d3efca44/13
25 steady leader=keeper2@127.0.0.1:48602 timeline=2 replicas=keeper1,keeper3 members=keeper1:replica:streaming,keeper2:primary:running,keeper3:replica:streaming key=d3efca44/13`
	var before Cluster
	var baton Baton
	var story strings.Builder
	for i, name := range []string{"00", "02", "05", "15", "18", "19", "20", "21", "22", "23", "25"} {
		seen := decodeStolon(recordedStolon(t, name), before)
		if len(seen.Problems) > 0 {
			t.Errorf("%s: problems %q", name, seen.Problems)
		}
		baton = Next(baton, seen, Policy{}, nil, t0.Add(time.Duration(i)*time.Second))
		before = seen
		fmt.Fprintf(&story, "\n%s %s", name, tell(baton))
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(story.String(), "\n")); diff != "" {
		t.Errorf("the story changed (-want +have):\n%s", diff)
	}
}

// tell is a baton in a line.
func tell(b Baton) string {
	v := b.View()
	s := string(b.Phase) + " leader=-"
	if v.Leader != nil {
		s = fmt.Sprintf("%s leader=%s@%s timeline=%d", b.Phase, v.Leader.Name, v.Leader.Address(), b.Term.Timeline)
	}
	var replicas, members []string
	for _, m := range v.Replicas {
		replicas = append(replicas, m.Name)
	}
	for _, m := range v.Members {
		members = append(members, m.Name+":"+m.Role+":"+m.State)
	}
	s += " replicas=" + strings.Join(replicas, ",") + " members=" + strings.Join(members, ",")
	if k := v.Key; k != (LeaderKey{}) {
		s += fmt.Sprintf(" key=%s/%d", k.Session, k.Created)
	}
	if b.Hold() {
		s += " held"
	}
	if v.Fenced {
		s += " fenced"
	}
	return s
}

// TestStolonRole: by the role in the clusterdata a leader counts once its keeper has done
// what it was told, and goes on to though it is told of another standby then.
func TestStolonRole(t *testing.T) {
	policy := Policy{Confirm: []Way{WayRole}}
	old := decodeStolon(recordedStolon(t, "19"), Cluster{})
	b := Next(Baton{}, old, policy, nil, t0)
	if b.Term.Leader != "keeper1" || b.By != WayRole {
		t.Fatalf("%s leads by %s", b.Term.Leader, b.By)
	}
	told := decodeStolon(edited(t, "19", map[string]any{"dbs/af75fe57/generation": 9}), old)
	if b = Next(b, told, policy, nil, t0); b.Phase != Steady || !told.Same(&old) {
		t.Errorf("told of another standby, the leader is %+v", told.Member("keeper1"))
	}
	before := told
	for _, step := range []struct{ name, leader string }{{"20", "keeper1"}, {"21", "keeper1"}, {"22", "keeper1"}, {"23", "keeper1"}, {"25", "keeper2"}} {
		before = decodeStolon(recordedStolon(t, step.name), before)
		if b = Next(b, before, policy, nil, t0); b.Term.Leader != step.leader || b.Hold() != (step.leader == "keeper1") {
			t.Errorf("%s: %s", step.name, tell(b))
		}
	}
}

// TestStolonFence: nobody is led anywhere while the sentinel waits, whatever the old
// leader says of itself.
func TestStolonFence(t *testing.T) {
	policy := Policy{Confirm: []Way{WaySQL, WayRole}, EarlyHold: true}
	writable := func(name string) Evidence { return said(name, Writable, WaySQL, time.Second) }
	now := t0.Add(2 * time.Second)
	steady := decodeStolon(recordedStolon(t, "19"), Cluster{})
	b := Next(Baton{}, steady, policy, []Evidence{writable("keeper1")}, now)
	fenced := decodeStolon(recordedStolon(t, "20"), steady)
	if b = Next(b, fenced, policy, []Evidence{writable("keeper1"), writable("keeper2")}, now); b.Phase != Leaderless || !b.Hold() || b.Term.Leader != "keeper1" {
		t.Errorf("behind the fence: %s", tell(b))
	}
	// Patroni's leader key may be gone while its leader serves on.
	unfenced := fenced
	unfenced.Fenced = false
	if b := Next(b, unfenced, policy, []Evidence{writable("keeper1")}, now); b.Phase != Steady {
		t.Errorf("without the fence: %s", tell(b))
	}
	open := decodeStolon(recordedStolon(t, "21"), fenced)
	if b = Next(b, open, policy, []Evidence{writable("keeper1"), said("keeper2", ReadOnly, WaySQL, time.Second)}, now); b.Phase != Promoting || !b.Hold() || b.Term.Leader != "keeper1" {
		t.Errorf("before the promotion: %s", tell(b))
	}
	if b.Candidate() == nil || b.Candidate().Name != "keeper2" {
		t.Errorf("%v is asked", b.Candidate())
	}
	promoted := said("keeper2", Writable, WaySQL, 3*time.Second)
	promoted.Timeline, promoted.System = 2, "7710811830329453893"
	if b = Next(b, open, policy, []Evidence{promoted}, t0.Add(4*time.Second)); b.Phase != Steady || b.Hold() || b.Term.Leader != "keeper2" || b.Term.Timeline != 2 || b.Former == nil {
		t.Errorf("after the promotion: %s", tell(b))
	}
	// It is made anew: there is nobody yet.
	anew := decodeStolon(recordedStolon(t, "00"), steady)
	if b := Next(Next(Baton{}, steady, Policy{}, nil, now), anew, policy, []Evidence{writable("keeper1")}, now); b.Phase != Leaderless || !b.Hold() || len(b.Seen.Problems) > 0 {
		t.Errorf("after stolonctl init: %s, problems %q", tell(b), b.Seen.Problems)
	}
	// The same, before anybody was confirmed: there is nobody to hold.
	if b := Next(Baton{}, fenced, policy, nil, now); b.Phase != Starting || b.Hold() || b.Confirmed != nil {
		t.Errorf("at the start, behind the fence: %s", tell(b))
	}
}

// TestStolonGeneration: without a proxy the generation rises each second, which is no
// other term; a lower one is older.
func TestStolonGeneration(t *testing.T) {
	at := func(name string, generation int, before Cluster) Cluster {
		return decodeStolon(edited(t, name, map[string]any{"proxy/generation": generation}), before)
	}
	first := at("05", 3, Cluster{})
	b := Next(Baton{}, first, Policy{}, nil, t0)
	again := at("05", 9, first)
	if next := Next(b, again, Policy{}, nil, t0); !next.Same(b) || again.Key.Created != 3 {
		t.Errorf("a generation that rises makes another term: %+v", next.Term)
	}
	second := at("22", 13, again)
	b = Next(b, second, Policy{}, nil, t0)
	if b.Term.Leader != "keeper2" || b.Term.Created != 13 {
		t.Fatalf("the second term is %+v", b.Term)
	}
	for _, way := range []Way{WayKey, WaySQL, WayRole} {
		restored := at("19", 11, second)
		back := Next(b, restored, Policy{Confirm: []Way{way}}, nil, t0)
		if back.Term.Leader != "keeper2" || back.Refused == "" || !strings.Contains(back.Refused, "index 11") {
			t.Errorf("by %s, from an older clusterdata: %s, refused %q", way, tell(back), back.Refused)
		}
		// Time goes on there, as without a proxy.
		if back = Next(back, at("19", 40, restored), Policy{Confirm: []Way{way}}, nil, t0); back.Term.Leader != "keeper2" || back.Refused == "" {
			t.Errorf("by %s, some seconds later: %s, refused %q", way, tell(back), back.Refused)
		}
	}
}

func TestStolonDetails(t *testing.T) {
	c := decodeStolon(edited(t, "25", map[string]any{
		"cluster/spec/failInterval": nil, "cluster/spec/sleepInterval": "1m30s", "cluster/spec/requestTimeout": "soon",
		"dbs/d3efca44/status/synchronousStandbys": []string{"35c2be63", "elsewhere"},
		"dbs/35c2be63/status/healthy":             false,
		"dbs/47a51230/status/listenAddress":       "fd00::1",
		"keepers/keeper1/status/canBeMaster":      false,
	}), Cluster{})
	if c.TTL != 20*time.Second || c.LoopWait != 90*time.Second || c.RetryTimeout != 10*time.Second {
		t.Errorf("times are %v, %v, %v", c.TTL, c.LoopWait, c.RetryTimeout)
	}
	if text := strings.Join(c.Problems, "\n"); text != stolonKey+": cluster.spec.requestTimeout is no time up to a day, and counts as 10s" {
		t.Errorf("problems are %q", text)
	}
	if m := c.Member("keeper3"); !m.Sync || m.State != "unhealthy" || len(c.SyncStandbys) != 0 || len(c.Replicas) != 1 {
		t.Errorf("keeper3 is %+v, replicas are %v", m, c.Replicas)
	}
	if m := c.Member("keeper1"); m.Address() != "[fd00::1]:48601" || !m.Tag("nofailover") || m.Tag("nosync") || m.Lag != 0 || !m.LagKnown {
		t.Errorf("keeper1 is %+v", m)
	}
	if c.System != "7710811830329453893" || c.Timeline != 2 || c.Leader.LSN != 117440608 || c.Member("keeper2").Tags != nil {
		t.Errorf("the cluster is %+v", c)
	}
	if usual := decodeStolon(recordedStolon(t, "25"), Cluster{}); usual.TTL != 5*time.Second || usual.LoopWait != time.Second || usual.RetryTimeout != 3*time.Second {
		t.Errorf("times are %v, %v, %v", usual.TTL, usual.LoopWait, usual.RetryTimeout)
	}
}

// TestStolonKeeperBegunAnew: while the old db of a keeper is there beside the new one, the
// one that leads is its member, or one that has an address.
func TestStolonKeeperBegunAnew(t *testing.T) {
	var old any
	var data map[string]map[string]any
	_ = json.Unmarshal([]byte(recordedStolon(t, "22")), &data)
	old = data["dbs"]["35c2be63"]
	c := decodeStolon(edited(t, "23", map[string]any{"dbs/00000000": old, "dbs/35c2be63/status": map[string]any{}}), Cluster{})
	if m := c.Member("keeper3"); m == nil || m.Port != 48603 || len(c.Members) != 2 {
		t.Errorf("members are %+v", c.Members)
	}
	c = decodeStolon(edited(t, "23", map[string]any{
		"dbs/00000000": map[string]any{
			"generation": 1, "spec": map[string]any{"keeperUID": "keeper2", "role": "standby"},
			"status": map[string]any{"healthy": true, "listenAddress": "10.9.9.9", "port": "1"},
		},
	}), Cluster{})
	if c.Leader == nil || c.Leader.Port != 48602 {
		t.Errorf("%+v leads", c.Leader)
	}
}

func TestStolonStandbyCluster(t *testing.T) {
	edits := map[string]any{"cluster/spec/role": "standby", "dbs/d3efca44/spec/role": "standby"}
	c := decodeStolon(edited(t, "25", edits), Cluster{})
	if c.Leader != nil || c.StandbyLeader == nil || c.StandbyLeader.Role != "standby_leader" || len(c.Replicas) != 2 {
		t.Errorf("leader %v, standby leader %+v, replicas %v", c.Leader, c.StandbyLeader, c.Replicas)
	}
	b := Next(Baton{}, c, Policy{Confirm: []Way{WayRole}}, nil, t0)
	if v := b.View(); v.StandbyLeader == nil || b.Hold() {
		t.Errorf("by its role: %s", tell(b))
	}
	// It is made a cluster of its own.
	c = decodeStolon(edited(t, "25", map[string]any{"dbs/d3efca44/generation": 6}), c)
	if b = Next(b, c, Policy{Confirm: []Way{WayRole}}, nil, t0); c.Leader.Role != "promoted" || b.Phase != Promoting || b.View().Leader != nil {
		t.Errorf("told to be a primary, and none yet: %s", tell(b))
	}
	c = decodeStolon(recordedStolon(t, "25"), c)
	if b = Next(b, c, Policy{Confirm: []Way{WayRole}}, nil, t0); b.View().Leader == nil || b.Phase != Steady {
		t.Errorf("promoted: %s", tell(b))
	}
}

// TestStolonBroken: what can't be read changes nothing of what can, and nothing of what
// was known; the key is named.
func TestStolonBroken(t *testing.T) {
	before := decodeStolon(recordedStolon(t, "25"), Cluster{})
	for name, c := range map[string]struct {
		text    string
		leader  string
		members int
		fenced  bool
		problem string
	}{
		"no JSON":            {"{", "keeper2", 3, false, "it is no clusterdata"},
		"empty":              {"", "keeper2", 3, false, "it is no clusterdata"},
		"another version":    {edited(t, "20", map[string]any{"formatVersion": 2}), "keeper2", 3, false, "its formatVersion is 2"},
		"no version":         {`{"cluster":{}}`, "keeper2", 3, false, "its formatVersion is 0"},
		"no cluster":         {edited(t, "20", map[string]any{"cluster": nil}), "keeper2", 3, false, "stolonctl init"},
		"no proxy":           {edited(t, "25", map[string]any{"proxy": nil}), "", 3, true, ""},
		"unknown db":         {edited(t, "25", map[string]any{"proxy/spec/masterDbUid": "x"}), "", 3, true, "names db x, which is not there"},
		"a broken db":        {edited(t, "25", map[string]any{"dbs/35c2be63/status/port": 1}), "keeper2", 2, false, "db 35c2be63: it can't be read"},
		"the leader's db":    {edited(t, "25", map[string]any{"dbs/d3efca44": "x"}), "", 2, false, "db d3efca44: it can't be read"},
		"no address":         {edited(t, "25", map[string]any{"dbs/d3efca44/status/listenAddress": "", "dbs/d3efca44/status/port": ""}), "", 2, false, "which has no address"},
		"no port":            {edited(t, "25", map[string]any{"dbs/35c2be63/status/port": ""}), "keeper2", 2, false, "it has no port"},
		"a name too long":    {edited(t, "25", map[string]any{"dbs/35c2be63/spec/keeperUID": strings.Repeat("k", 300)}), "keeper2", 2, false, "longer than 255"},
		"an absurd interval": {edited(t, "25", map[string]any{"cluster/spec/failInterval": "2000000h"}), "keeper2", 3, false, "failInterval is no time up to a day"},
	} {
		t.Run(name, func(t *testing.T) {
			have := decodeStolon(c.text, before)
			leader := ""
			if have.Leader != nil {
				leader = have.Leader.Name
			}
			if leader != c.leader || len(have.Members) != c.members || have.Fenced != c.fenced {
				t.Errorf("leader %q, members %v, fenced %v", leader, have.Members, have.Fenced)
			}
			text := strings.Join(have.Problems, "\n")
			if !strings.Contains(text, c.problem) || (c.problem == "") != (text == "") || c.problem != "" && !strings.HasPrefix(text, stolonKey+": ") {
				t.Errorf("problems are %q, want %q", text, c.problem)
			}
			if b := Next(Next(Baton{}, before, Policy{}, nil, t0), have, Policy{}, nil, t0); b.Term.Leader != "keeper2" || b.Hold() != c.fenced {
				t.Errorf("then: %s", tell(b))
			}
		})
	}
	if c := decodeStolon("{", Cluster{}); c.Scope != "demo" || len(c.Problems) != 1 || c.Fenced {
		t.Errorf("at first: %+v", c)
	}
}

// TestStolonHostileHosts: no host or port gets through that could break out of a line.
func TestStolonHostileHosts(t *testing.T) {
	for _, host := range []string{
		"h\nadmin_users=x", ";reboot", "a b", "h'", `h"`, "{{x}}", "h\x00", "[::1]", "::1]", "::1%\n", "h,evil", "h:1", "*", "$(x)", "h#", "user@h", strings.Repeat("h", 300), "10.0.0.1\u2028x",
	} {
		c := decodeStolon(edited(t, "25", map[string]any{"dbs/35c2be63/status/listenAddress": host}), Cluster{})
		if c.Member("keeper3") != nil || len(c.Problems) != 1 || c.Leader == nil {
			t.Errorf("%q: %+v, problems %q", host, c.Member("keeper3"), c.Problems)
		}
	}
	for _, port := range []string{"0", "65536", "-1", "x", "5432 x", "5432\n", "１"} {
		c := decodeStolon(edited(t, "25", map[string]any{"dbs/35c2be63/status/port": port}), Cluster{})
		if c.Member("keeper3") != nil || len(c.Problems) != 1 {
			t.Errorf("port %q: %+v, problems %q", port, c.Member("keeper3"), c.Problems)
		}
	}
}

func TestStolonKey(t *testing.T) {
	for want, s := range map[string]Stolon{
		"stolon/cluster/main/clusterdata": {},
		"stolon/cluster/demo/clusterdata": {ClusterName: "demo"},
		"other/main/clusterdata":          {Prefix: "other/"},
	} {
		source, err := s.Source(Place{Name: "main", Store: "dcs", Root: "/"})
		if err != nil {
			t.Fatal(err)
		}
		query := watcher.Query{Store: "dcs", Kind: watcher.Key, Path: want}
		if have := source.Queries(nil); len(have) != 1 || have[0] != query {
			t.Errorf("%+v reads %v, want %v", s, have, query)
		}
		known := watcher.Snapshot{query: {Presence: watcher.Present, Value: watcher.Pair{Path: want, Value: recordedStolon(t, "25")}}}
		if seen := source.Decode(Cluster{}, known); seen.Leader == nil || seen.Leader.Name != "keeper2" || seen.Scope != source.Scope() {
			t.Errorf("%s: %+v", want, seen)
		}
		if seen := source.Decode(Cluster{}, watcher.Snapshot{query: {Presence: watcher.Absent}}); !seen.nothing() || seen.Fenced {
			t.Errorf("%s, absent: %+v", want, seen)
		}
	}
}
