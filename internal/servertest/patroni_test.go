package servertest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestPatroni(t *testing.T) {
	start := time.Now()
	c := Patroni(t, Consul(t), 3)
	t.Logf("three nodes after %v", time.Since(start))
	if got := c.Leader(t).Name; got != "pg1" {
		t.Errorf("first leader is %s", got)
	}
	c.Switchover(t, c.Member(t, "pg3"))
	if got := c.Leader(t).Name; got != "pg3" {
		t.Errorf("after a switchover to pg3 the leader is %s", got)
	}
	c.AwaitReady(t)
	t.Logf("whole again after %v", time.Since(start))

	m := c.Replicas(t)[0]
	m.Freeze(t)
	if _, err := m.status(); err == nil {
		t.Errorf("%s answers although it is frozen", m.Name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if conn, err := pgx.Connect(ctx, m.URL()); err == nil {
		_ = conn.Close(ctx)
		t.Errorf("the server of %s answers although it is frozen", m.Name)
	}
	m.Thaw(t)
	c.AwaitReady(t)
}
