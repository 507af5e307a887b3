//go:build record

package record

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

const scope = "batman"

// TestRecordPatroni3 plays the life of a cluster, one file for each scene.
func TestRecordPatroni3(t *testing.T) {
	consul := servertest.Consul(t)
	prefix := "service/" + scope + "/"

	rec := record(t, consul, prefix)
	c := servertest.Patroni(t, consul, 3, servertest.Scope(scope))
	rec.until("all members run", settled("pg1"))
	rec.save("bootstrap")

	rec = record(t, consul, prefix)
	for range 5 {
		writeWAL(t, c.Leader(t))
		before := lastIndex(rec)
		rec.until("heartbeat", func(s State) bool { return s.Index > before })
	}
	rec.until("all members run", settled("pg1"))
	rec.save("steady")

	rec = record(t, consul, prefix)
	c.Switchover(t, c.Member(t, "pg2"))
	rec.until("pg2 leads", settled("pg2"))
	rec.save("switchover")

	rec = record(t, consul, prefix)
	at := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	c.Ctl(t, "switchover", scope, "--leader", "pg2", "--candidate", "pg1", "--scheduled", at, "--force")
	rec.until("switchover is scheduled", func(s State) bool {
		v, _ := s.value(prefix + "failover")
		return strings.Contains(v, "scheduled_at")
	})
	beat(t, c, rec)
	c.Ctl(t, "flush", scope, "switchover", "--force")
	rec.until("switchover is cancelled", func(s State) bool {
		v, _ := s.value(prefix + "failover")
		return !strings.Contains(v, "scheduled_at")
	})
	rec.save("scheduled-cancelled")

	rec = record(t, consul, prefix)
	c.Ctl(t, "pause", scope, "--wait")
	beat(t, c, rec)
	c.Ctl(t, "resume", scope, "--wait")
	beat(t, c, rec)
	rec.save("pause")

	rec = record(t, consul, prefix)
	c.Ctl(t, "edit-config", scope, "--set", "synchronous_mode=true", "--force")
	rec.until("a synchronous standby", func(s State) bool {
		v, _ := s.value(prefix + "sync")
		return strings.Contains(v, `"sync_standby":"pg`) || strings.Contains(v, `"sync_standby": "pg`)
	})
	c.Switchover(t, syncStandby(t, c, rec))
	rec.until("the synchronous standby leads", func(s State) bool {
		leader, _ := s.value(prefix + "leader")
		v, _ := s.value(prefix + "sync")
		return leader != "pg2" && strings.Contains(v, `"leader":"`+leader) && settled(leader)(s)
	})
	c.Ctl(t, "edit-config", scope, "--set", "synchronous_mode=false", "--force")
	beat(t, c, rec)
	rec.save("synchronous")

	standbyCluster(t, consul, c)

	rec = record(t, consul, prefix)
	old := c.Leader(t)
	old.Kill()
	rec.until("the new leader is primary", func(s State) bool {
		leader, ok := s.value(prefix + "leader")
		return ok && leader != old.Name && primary(s.member(scope, leader).Role)
	})
	rec.save("crash")

	rec = record(t, consul, prefix)
	old.Start(t)
	rec.until("the old leader follows", func(s State) bool {
		m := s.member(scope, old.Name)
		return m.Role == "replica" && m.State == "running"
	})
	rec.save("rejoin")
}

// standbyCluster records a cluster that replicates from another one.
func standbyCluster(t *testing.T, consul *servertest.ConsulServer, c *servertest.PatroniCluster) {
	const standby = "robin"
	leader := c.Leader(t)
	rec := record(t, consul, "service/"+standby+"/")
	servertest.Patroni(t, consul, 2, servertest.Scope(standby), servertest.MemberPrefix("dr"),
		servertest.DynamicConfig("standby_cluster", map[string]any{"host": leader.Host, "port": leader.Port}))
	rec.until("standby cluster runs", func(s State) bool {
		a, b := s.member(standby, "dr1"), s.member(standby, "dr2")
		return a.Role == "standby_leader" && a.State == "running" && b.Role == "replica" && b.State == "running"
	})
	rec.save("standby-cluster")
}

// settled is the state in which the leader says that it is one, and all others
// that they are not.
func settled(leader string) func(State) bool {
	return func(s State) bool {
		if v, _ := s.value("service/" + scope + "/leader"); v != leader {
			return false
		}
		for _, name := range []string{"pg1", "pg2", "pg3"} {
			m := s.member(scope, name)
			if m.State != "running" || primary(m.Role) != (name == leader) {
				return false
			}
		}
		return true
	}
}

func primary(role string) bool { return slices.Contains([]string{"master", "primary"}, role) }

// beat records one heartbeat more.
func beat(t *testing.T, c *servertest.PatroniCluster, rec *recorder) {
	t.Helper()
	writeWAL(t, c.Leader(t))
	before := lastIndex(rec)
	rec.until("heartbeat", func(s State) bool { return s.Index > before })
}

func lastIndex(rec *recorder) uint64 {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if len(rec.states) == 0 {
		return 0
	}
	return rec.states[len(rec.states)-1].Index
}

func syncStandby(t *testing.T, c *servertest.PatroniCluster, rec *recorder) *servertest.PatroniMember {
	t.Helper()
	rec.mu.Lock()
	v, _ := rec.states[len(rec.states)-1].value(c.Key("sync"))
	rec.mu.Unlock()
	for _, m := range c.Members {
		if strings.Contains(v, `"sync_standby":"`+m.Name) || strings.Contains(v, `"sync_standby": "`+m.Name) {
			return m
		}
	}
	t.Fatalf("no synchronous standby in %s", v)
	return nil
}

// writeWAL makes the members' positions move.
func writeWAL(t *testing.T, m *servertest.PatroniMember) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), m.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), "SELECT pg_logical_emit_message(false, 'record', repeat('x', 8192))"); err != nil {
		t.Fatal(err)
	}
}
