package probe_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/probe"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// sessions asks a leader and its replica what probes ask.
func sessions(t *testing.T, leader, replica *servertest.PatroniMember) {
	p := newProber(t, probe.Config{Ways: both})
	open := func(m *servertest.PatroniMember) *probe.Session {
		s := p.Session(member(m))
		t.Cleanup(s.Close)
		return s
	}
	const limit = 5 * time.Second
	write := func(statement string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), leader.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("where they are", func(t *testing.T) {
		l, r := open(leader), open(replica)
		write("CREATE TABLE places (x int)")
		at, err := l.Position(t.Context(), limit)
		if err != nil || at.Recovery || at.LSN == 0 || !at.Replayed.IsZero() || time.Since(at.Clock).Abs() > time.Minute {
			t.Fatalf("the leader is at %+v, error %v", at, err)
		}
		servertest.Eventually(t, "the replica has it", func() error {
			is, err := r.Position(t.Context(), limit)
			if err == nil && (!is.Recovery || is.LSN < at.LSN || is.Replayed.IsZero() || at.Clock.Sub(is.Replayed) > time.Minute) {
				err = fmt.Errorf("it is at %+v", is)
			}
			return err
		})
	})

	t.Run("nothing is written", func(t *testing.T) {
		s := open(leader)
		for _, query := range []string{"INSERT INTO places VALUES (1) RETURNING x", "CREATE TABLE more (x int)"} {
			if _, err := s.Value(t.Context(), limit, query); err == nil || !strings.Contains(err.Error(), "read-only transaction") {
				t.Errorf("%s: %v", query, err)
			}
		}
		if v, err := s.Value(t.Context(), limit, "SELECT count(*) FROM places"); err != nil || v != "0" {
			t.Errorf("%q, error %v", v, err)
		}
		for query, says := range map[string]string{"SELECT 1 WHERE false": "has no row", "SELEKT 1": "syntax error", "": "has no row"} {
			if v, err := s.Value(t.Context(), limit, query); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%q: %q, error %v", query, v, err)
			}
		}
	})

	t.Run("a query without an end", func(t *testing.T) {
		s := open(replica)
		if _, err := s.Value(t.Context(), 200*time.Millisecond, "SELECT pg_sleep(60)"); err == nil || !strings.Contains(err.Error(), "no answer within 200ms") {
			t.Fatalf("error %v", err)
		}
		if err := s.Ping(t.Context(), limit); err != nil { // over another connection
			t.Errorf("after that: %v", err)
		}
		watch := open(replica)
		servertest.Eventually(t, "the server has ended it", func() error {
			v, err := watch.Value(t.Context(), limit, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'")
			if err == nil && v != "0" {
				err = errors.New("it runs on")
			}
			return err
		})
	})

	t.Run("one that is ended", func(t *testing.T) {
		s := open(replica)
		if err := s.Ping(t.Context(), limit); err != nil {
			t.Fatal(err)
		}
		other := open(replica)
		if _, err := other.Value(t.Context(), limit, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pgbaton' AND pid <> pg_backend_pid()"); err != nil {
			t.Fatal(err)
		}
		if err := s.Ping(t.Context(), limit); err != nil { // over the next one, at once
			t.Errorf("after that: %v", err)
		}
	})

	t.Run("a transaction that is left open", func(t *testing.T) {
		s := open(replica)
		if _, err := s.Value(t.Context(), limit, "BEGIN; SELECT 1/0"); err == nil {
			t.Error("1/0 is no error")
		}
		if v, err := s.Value(t.Context(), limit, "SELECT 1"); err != nil || v != "1" {
			t.Errorf("after that: %q, error %v", v, err)
		}
	})

	t.Run("ports", func(t *testing.T) {
		if err := probe.Connects(t.Context(), member(leader), limit); err != nil {
			t.Error(err)
		}
		nobody := cluster.Member{Name: "pg9", Endpoints: []cluster.Endpoint{{Host: "127.0.0.1", Port: servertest.FreePort(t)}}}
		if err := probe.Connects(t.Context(), nobody, limit); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("where nobody listens: %v", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := probe.Connects(gone, member(leader), limit); err == nil {
			t.Error("it connected though it was to stop")
		}
		if !probe.LetsIn(probe.Connects(t.Context(), nobody, limit)) {
			t.Error("a port where nobody listens counts as one that lets nobody in")
		}
		strange := newProber(t, probe.Config{SQL: probe.SQL{User: "nobody-here"}}).Session(member(leader))
		if err := strange.Ping(t.Context(), limit); err == nil || probe.LetsIn(err) {
			t.Errorf("a user that there is not: %v", err)
		}
	})
}
