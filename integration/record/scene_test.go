//go:build record

package record

import (
	"slices"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

const (
	scope  = "batman"
	prefix = "service/" + scope + "/"
)

// scene is a cluster of pg1, pg2 and pg3 and the recorder that follows it.
type scene struct {
	*servertest.PatroniCluster
	*recorder
	t      *testing.T
	consul *servertest.ConsulServer
}

// calm starts a cluster and, when pg1 leads it and all is quiet, the recorder.
func calm(t *testing.T, options ...servertest.PatroniOption) *scene {
	t.Helper()
	s := &scene{t: t, consul: servertest.Consul(t)}
	s.PatroniCluster = servertest.Patroni(t, s.consul, 3, append(options, servertest.Scope(scope))...)
	s.fromHere()
	s.until("all members run", leads("pg1"))
	s.fromHere()
	return s
}

// fromHere forgets what was recorded so far.
func (s *scene) fromHere() {
	if s.recorder != nil {
		s.stop()
	}
	s.recorder = record(s.t, s.consul, prefix)
	s.until("the first state", func(State) bool { return true })
}

// leads is the state in which the leader says that it is one, and all others
// that they are not.
func leads(leader string) func(State) bool {
	return func(s State) bool {
		if v, _ := s.value(prefix + "leader"); v != leader {
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

// anyLeads is the state in which one member leads, whichever it is.
func anyLeads(s State) bool { return leads(s.leader().Value)(s) }

// otherPrimary is the state in which a member other than old leads and says so.
func otherPrimary(old string) func(State) bool {
	return func(s State) bool {
		leader, ok := s.value(prefix + "leader")
		return ok && leader != old && primary(s.member(scope, leader).Role)
	}
}

// holds is the state in which the leader key names a member.
func holds(name string) func(State) bool {
	return func(s State) bool {
		v, ok := s.value(prefix + "leader")
		return ok && v == name
	}
}

// otherTerm is the state in which a member leads, all is well, and the leader
// key was made anew since.
func otherTerm(leader string, since State) func(State) bool {
	return func(s State) bool {
		return s.leader().CreateIndex != since.leader().CreateIndex && leads(leader)(s)
	}
}

// vacant is the state without a leader key.
func vacant(s State) bool {
	_, ok := s.value(prefix + "leader")
	return !ok
}

func primary(role string) bool { return slices.Contains([]string{"master", "primary"}, role) }

// beat records one heartbeat more.
func (s *scene) beat() {
	s.t.Helper()
	before := s.last().Index
	writeWAL(s.t, s.Leader(s.t), 8<<10)
	s.until("heartbeat", func(s State) bool { return s.Index > before })
}
