//go:build bench

package failover

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// The databases: the one that is measured, another on the same cluster, and one
// on a cluster to which nothing happens.
const (
	database       = "bench"
	secondDatabase = "second"
	otherDatabase  = "other"
)

// stage is what all events have in common.
type stage struct {
	t       *testing.T // of the whole run: the clusters outlive each event
	plan    plan
	store   store
	cluster *servertest.PatroniCluster // three members
	other   *servertest.PatroniCluster // one member, left in peace
	seen    *observer

	pgbaton        string // built for this run
	consulTemplate string
	holds          bool // this pgbaton knows the setting
	run            int  // rows of one event share a number
}

// host is the address at which a contestant reaches the servers. Each has one
// of its own, so that a pgbaton that destroys the sockets to a hung server
// destroys no other contestant's. The cluster itself publishes 127.0.0.1, where
// pgbaton finds it.
func host(contestant int) string { return fmt.Sprintf("127.0.1.%d", contestant+1) }

func newStage(t *testing.T, p plan) *stage {
	t.Helper()
	s := &stage{t: t, plan: p, consulTemplate: servertest.ConsulTemplate(t), pgbaton: build(t)}
	s.store = stores[p.store].start(t)
	dynamic := []servertest.PatroniOption{servertest.DynamicConfig("postgresql", map[string]any{
		"use_pg_rewind": true,
		"parameters":    map[string]any{"max_connections": 400, "wal_log_hints": "on"},
	})}
	if p.ttl == 30 {
		for k, v := range map[string]int{"ttl": 30, "loop_wait": 10, "retry_timeout": 10} {
			dynamic = append(dynamic, servertest.DynamicConfig(k, v))
		}
	}
	s.other = servertest.Patroni(t, s.store, 1, append(dynamic, servertest.Scope("other"), servertest.MemberPrefix("alone"))...)
	if p.sync {
		dynamic = append(dynamic, servertest.DynamicConfig("synchronous_mode", true))
	}
	s.cluster = servertest.Patroni(t, s.store, 3, append(dynamic, servertest.Scope("main"))...)
	var hosts []string
	for i := range contestantNames {
		hosts = append(hosts, host(i))
	}
	s.cluster.ListenAlso(t, hosts...)
	s.seen = observe(t, s.store, s.cluster, host(0))
	s.tables()
	return s
}

// build compiles pgbaton as it is released, without the race detector. PGBATON
// names another one to measure instead.
func build(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("PGBATON"); path != "" {
		return path
	}
	path := filepath.Join(servertest.PostgresDir(t), "pgbaton")
	if err := servertest.Build(path, "-trimpath", "-ldflags", "-s -w"); err != nil {
		t.Fatal(err)
	}
	return path
}

// tables makes a database for each purpose, and in each a table for every
// contestant.
func (s *stage) tables() {
	s.t.Helper()
	for _, d := range []struct {
		name string
		on   *servertest.PatroniMember
	}{
		{database, s.cluster.Leader(s.t)},
		{secondDatabase, s.cluster.Leader(s.t)},
		{otherDatabase, s.other.Leader(s.t)},
	} {
		s.exec(direct(d.on.Host, d.on, "postgres"), "CREATE DATABASE "+d.name)
		for _, c := range contestantNames {
			s.exec(direct(d.on.Host, d.on, d.name),
				fmt.Sprintf("CREATE TABLE %s (run int, writer int, seq int, PRIMARY KEY (run, writer, seq))", table(c)))
		}
	}
}

func (s *stage) exec(url, sql string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// table is the name of a contestant's table.
func table(contestant string) string { return pgx.Identifier{"rows of " + contestant}.Sanitize() }

// progress tells a person who waits.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
