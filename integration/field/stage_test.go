package field

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// stage is what the scenes of a test have in common.
type stage struct {
	t       *testing.T // of all scenes: what is started with it outlives each
	net     *servertest.Network
	consul  *servertest.ConsulServer
	store   string // where the machines find it, as host:port
	cluster *servertest.PatroniCluster
	disks   map[string]faulttest.Disk // by member: what its pg_wal is on
	gate    string                    // what a member asks before it is promoted
	edge    *servertest.Host          // the machine of pgbaton and pgbouncer
}

// gate lets a member be promoted, or keeps it waiting while a file is there, or
// refuses while another is.
const gate = `#!/bin/sh
while test -e "$0.$1.wait"; do sleep 0.05; done
! test -e "$0.$1.refuse"
`

// newStage starts Consul, three members and the machine of the edge.
func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, net: servertest.NewNetwork(t, "10.79.0"), disks: map[string]faulttest.Disk{}}
	s.consul = servertest.Consul(t, fmt.Sprintf(`addresses { http = "127.0.0.1 %s" }`, s.net.Addr))
	_, port, err := net.SplitHostPort(s.consul.Addr)
	if err != nil {
		t.Fatal(err)
	}
	s.store = net.JoinHostPort(s.net.Addr, port)
	s.gate = servertest.File(t, filepath.Join(servertest.PostgresDir(t), "promote"), gate, 0o755)
	s.cluster = servertest.Patroni(t, s.consul, 3,
		servertest.On(s.net, s.store),
		servertest.WALFolder(func(member, dir string) { s.disks[member] = faulttest.NewDisk(t, dir, "size=200m") }),
		servertest.WALSegments(1),
		servertest.Local(func(member string) map[string]any { return map[string]any{"pre_promote": s.gate + " " + member} }),
		servertest.DynamicConfig("synchronous_mode", true),
		// A leader that crashes is replaced, and not waited for: neither does it start by
		// itself, nor does Patroni start it.
		servertest.DynamicConfig("primary_start_timeout", 0),
		servertest.DynamicConfig("postgresql", map[string]any{
			"use_pg_rewind": true,
			"parameters":    map[string]any{"max_connections": 50, "wal_log_hints": "on", "restart_after_crash": "off"},
		}),
		// A replica may lag on a slow machine, and is to take over all the same.
		servertest.DynamicConfig("maximum_lag_on_failover", 1<<30),
	)
	s.edge = s.net.Host(t, "edge")
	return s
}

// promotions makes a member wait before it is promoted, or refuse ("wait",
// "refuse"), until it may.
func (s *stage) promotions(t *testing.T, m *servertest.PatroniMember, what string) (may func()) {
	t.Helper()
	path := servertest.File(t, fmt.Sprintf("%s.%s.%s", s.gate, m.Name, what), "", 0o644)
	may = func() { _ = os.Remove(path) }
	t.Cleanup(may)
	return may
}

// key waits until the leader key names a member.
func (s *stage) key(t *testing.T, m *servertest.PatroniMember) {
	t.Helper()
	servertest.Eventually(t, "the leader key names "+m.Name, func() error {
		pair, _, err := s.consul.Client.KV().Get(s.cluster.Key("leader"), nil)
		if err == nil && (pair == nil || string(pair.Value) != m.Name) {
			err = fmt.Errorf("it is %v", pair)
		}
		return err
	})
}

// expire ends the session of a member's keys, as Consul does when its time is up.
func (s *stage) expire(t *testing.T, m *servertest.PatroniMember) {
	t.Helper()
	servertest.Eventually(t, "the session of "+m.Name+" is over", func() error {
		pair, _, err := s.consul.Client.KV().Get(s.cluster.Key("members/"+m.Name), nil)
		if err != nil || pair == nil {
			return err // it is over already
		}
		_, err = s.consul.Client.Session().Destroy(pair.Session, &api.WriteOptions{})
		return err
	})
}

// ask asks for a switchover as patronictl does, and waits for nothing. Where to is
// Patroni's choice if it is nil.
func (s *stage) ask(t *testing.T, from, to *servertest.PatroniMember) {
	t.Helper()
	value := fmt.Sprintf(`{"leader":%q}`, from.Name)
	if to != nil {
		value = fmt.Sprintf(`{"leader":%q,"member":%q}`, from.Name, to.Name)
	}
	s.consul.Put(t, s.cluster.Key("failover"), value)
}

// newLeader waits until the leader key names another.
func (s *stage) newLeader(t *testing.T, old *servertest.PatroniMember) *servertest.PatroniMember {
	t.Helper()
	name := ""
	servertest.Eventually(t, old.Name+" is replaced", func() error {
		pair, _, err := s.consul.Client.KV().Get(s.cluster.Key("leader"), nil)
		if err == nil && (pair == nil || string(pair.Value) == old.Name) {
			err = fmt.Errorf("no new leader: %v", pair)
		}
		if err == nil {
			name = string(pair.Value)
		}
		return err
	})
	return s.cluster.Member(t, name)
}

// without are the addresses of all that a member needs: the store, and the others.
func (s *stage) without(m *servertest.PatroniMember) []string {
	addrs := []string{s.net.Addr}
	for _, other := range s.cluster.Members {
		if other != m {
			addrs = append(addrs, other.Host)
		}
	}
	return addrs
}

// synchronous turns synchronous replication on or off.
func (s *stage) synchronous(t *testing.T, on bool) {
	t.Helper()
	s.cluster.Ctl(t, "edit-config", s.cluster.Scope, "-s", fmt.Sprintf("synchronous_mode=%v", on), "--force")
	servertest.Eventually(t, fmt.Sprintf("replication is synchronous: %v", on), func() error {
		var names string
		query(t, s.cluster.Leader(t), "SHOW synchronous_standby_names", &names)
		if (names != "") != on {
			return fmt.Errorf("synchronous_standby_names is %q", names)
		}
		return nil
	})
}

// query reads one value from a server itself.
func query(t *testing.T, m *servertest.PatroniMember, sql string, to any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, m.SocketURL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := conn.QueryRow(ctx, sql).Scan(to); err != nil {
		t.Fatalf("%s on %s: %v", sql, m.Name, err)
	}
}

// rowsOn counts the writers' rows on a server.
func rowsOn(t *testing.T, m *servertest.PatroniMember) (n int) {
	t.Helper()
	query(t, m, "SELECT count(*) FROM rows", &n)
	return n
}
