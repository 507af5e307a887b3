//go:build record

package record

import (
	"testing"
	"time"
)

func switchover(t *testing.T) {
	s := calm(t)
	s.Switchover(t, s.Member(t, "pg2"))
	s.until("pg2 leads", leads("pg2"))
	s.save("switchover")
}

// failover asks for a certain leader while the old one is well.
func failover(t *testing.T) {
	s := calm(t)
	t.Log(s.Ctl(t, "failover", scope, "--candidate", "pg2", "--force"))
	s.until("pg2 leads", leads("pg2"))
	s.save("failover")
}

// failoverLeaderless asks for a leader and does not say whom it follows.
func failoverLeaderless(t *testing.T) {
	s := calm(t)
	if text, err := post(t.Context(), s.Leader(t), "/failover", map[string]any{"candidate": "pg2"}); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	s.until("pg2 leads", leads("pg2"))
	s.save("failover-leaderless")
}

func scheduled(t *testing.T) {
	s := calm(t)
	s.schedule(time.Now().Add(6 * time.Second))
	s.until("pg2 leads", leads("pg2"))
	s.save("scheduled")
}

func scheduledCancelled(t *testing.T) {
	s := calm(t)
	s.schedule(time.Now().Add(time.Hour))
	s.until("switchover is scheduled", func(s State) bool { return s.asks("scheduled_at") })
	s.beat()
	s.Ctl(t, "flush", scope, "switchover", "--force")
	s.until("switchover is cancelled", func(s State) bool { return !s.asks("scheduled_at") })
	s.save("scheduled-cancelled")
}

func (s *scene) schedule(at time.Time) {
	s.t.Helper()
	s.Ctl(s.t, "switchover", scope, "--leader", "pg1", "--candidate", "pg2",
		"--scheduled", at.UTC().Format(time.RFC3339), "--force")
}

// calledOff asks for a candidate that turns out to be too far behind.
func calledOff(t *testing.T) {
	s := calm(t)
	thaw := freeze(t, s.Member(t, "pg2"), "walreceiver") // from now on it lags
	for range 8 {
		writeWAL(t, s.Leader(t), 1<<20)
	}
	s.beat()
	s.beat()
	t.Log(s.Ctl(t, "switchover", scope, "--leader", "pg1", "--candidate", "pg2", "--force"))
	s.until("switchover is called off", func(s State) bool { return !s.asks("pg2") })
	thaw()
	s.beat()
	s.save("called-off")
}

// otherCandidate loses the candidate when the old leader has stepped down for
// it.
func otherCandidate(t *testing.T) {
	s := calm(t)
	candidate := s.Member(t, "pg2")
	answer := s.askSwitchover("pg1", "pg2")
	s.until("pg1 stops", func(s State) bool { return s.member(scope, "pg1").State == "stopping" || vacant(s) })
	candidate.FreezePatroni(t)
	s.until("pg3 leads", func(s State) bool { return holds("pg3")(s) && primary(s.member(scope, "pg3").Role) })
	candidate.Thaw(t)
	s.until("pg3 leads all", leads("pg3"))
	t.Log(<-answer)
	s.save("other-candidate")
}

// failedPromotion has a candidate that takes the key and cannot promote, and
// another member that can.
func failedPromotion(t *testing.T) {
	s := calm(t)
	s.unfit("pg2")
	s.askSwitchover("pg1", "pg2")
	s.until("pg2 holds the key", holds("pg2"))
	s.until("another leads", func(s State) bool { return !holds("pg2")(s) && anyLeads(s) })
	s.beat()
	s.save("failed-promotion")
}

// failedPromotionBack has none but the old leader to fall back on.
func failedPromotionBack(t *testing.T) {
	s := calm(t)
	s.unfit("pg2")
	s.nofailover("pg3")
	s.askSwitchover("pg1", "pg2")
	s.until("pg2 holds the key", holds("pg2"))
	s.until("pg1 leads again", leads("pg1"))
	s.beat()
	s.save("failed-promotion-back")
}

// unfit makes a member fail whenever it is to be promoted.
func (s *scene) unfit(name string) {
	s.t.Helper()
	configure(s.t, s.Member(s.t, name), func(config map[string]any) {
		config["postgresql"].(map[string]any)["pre_promote"] = "/bin/false"
	})
	s.beat()
	s.beat() // by now it has read its configuration
}

// twice moves the leader on as soon as it has moved.
func twice(t *testing.T) {
	s := calm(t)
	s.askSwitchover("pg1", "pg2")
	s.until("pg2 holds the key", holds("pg2"))
	first := time.Now()
	answer := s.askSwitchover("pg2", "pg3")
	s.until("pg3 holds the key", holds("pg3"))
	t.Logf("the leader moved a second time after %v", time.Since(first))
	t.Log(<-answer)
	s.until("pg3 leads", leads("pg3"))
	s.save("twice")
}

// twiceCrashed loses the new leader as soon as it has promoted.
func twiceCrashed(t *testing.T) {
	s := calm(t)
	s.askSwitchover("pg1", "pg2")
	s.until("pg2 holds the key", holds("pg2"))
	first := time.Now()
	s.until("pg2 promotes", func(s State) bool { return s.member(scope, "pg2").Role != "replica" })
	s.Member(t, "pg2").Kill()
	s.endSession()
	s.until("another holds the key", func(s State) bool { return holds("pg1")(s) || holds("pg3")(s) })
	t.Logf("the leader moved a second time after %v", time.Since(first))
	s.until("it is primary", otherPrimary("pg2"))
	s.beat()
	s.save("twice-crashed")
}

func (s *scene) askSwitchover(leader, candidate string) (answer <-chan string) {
	return s.ask(s.Member(s.t, leader), "/switchover", map[string]any{"leader": leader, "candidate": candidate})
}
