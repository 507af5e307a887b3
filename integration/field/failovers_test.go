package field

import (
	"fmt"
	"testing"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// failovers lets failovers go wrong while clients write.
func failovers(t *testing.T, s *stage) {
	t.Run("the promotion takes its time", func(t *testing.T) {
		e := s.begin(t, settings{})
		old, next := s.cluster.Leader(t), s.cluster.SyncStandby(t)
		may := s.promotions(t, next, "wait")
		s.ask(t, old, next)
		s.key(t, next)
		e.logs(t, "is=promoting")
		e.stays(t, old)
		may()
		e.writesOn(t, next)
		e.end(t)
	})

	for name, fail := range map[string]func(t *testing.T, first *servertest.PatroniMember, goOn func()) (mend func()){
		"the next leader can't be promoted": func(t *testing.T, first *servertest.PatroniMember, goOn func()) func() {
			mend := s.promotions(t, first, "refuse")
			goOn()
			return mend
		},
		"the next leader dies before": func(t *testing.T, first *servertest.PatroniMember, goOn func()) func() {
			first.Kill()
			s.expire(t, first)
			return func() {
				goOn()
				first.Start(s.t)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.synchronous(t, false) // else the third one may not lead
			e := s.begin(t, settings{})
			old, may := s.cluster.Leader(t), map[*servertest.PatroniMember]func(){}
			for _, m := range s.cluster.Replicas(t) {
				may[m] = s.promotions(t, m, "wait")
			}
			back := s.promotions(t, old, "refuse") // the third one it is to be
			s.ask(t, old, nil)
			first := s.newLeader(t, old)
			e.logs(t, "is=promoting")
			mend := fail(t, first, may[first])
			for m, goOn := range may {
				if m == first {
					continue
				}
				s.key(t, m)
				goOn()
				e.writesOn(t, m)
			}
			if e.followed(t, first) {
				t.Errorf("%s was followed, and never took a write", first.Name)
			}
			mend()
			back()
			e.end(t)
			s.synchronous(t, true)
		})
	}

	t.Run("a member that is not there", func(t *testing.T) {
		e := s.begin(t, settings{})
		ghost := s.net.Host(t, "ghost")
		faulttest.Cut(t, ghost.Namespace)
		// A leader of before, by its key: it is worth a look, which gets no answer.
		key := s.cluster.Key("members/ghost")
		s.consul.Put(t, key, fmt.Sprintf(`{"conn_url":"postgres://%[1]s:5432/postgres","api_url":"http://%[1]s:8008/patroni","state":"running","role":"master","timeline":1}`, ghost.Addr))
		next := s.cluster.SyncStandby(t)
		s.cluster.Switchover(t, next)
		e.writesOn(t, next)
		s.consul.Delete(t, key)
		e.end(t)
	})

	t.Run("nobody leads", func(t *testing.T) {
		e := s.begin(t, settings{cluster: `hold_timeout = "5s"`})
		old := s.cluster.Leader(t)
		for _, m := range s.cluster.Members {
			m.Kill()
		}
		e.logs(t, "traffic held")
		e.logs(t, "hold_timeout has passed")
		for _, m := range s.cluster.Members {
			s.expire(t, m)
		}
		servertest.Eventually(t, "the key is gone", func() error {
			pair, _, err := s.consul.Client.KV().Get(s.cluster.Key("leader"), nil)
			if err == nil && pair != nil {
				err = fmt.Errorf("it names %s", pair.Value)
			}
			return err
		})
		e.logs(t, "is=leaderless")
		e.stays(t, old)
		for _, m := range s.cluster.Members {
			m.Start(s.t)
		}
		e.end(t)
	})
}
