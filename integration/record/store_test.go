//go:build record

package record

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// flap destroys the leader's session: it comes back with another one.
func flap(t *testing.T) {
	s := calm(t)
	before := s.last()
	s.endSession()
	s.until("pg1 leads again", otherTerm("pg1", before))
	s.beat()
	s.save("flap")
}

// endSession ends the leader's session, as a failed check of its node does.
func (s *scene) endSession() {
	s.t.Helper()
	if _, err := s.consul.Client.Session().Destroy(s.last().leader().Session, nil); err != nil {
		s.t.Fatal(err)
	}
}

// flapDeleted deletes the leader key: it comes back with the same session.
func flapDeleted(t *testing.T) {
	s := calm(t)
	before := s.last()
	s.consul.Delete(t, s.Key("leader"))
	s.until("pg1 leads again", otherTerm("pg1", before))
	s.beat()
	s.save("flap-deleted")
}

// flapExpired keeps the leader's Patroni silent until its session ends, while
// its server goes on and no other member may lead.
func flapExpired(t *testing.T) {
	s := calm(t)
	s.nofailover("pg2", "pg3")
	before := s.last()
	leader := s.Leader(t)
	leader.FreezePatroni(t)
	s.until("the key is gone", vacant)
	time.Sleep(3 * time.Second) // the others see it, and may not lead
	leader.Thaw(t)
	s.until("pg1 leads again", otherTerm("pg1", before))
	s.beat()
	s.save("flap-expired")
}

// outage takes Consul away: the leader steps down, and comes back.
func outage(t *testing.T) {
	s := calm(t)
	s.consul.Freeze(t)
	servertest.Eventually(t, "pg1 steps down", func() error { return reports(t.Context(), s.Member(t, "pg1"), "/patroni", `"role": "replica"`) })
	s.consul.Thaw(t)
	s.until("pg1 leads again", func(s State) bool {
		_, promoted := s.value(prefix + "history")
		return promoted && leads("pg1")(s)
	})
	s.beat()
	s.save("outage")
}

// failsafe takes Consul away from a cluster that bears it.
func failsafe(t *testing.T) {
	s := calm(t)
	s.withoutConsul(10 * time.Second)
	s.until("pg1 leads", leads("pg1"))
	s.beat()
	s.save("failsafe")
}

// failsafeExpired takes it away for longer than a session lives.
func failsafeExpired(t *testing.T) {
	s := calm(t)
	before := s.last()
	s.withoutConsul(25 * time.Second)
	s.until("pg1 leads", otherTerm("pg1", before))
	s.beat()
	s.save("failsafe-expired")
}

func (s *scene) withoutConsul(d time.Duration) {
	s.t.Helper()
	s.Ctl(s.t, "edit-config", scope, "--set", "failsafe_mode=true", "--force")
	s.until("the failsafe key", func(s State) bool {
		_, ok := s.value(prefix + "failsafe")
		return ok
	})
	for _, m := range s.Members {
		servertest.Eventually(s.t, m.Name+" knows", func() error { return reports(s.t.Context(), m, "/failsafe", "pg3") })
	}
	start := time.Now()
	s.consul.Freeze(s.t)
	servertest.Eventually(s.t, "pg1 goes on without Consul", func() error {
		return reports(s.t.Context(), s.Member(s.t, "pg1"), "/patroni", "failsafe_mode_is_active")
	})
	time.Sleep(time.Until(start.Add(d)))
	s.consul.Thaw(s.t)
}

// restored puts Consul back to before a switchover: its key names the old
// leader, which lives and has the session still.
func restored(t *testing.T) {
	s := calm(t)
	snapshot := s.snapshot()
	s.Switchover(t, s.Member(t, "pg2"))
	s.until("pg2 leads", leads("pg2"))
	s.fromHere()
	s.restore(snapshot)
	s.until("the old key is back", holds("pg1"))
	s.until("one member leads", anyLeads)
	s.AwaitReady(t)
	s.until("one member leads", anyLeads)
	s.save("restored")
}

// restoredDead puts Consul back to before a crash: its key names a leader that
// is no more.
func restoredDead(t *testing.T) {
	s := calm(t)
	snapshot := s.snapshot()
	old := s.Leader(t)
	old.Kill()
	s.until("another leads", otherPrimary(old.Name))
	s.fromHere()
	s.restore(snapshot)
	s.until("the old key is back", holds("pg1"))
	s.until("another leads again", otherPrimary(old.Name))
	s.beat()
	s.save("restored-dead")
}

func (s *scene) snapshot() []byte {
	s.t.Helper()
	r, _, err := s.consul.Client.Snapshot().Save(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	content, err := io.ReadAll(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return content
}

func (s *scene) restore(snapshot []byte) {
	s.t.Helper()
	if err := s.consul.Client.Snapshot().Restore(nil, bytes.NewReader(snapshot)); err != nil {
		s.t.Fatal(err)
	}
}
