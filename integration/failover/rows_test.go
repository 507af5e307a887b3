//go:build bench

package failover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// rowsOf reads which rows of a run a leader has, by contestant.
func (s *stage) rowsOf(m *servertest.PatroniMember, run int) (map[string]map[row]bool, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, direct(host(0), m, database))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	return s.read(ctx, conn, run)
}

// rowsOfOld asks a server that leads no more, and is no replica yet. One that is
// dead or a replica has taken no row of its own: there are none.
func (s *stage) rowsOfOld(m *servertest.PatroniMember, run int) (map[string]map[row]bool, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, direct(host(0), m, database))
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fmt.Errorf("%s does not answer: %w", m.Name, err)
		}
		return nil, nil // it refuses connections: it is dead, or about to be
	}
	defer func() { _ = conn.Close(ctx) }()
	var recovery bool
	if err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&recovery); err != nil || recovery {
		return nil, err
	}
	return s.read(ctx, conn, run)
}

func (s *stage) read(ctx context.Context, conn *pgx.Conn, run int) (map[string]map[row]bool, error) {
	all := map[string]map[row]bool{}
	for _, c := range s.plan.contestants {
		// A row without a sequence number of a writer's is nobody's.
		rows, err := conn.Query(ctx, fmt.Sprintf("SELECT writer, seq FROM %s WHERE run = $1 AND seq > 0", table(c)), run)
		if err != nil {
			return nil, err
		}
		all[c] = map[row]bool{}
		var r row
		if _, err := pgx.ForEachRow(rows, []any{&r.writer, &r.seq}, func() error {
			all[c][r] = true
			return nil
		}); err != nil {
			return nil, fmt.Errorf("rows of %s: %w", c, err)
		}
	}
	return all, nil
}
