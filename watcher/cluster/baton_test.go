package cluster

import (
	"strings"
	"testing"
	"time"
)

var t0 = time.Unix(1_700_000_000, 0)

// scene is a cluster of three that the test arranges.
type scene struct {
	leader   string // whom the key names; "" is no key
	session  string
	created  uint64
	system   string
	failover *Failover
	paused   bool
	failsafe bool
	standby  bool
	roles    map[string]string // replica for those not named
	timeline map[string]uint64 // of the keys
}

func (s scene) cluster() Cluster {
	c := Cluster{Scope: "batman", System: s.system, Failover: s.failover, Paused: s.paused, Failsafe: s.failsafe, Standby: s.standby}
	for i, name := range []string{"pg1", "pg2", "pg3"} {
		host := []string{"a", "b", "c"}[i]
		role := s.roles[name]
		if role == "" {
			role = "replica"
		}
		c.Members = append(c.Members, Member{
			Name: name, Host: host, Port: 5432, Endpoints: []Endpoint{{host, 5432}}, Role: role, State: "running", Timeline: s.timeline[name],
		})
	}
	if s.leader != "" {
		c.Key = LeaderKey{Name: s.leader, Session: s.session, Created: s.created}
	}
	c.arrange(c.Member(s.leader), nil)
	return c
}

// said is evidence of a look that began d after t0.
func said(member string, v Verdict, way Way, d time.Duration) Evidence {
	return Evidence{Member: member, Verdict: v, Way: way, At: t0.Add(d)}
}

var asking = Policy{Confirm: []Way{WayAPI, WaySQL, WayRole}, EarlyHold: true}

// step is one Next of a story.
type step struct {
	at      time.Duration
	scene   scene
	ev      []Evidence
	leader  string // confirmed
	phase   Phase
	hold    bool
	refused string // part of it
	alarm   string // part of it
}

func TestNext(t *testing.T) {
	const s = time.Second
	pg1 := scene{leader: "pg1", session: "s1", created: 10, system: "77", roles: map[string]string{"pg1": "primary"}}
	with := func(sc scene, change func(*scene)) scene {
		change(&sc)
		return sc
	}
	noKey := with(pg1, func(sc *scene) { sc.leader = "" })
	asked := with(pg1, func(sc *scene) { sc.failover = &Failover{Leader: "pg1", Member: "pg2"} })
	pg2 := scene{leader: "pg2", session: "s2", created: 20, system: "77"}
	first := step{0, pg1, nil, "pg1", Steady, false, "", ""}

	stories := map[string]struct {
		policy Policy
		steps  []step
	}{
		"the key alone comes too early": {asking, []step{
			first,
			{1 * s, pg2, nil, "pg1", Promoting, true, "", ""},
			{2 * s, pg2, []Evidence{said("pg2", ReadOnly, WaySQL, 1500*time.Millisecond)}, "pg1", Promoting, true, "", ""},
			{3 * s, pg2, []Evidence{said("pg2", Writable, WaySQL, 2500*time.Millisecond)}, "pg2", Steady, false, "", ""},
		}},
		"evidence from before the key named it is of another time": {asking, []step{
			first,
			{5 * s, pg2, []Evidence{said("pg2", Writable, WayAPI, 4*s)}, "pg1", Promoting, true, "", ""},
			{6 * s, pg2, []Evidence{said("pg2", Writable, WayAPI, 5*s)}, "pg2", Steady, false, "", ""},
		}},
		"a role that the server itself denies": {asking, []step{
			first,
			{1 * s, with(pg2, func(sc *scene) { sc.roles = map[string]string{"pg2": "primary"} }), []Evidence{said("pg2", ReadOnly, WaySQL, 1*s)}, "pg1", Promoting, true, "", ""},
		}},
		"a way that is not trusted counts for nothing": {Policy{Confirm: []Way{WayAPI}}, []step{
			{0, pg1, nil, "", Promoting, false, "", ""},
			{1 * s, pg1, []Evidence{said("pg1", Writable, WaySQL, 1*s)}, "", Promoting, false, "", ""},
			{2 * s, pg1, []Evidence{said("pg1", Writable, WaySQL, 1*s), said("pg1", Writable, WayAPI, 2*s)}, "pg1", Steady, false, "", ""},
		}},
		"an unclear look hides no clear one": {asking, []step{
			first,
			{1 * s, pg2, nil, "pg1", Promoting, true, "", ""},
			{2 * s, pg2, []Evidence{said("pg2", Writable, WayAPI, 1*s), said("pg2", Unclear, WaySQL, 2*s)}, "pg2", Steady, false, "", ""},
		}},
		"none trusts the key": {Policy{Confirm: []Way{WayKey}}, []step{
			first, {1 * s, pg2, nil, "pg2", Steady, false, "", ""},
		}},
		"a switchover that is asked for, and called off": {asking, []step{
			first,
			{1 * s, asked, nil, "pg1", Switching, true, "", ""},
			{2 * s, pg1, nil, "pg1", Steady, false, "", ""},
		}},
		"a switchover to the leader itself concerns nobody": {asking, []step{
			first,
			{1 * s, with(pg1, func(sc *scene) { sc.failover = &Failover{Member: "pg1"} }), nil, "pg1", Steady, false, "", ""},
		}},
		"a scheduled switchover holds a second before its time": {asking, []step{
			first,
			{1 * s, with(pg1, func(sc *scene) { sc.failover = &Failover{Member: "pg2", ScheduledAt: t0.Add(10 * s)} }), nil, "pg1", Steady, false, "", ""},
			{9 * s, with(pg1, func(sc *scene) { sc.failover = &Failover{Member: "pg2", ScheduledAt: t0.Add(10 * s)} }), nil, "pg1", Switching, true, "", ""},
		}},
		"a crash holds early, and not again soon": {asking, []step{
			first,
			{1 * s, pg1, []Evidence{said("pg1", Gone, WaySQL, 1*s)}, "pg1", Lost, true, "", ""},
			{2 * s, pg1, []Evidence{said("pg1", Writable, WaySQL, 2*s)}, "pg1", Steady, false, "", ""},
			{3 * s, pg1, []Evidence{said("pg1", Silent, WaySQL, 3*s)}, "pg1", Lost, false, "", ""},
			{4 * s, pg1, []Evidence{said("pg1", Writable, WaySQL, 4*s)}, "pg1", Steady, false, "", ""},
			{601 * s, pg1, []Evidence{said("pg1", Gone, WaySQL, 601*s)}, "pg1", Lost, false, "", ""},
			{602 * s, pg1, []Evidence{said("pg1", Writable, WaySQL, 602*s)}, "pg1", Steady, false, "", ""},
			// Ten minutes later a crash is a crash.
			{1203 * s, pg1, []Evidence{said("pg1", Gone, WaySQL, 1203*s)}, "pg1", Lost, true, "", ""},
		}},
		"a new term is a new start": {asking, []step{
			first,
			{1 * s, pg1, []Evidence{said("pg1", Gone, WaySQL, 1*s)}, "pg1", Lost, true, "", ""},
			{2 * s, pg1, []Evidence{said("pg1", Writable, WaySQL, 2*s)}, "pg1", Steady, false, "", ""},
			{4 * s, with(pg1, func(sc *scene) { sc.session, sc.created = "s9", 15 }), []Evidence{said("pg1", Writable, WaySQL, 4*s)}, "pg1", Steady, false, "", ""},
			{5 * s, with(pg1, func(sc *scene) { sc.session, sc.created = "s9", 15 }), []Evidence{said("pg1", Gone, WaySQL, 5*s)}, "pg1", Lost, true, "", ""},
		}},
		"no early hold if it is not wanted": {Policy{Confirm: asking.Confirm}, []step{
			first,
			{1 * s, pg1, []Evidence{said("pg1", Gone, WaySQL, 1*s)}, "pg1", Lost, false, "", ""},
			{2 * s, noKey, []Evidence{said("pg1", Gone, WaySQL, 2*s)}, "pg1", Leaderless, true, "", ""},
		}},
		"no key, and it takes writes: Patroni is away": {asking, []step{
			first,
			{1 * s, noKey, []Evidence{said("pg1", Writable, WaySQL, 1*s)}, "pg1", Steady, false, "", ""},
			{2 * s, noKey, []Evidence{said("pg1", ReadOnly, WaySQL, 2*s)}, "pg1", Leaderless, true, "", ""},
		}},
		"no key in maintenance, and nobody to ask": {asking, []step{
			first,
			{1 * s, with(noKey, func(sc *scene) { sc.paused = true }), nil, "pg1", Steady, false, "", ""},
			{2 * s, with(noKey, func(sc *scene) { sc.failsafe = true }), nil, "pg1", Steady, false, "", ""},
			{3 * s, noKey, nil, "pg1", Leaderless, true, "", ""},
		}},
		"evidence from before a long sleep says nothing": {asking, []step{
			first,
			{60 * s, pg1, []Evidence{said("pg1", Gone, WaySQL, 1*s)}, "pg1", Steady, false, "", ""},
		}},
		"a flap: the same leader under a new session": {asking, []step{
			first,
			{5 * s, with(pg1, func(sc *scene) { sc.session, sc.created, sc.roles = "s9", 15, nil }), []Evidence{said("pg1", Writable, WaySQL, 4*s)}, "pg1", Steady, false, "", ""},
		}},
		"an older key is refused, and nothing is held for it": {asking, []step{
			{0, with(pg2, func(sc *scene) {
				sc.roles = map[string]string{"pg2": "primary"}
				sc.timeline = map[string]uint64{"pg2": 5}
			}), nil, "pg2", Steady, false, "", ""},
			{1 * s, with(pg1, func(sc *scene) { sc.timeline = map[string]uint64{"pg1": 4} }), nil, "pg2", Steady, false, "older than pg2 on timeline 5", ""},
		}},
		"an older key is believed of a server that takes writes on as high a timeline": {asking, []step{
			{0, with(pg2, func(sc *scene) {
				sc.roles = map[string]string{"pg2": "primary"}
				sc.timeline = map[string]uint64{"pg2": 5}
			}), nil, "pg2", Steady, false, "", ""},
			{1 * s, with(pg1, func(sc *scene) { sc.roles = nil }), nil, "pg2", Steady, false, "older than pg2", ""},
			{2 * s, with(pg1, func(sc *scene) { sc.roles = nil }), []Evidence{{Member: "pg1", Verdict: Writable, Way: WaySQL, Timeline: 6, At: t0.Add(2 * s)}}, "pg1", Steady, false, "", ""},
		}},
		"a rebuilt cluster has no past": {asking, []step{
			{0, with(pg2, func(sc *scene) { sc.roles = map[string]string{"pg2": "primary"} }), nil, "pg2", Steady, false, "", ""},
			{1 * s, with(pg1, func(sc *scene) { sc.system = "88" }), nil, "pg1", Steady, false, "", ""},
		}},
		"another cluster's server at the address": {asking, []step{
			first,
			{1 * s, pg2, nil, "pg1", Promoting, true, "", ""},
			{2 * s, pg2, []Evidence{{Member: "pg2", Verdict: Writable, Way: WaySQL, System: "99", At: t0.Add(2 * s)}}, "pg1", Steady, false, "answers for system 99", ""},
		}},
		"two that take writes": {asking, []step{
			first,
			{1 * s, pg2, nil, "pg1", Promoting, true, "", ""},
			{2 * s, pg2, []Evidence{said("pg2", Writable, WayAPI, 2*s), said("pg1", Writable, WaySQL, 1*s)}, "pg2", Steady, false, "", ""},
			{3 * s, pg2, []Evidence{said("pg1", Writable, WayAPI, 3*s)}, "pg2", Steady, false, "", "pg1 takes writes beside the leader pg2"},
			{4 * s, pg2, []Evidence{said("pg1", ReadOnly, WayAPI, 4*s)}, "pg2", Steady, false, "", ""},
		}},
		"a standby cluster takes no writes, and is held for nothing": {asking, []step{
			{0, with(pg1, func(sc *scene) { sc.standby, sc.roles = true, map[string]string{"pg1": "standby_leader"} }), nil, "pg1", Steady, false, "", ""},
			{1 * s, with(noKey, func(sc *scene) { sc.standby = true }), nil, "pg1", Leaderless, false, "", ""},
			// It is promoted: the same key, and it has to be seen to take writes.
			{2 * s, with(pg1, func(sc *scene) { sc.roles = map[string]string{"pg1": "standby_leader"} }), nil, "pg1", Promoting, false, "", ""},
			{3 * s, with(pg1, func(sc *scene) { sc.roles = map[string]string{"pg1": "standby_leader"} }), []Evidence{said("pg1", Writable, WayAPI, 3*s)}, "pg1", Steady, false, "", ""},
		}},
		"the leader moves twice before anybody is confirmed": {asking, []step{
			first,
			{1 * s, pg2, nil, "pg1", Promoting, true, "", ""},
			{2 * s, scene{leader: "pg3", session: "s3", created: 30, system: "77"}, []Evidence{said("pg2", Writable, WayAPI, 2*s)}, "pg1", Promoting, true, "", ""},
			{3 * s, scene{leader: "pg3", session: "s3", created: 30, system: "77"}, []Evidence{said("pg3", Writable, WayAPI, 3*s)}, "pg3", Steady, false, "", ""},
		}},
	}
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			var b Baton
			for i, st := range story.steps {
				b = Next(b, st.scene.cluster(), story.policy, st.ev, t0.Add(st.at))
				leader := ""
				if b.Confirmed != nil {
					leader = b.Confirmed.Name
				}
				if leader != st.leader || b.Phase != st.phase || b.Hold() != st.hold {
					t.Fatalf("step %d: leader %q, %s, hold %v; want %q, %s, hold %v (refused %q)", i, leader, b.Phase, b.Hold(), st.leader, st.phase, st.hold, b.Refused)
				}
				if (b.Refused == "") != (st.refused == "") || !strings.Contains(b.Refused, st.refused) {
					t.Errorf("step %d: refused %q, want %q", i, b.Refused, st.refused)
				}
				if (b.Alarm == "") != (st.alarm == "") || !strings.Contains(b.Alarm, st.alarm) {
					t.Errorf("step %d: alarm %q, want %q", i, b.Alarm, st.alarm)
				}
			}
		})
	}
}

// The standby leader is in no view the one who takes writes.
func TestStandbyLeaderIsNoLeader(t *testing.T) {
	sc := scene{leader: "pg1", session: "s1", created: 10, system: "77", standby: true, roles: map[string]string{"pg1": "standby_leader"}}
	b := Next(Baton{}, sc.cluster(), asking, []Evidence{said("pg1", Writable, WaySQL, 0)}, t0)
	if v := b.View(); v.Leader != nil || v.StandbyLeader == nil || v.StandbyLeader.Name != "pg1" {
		t.Errorf("leader %v, standby leader %v", v.Leader, v.StandbyLeader)
	}
	sc.standby = false // promoted, and still in recovery as far as anybody knows
	b = Next(b, sc.cluster(), asking, nil, t0.Add(time.Second))
	if v := b.View(); v.Leader != nil {
		t.Errorf("it leads before it was seen to take writes: %v", v.Leader)
	}
}

func TestWake(t *testing.T) {
	sc := scene{leader: "pg1", session: "s1", created: 10, roles: map[string]string{"pg1": "primary"}, failover: &Failover{Member: "pg2", ScheduledAt: t0.Add(time.Minute)}}
	b := Next(Baton{}, sc.cluster(), asking, nil, t0)
	if at := b.Wake(t0); !at.Equal(t0.Add(59 * time.Second)) {
		t.Errorf("wakes at %v", at)
	}
	b.Alarm = "two"
	if at := b.Wake(t0); !at.Equal(t0.Add(fresh / 2)) {
		t.Errorf("with an alarm it wakes at %v", at)
	}
	b.Alarm = ""
	if at := b.Wake(t0.Add(2 * time.Minute)); !at.IsZero() {
		t.Errorf("wakes at %v for what is past", at)
	}
}

// Who led when pgbaton ran last is who led before, until the same one leads again.
func TestWhoLedBeforeARestart(t *testing.T) {
	member := func(name string, port int) Member { return Member{Name: name, Host: "10.0.0.1", Port: port} }
	before := member("pg1", 5001)
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for leader, former := range map[string]string{"pg1": "", "pg2": "pg1"} {
		named := member(leader, 5002)
		seen := Cluster{Leader: &named, Members: []Member{named}, Key: LeaderKey{Name: leader, Created: 20}}
		start := Baton{Before: &before, Term: Term{Leader: "pg1", Created: 10}, Phase: Starting}
		b := Next(start, seen, Policy{Confirm: []Way{WayKey}}, nil, now)
		got := ""
		if b.Former != nil {
			got = b.Former.Name
		}
		if b.Confirmed == nil || b.Confirmed.Name != leader || got != former || b.Before != nil {
			t.Errorf("%s leads: confirmed %+v, former %q, before %v", leader, b.Confirmed, got, b.Before)
		}
	}
}
