//go:build record

package record

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

func bootstrap(t *testing.T) {
	consul := servertest.Consul(t)
	rec := record(t, consul, prefix)
	servertest.Patroni(t, consul, 3, servertest.Scope(scope))
	rec.until("all members run", leads("pg1"))
	rec.save("bootstrap")
}

func steady(t *testing.T) {
	s := calm(t)
	for range 5 {
		s.beat()
	}
	s.until("all members run", leads("pg1"))
	s.save("steady")
}

func pause(t *testing.T) {
	s := calm(t)
	s.Ctl(t, "pause", scope, "--wait")
	s.beat()
	s.Ctl(t, "resume", scope, "--wait")
	s.beat()
	s.save("pause")
}

func synchronous(t *testing.T) {
	s := calm(t)
	s.Ctl(t, "edit-config", scope, "--set", "synchronous_mode=true", "--force")
	s.until("a synchronous standby", func(s State) bool { return s.syncStandby() != "" })
	s.Switchover(t, s.Member(t, s.last().syncStandby()))
	s.until("the synchronous standby leads", func(s State) bool {
		leader, _ := s.value(prefix + "leader")
		v, _ := s.value(prefix + "sync")
		return leader != "pg1" && strings.Contains(v, `"leader":"`+leader) && leads(leader)(s)
	})
	s.Ctl(t, "edit-config", scope, "--set", "synchronous_mode=false", "--force")
	s.beat()
	s.save("synchronous")
}

// standbyCluster records a cluster that replicates from another one.
func standbyCluster(t *testing.T) {
	s := calm(t)
	const standby = "robin"
	leader := s.Leader(t)
	rec := record(t, s.consul, "service/"+standby+"/")
	servertest.Patroni(t, s.consul, 2, servertest.Scope(standby), servertest.MemberPrefix("dr"),
		servertest.DynamicConfig("standby_cluster", map[string]any{"host": leader.Host, "port": leader.Port}))
	rec.until("standby cluster runs", func(s State) bool {
		a, b := s.member(standby, "dr1"), s.member(standby, "dr2")
		return a.Role == "standby_leader" && a.State == "running" && b.Role == "replica" && b.State == "running"
	})
	rec.save("standby-cluster")
}

// crash records the end of a leader, and its return as rejoin.
func crash(t *testing.T) {
	s := calm(t)
	old := s.Leader(t)
	old.Kill()
	s.until("the new leader is primary", otherPrimary(old.Name))
	s.save("crash")

	s.fromHere()
	old.Start(t)
	s.until("the old leader follows", func(s State) bool {
		m := s.member(scope, old.Name)
		return m.Role == "replica" && m.State == "running"
	})
	s.save("rejoin")
}

// restart restarts the leader where it is.
func restart(t *testing.T) {
	s := calm(t)
	s.Ctl(t, "restart", scope, "pg1", "--force")
	s.until("pg1 runs", leads("pg1"))
	s.beat()
	s.save("restart")
}

// restartSlow restarts it while a replica keeps it from stopping.
func restartSlow(t *testing.T) {
	s := calm(t)
	thaw := freeze(t, s.Member(t, "pg2"), "walreceiver")
	done := s.ask(s.Leader(t), "/restart", map[string]any{})
	s.until("pg1 stops", func(s State) bool { return s.member(scope, "pg1").State != "running" })
	time.Sleep(2 * time.Second)
	thaw()
	t.Log(<-done)
	s.until("pg1 runs", leads("pg1"))
	s.beat()
	s.save("restart-slow")
}

// reinit makes a replica anew from the leader, which takes a while.
func reinit(t *testing.T) {
	s := calm(t)
	thaw := freeze(t, s.Leader(t), "checkpointer")
	s.Ctl(t, "reinit", scope, "pg3", "--force")
	s.until("pg3 is made anew", func(s State) bool { return s.member(scope, "pg3").State == "creating replica" })
	time.Sleep(2 * time.Second)
	thaw()
	s.until("pg3 runs", leads("pg1"))
	s.beat()
	s.save("reinit")
}

// rebuilt removes a cluster for good and makes another one of the same name.
func rebuilt(t *testing.T) {
	s := calm(t)
	config := configFile(t, s.Members[0])
	var folders []string
	for _, m := range s.Members {
		folders = append(folders, dataFolder(t, m))
	}
	before, _ := s.last().value(prefix + "initialize")
	for _, m := range s.Members {
		m.Kill()
	}
	typed(t, config, scope+"\nYes I am aware\npg1\n", "remove", scope)
	for _, dir := range folders {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	s.until("nothing is left", func(s State) bool { return len(s.Pairs) == 0 })
	for i, m := range s.Members {
		m.Start(t)
		if i == 0 {
			s.until("pg1 leads", holds("pg1"))
		}
	}
	s.until("the new cluster runs", leads("pg1"))
	if now, _ := s.last().value(prefix + "initialize"); now == before {
		t.Errorf("the system identifier is still %s", now)
	}
	s.save("rebuilt")
}
