//go:build amd64

package chaos

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestConsulServers breaks a Consul of three servers, the first of which pgbaton
// asks, while the leader moves.
func TestConsulServers(t *testing.T) {
	all := t // what a subtest starts ends with it
	servers := servertest.ConsulServers(t, 3)
	k := newKeyed(t, servers[1].Client, servers[0].Addr, beside, keyedSettings{})
	leader := 1
	moves := func(t *testing.T) {
		t.Helper()
		leader = 3 - leader
		k.lead(t, leader)
		k.follows(t, leader)
	}

	t.Run("its leader is lost", func(t *testing.T) {
		for range rounds(t) {
			at := raftLeader(t, servers)
			lost, ask := servers[at], servers[(at+1)%3]
			k.client = ask.Client
			lost.Kill()
			if at != 0 {
				moves(t) // pgbaton's server is another
			}
			lost.Launch(all)
			lost.AwaitLeader(t)
			moves(t)
		}
		t.Logf("injected %d times", rounds(t))
	})

	t.Run("pgbaton's server restarts", func(t *testing.T) {
		k.client = servers[1].Client
		for range rounds(t) {
			away := k.awaysSaid()
			servers[0].Kill()
			k.lead(t, 3-leader)
			k.away(t, away, leader)
			servers[0].Launch(all)
			leader = 3 - leader
			k.follows(t, leader)
		}
		t.Logf("injected %d times", rounds(t))
	})

	t.Run("quorum is lost", func(t *testing.T) {
		k.client = servers[0].Client
		for range rounds(t) {
			// A leader that loses its followers keeps the queries that wait at it, up to
			// block_query_wait; pgbaton's server is to be another.
			for raftLeader(t, servers) == 0 {
				servers[0].Kill()
				servers[0].Launch(all)
				servers[0].AwaitLeader(t)
			}
			moves(t)
			away := k.awaysSaid()
			servers[1].Kill()
			servers[2].Kill()
			k.away(t, away, leader)
			servers[1].Launch(all)
			servers[2].Launch(all)
			servers[0].AwaitLeader(t)
			moves(t)
		}
		t.Logf("injected %d times", rounds(t))
	})

	t.Run("an older snapshot is restored", func(t *testing.T) {
		k.client = servers[1].Client
		for range rounds(t) {
			var snapshot []byte
			servertest.Eventually(t, "a snapshot", func() error {
				r, _, err := k.client.Snapshot().Save(nil)
				if err != nil {
					return err
				}
				snapshot, err = io.ReadAll(r)
				return errors.Join(err, r.Close())
			})
			old := leader
			moves(t)
			servertest.Eventually(t, "the snapshot is restored", func() error { return k.client.Snapshot().Restore(nil, bytes.NewReader(snapshot)) })
			// Its index is lower, and who leads is the one of before: the key is trusted here.
			leader = old
			k.follows(t, leader)
			moves(t)
		}
		t.Logf("injected %d times", rounds(t))
	})
}

// raftLeader is the index of the server that leads.
func raftLeader(t *testing.T, servers []*servertest.ConsulServer) (at int) {
	t.Helper()
	servertest.Eventually(t, "one server leads", func() error {
		for i, s := range servers {
			if leads, err := s.Leads(); err == nil && leads {
				at = i
				return nil
			}
		}
		return errors.New("none leads")
	})
	return at
}
