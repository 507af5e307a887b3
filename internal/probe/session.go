package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// Session asks one member now and then, over one connection that it keeps between two
// questions and takes anew when it has ended. It is for one goroutine.
type Session struct {
	prober *Prober
	member cluster.Member
	conn   *sqlConn // nil while there is none
	since  time.Time
}

// lifetime is how old a connection gets: a server that takes no new one may serve those
// that it has for months.
const lifetime = time.Minute

// Session returns one that has not logged in yet. The caller closes it.
func (p *Prober) Session(m cluster.Member) *Session { return &Session{prober: p, member: m} }

// Close ends the connection, if there is one.
func (s *Session) Close() {
	if s.conn != nil {
		s.conn.close()
		s.conn = nil
	}
}

// Ping asks whether the server runs a query at all, within limit.
func (s *Session) Ping(ctx context.Context, limit time.Duration) error {
	_, err := s.ask(ctx, limit, "SELECT 1", 1)
	return err
}

// Position is where a server is in its WAL.
type Position struct {
	Recovery bool
	LSN      uint64        // bytes: replayed by a server in recovery, else written
	Clock    time.Time     // what the server takes the time to be
	Replayed time.Time     // when the last transaction that it replayed was committed, by the clock of who committed it; zero if it replayed none
	Asked    time.Time     // when it was asked
	Took     time.Duration // until it answered
}

// In bytes since the beginning, for numbers compare and subtract.
const where = `SELECT pg_is_in_recovery(),
	CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0',
	extract(epoch FROM clock_timestamp()),
	CASE WHEN pg_is_in_recovery() THEN extract(epoch FROM pg_last_xact_replay_timestamp()) END`

// Position asks the server where it is. PostgreSQL 10 or newer.
func (s *Session) Position(ctx context.Context, limit time.Duration) (Position, error) {
	at := Position{Asked: time.Now()}
	row, err := s.ask(ctx, limit, where, 4)
	if err != nil {
		return at, err
	}
	at.Took = time.Since(at.Asked)
	at.Recovery = row[0] == "t"
	if row[1] == "" {
		return at, fmt.Errorf("ask %s: it has replayed nothing yet", s.member.Name)
	}
	if at.LSN, err = strconv.ParseUint(row[1], 10, 64); err != nil {
		return at, fmt.Errorf("ask %s: where it is in its WAL: %w", s.member.Name, err)
	}
	if at.Clock, err = epoch(row[2]); err != nil {
		return at, fmt.Errorf("ask %s: its clock: %w", s.member.Name, err)
	}
	if row[3] != "" {
		if at.Replayed, err = epoch(row[3]); err != nil {
			return at, fmt.Errorf("ask %s: its last transaction: %w", s.member.Name, err)
		}
	}
	return at, nil
}

// epoch reads seconds since 1970, as PostgreSQL writes them.
func epoch(text string) (time.Time, error) {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMicro(int64(seconds * 1e6)), nil
}

// Value asks a query, which can't write, and returns the first column of its first row;
// "" is NULL.
func (s *Session) Value(ctx context.Context, limit time.Duration, query string) (string, error) {
	var results []*pgconn.Result
	err := s.with(ctx, limit, func(ctx context.Context) (err error) {
		results, err = s.conn.conn.Exec(ctx, query).ReadAll()
		return err
	})
	if s.conn != nil && s.conn.conn.TxStatus() != 'I' {
		s.Close() // whatever it began ends with it
	}
	if err != nil {
		return "", err
	}
	if len(results) == 0 || len(results[len(results)-1].Rows) == 0 || len(results[len(results)-1].Rows[0]) == 0 {
		return "", fmt.Errorf("ask %s: the query has no row", s.member.Name)
	}
	return string(results[len(results)-1].Rows[0][0]), nil
}

// ask asks for one row.
func (s *Session) ask(ctx context.Context, limit time.Duration, query string, columns int) ([]string, error) {
	var row []string
	err := s.with(ctx, limit, func(ctx context.Context) (err error) {
		row, err = s.conn.row(ctx, query, columns)
		return err
	})
	return row, err
}

// with does something over the connection. One that was ended while nobody looked says
// nothing of the server: then it is done once more, over the next.
func (s *Session) with(ctx context.Context, limit time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if s.conn != nil && time.Since(s.since) > lifetime {
		s.Close()
	}
	kept := s.conn != nil
	for {
		if err := s.connect(ctx, limit); err != nil {
			return err
		}
		err := do(ctx)
		if err == nil {
			return nil
		}
		again := kept && judge(err) == down
		if err = s.failed(ctx, limit, err); !again || ctx.Err() != nil {
			return err
		}
		s.Close()
		kept = false
	}
}

func (s *Session) connect(ctx context.Context, limit time.Duration) error {
	if s.conn != nil && !s.conn.conn.IsClosed() {
		return nil
	}
	s.conn = nil
	conn, err := s.prober.loginWithin(ctx, s.member, limit)
	if err != nil {
		return err
	}
	s.conn, s.since = conn, time.Now()
	return nil
}

// failed closes a connection whose state is not known any more, and says what happened.
func (s *Session) failed(ctx context.Context, limit time.Duration, err error) error {
	if s.conn.conn.IsClosed() || ctx.Err() != nil {
		s.Close()
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("ask %s: no answer within %v", s.member.Name, limit)
	}
	return err
}

// Connects says whether a member's port takes a connection within limit; a nil error is
// yes.
func Connects(ctx context.Context, m cluster.Member, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var errs []error
	for _, at := range m.Endpoints {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", at.String())
		if err == nil {
			return conn.Close()
		}
		errs = append(errs, err)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("connect to %s: no answer within %v", m.Name, limit)
	}
	return errors.Join(errs...)
}

// LetsIn says whether an error is another one than that a server that is alive does not
// let us in.
func LetsIn(err error) bool { return judge(err) != refused }
