//go:build bench

package bench

import (
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// store is where the simulated clusters keep their keys.
type store interface {
	servertest.DCS
	name() string
	address() string // as the floor takes it
	join(t *testing.T, members int)
	take(t *testing.T, key, value string, member int) // makes the leader key, of a member
}

// stores are those that are measured. Consul is the one that consul-template knows.
var stores = map[string]func(t *testing.T) store{
	"consul": func(t *testing.T) store {
		// All but pgbaton need a connection for each key that they look at.
		return &inConsul{ConsulServer: servertest.Consul(t, "limits { http_max_conns_per_client = 15000 }")}
	},
	"etcd":      func(t *testing.T) store { return inEtcd{servertest.Etcd(t, 1)} },
	"zookeeper": func(t *testing.T) store { return inZooKeeper{servertest.ZooKeeper(t, 1)} },
}

type inConsul struct {
	*servertest.ConsulServer
	sessions []string
}

func (s *inConsul) name() string    { return "consul" }
func (s *inConsul) address() string { return s.Addr }

func (s *inConsul) join(t *testing.T, members int) {
	t.Helper()
	for range members {
		id, _, err := s.Client.Session().CreateNoChecks(&api.SessionEntry{Behavior: "delete", LockDelay: time.Nanosecond}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.sessions = append(s.sessions, id)
	}
}

func (s *inConsul) take(t *testing.T, key, value string, member int) {
	t.Helper()
	ok, _, err := s.Client.KV().Acquire(&api.KVPair{Key: key, Session: s.sessions[member], Value: []byte(value)}, nil)
	if err != nil || !ok {
		t.Fatalf("take the leader key %s: %v, %v", key, ok, err)
	}
}

type inEtcd struct{ *servertest.EtcdCluster }

func (s inEtcd) name() string         { return "etcd" }
func (s inEtcd) address() string      { return "etcd://" + s.Servers[0].Addr }
func (s inEtcd) join(*testing.T, int) {}

func (s inEtcd) take(t *testing.T, key, value string, _ int) {
	t.Helper()
	s.Put(t, key, value)
}

type inZooKeeper struct{ *servertest.ZooKeeperEnsemble }

func (s inZooKeeper) name() string         { return "zookeeper" }
func (s inZooKeeper) address() string      { return "zookeeper://" + s.Servers[0].Addr }
func (s inZooKeeper) join(*testing.T, int) {}

func (s inZooKeeper) take(t *testing.T, key, value string, _ int) {
	t.Helper()
	s.Put(t, key, value)
}
