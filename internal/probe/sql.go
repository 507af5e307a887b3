package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/login"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// sqlConn is a login to one member's server.
type sqlConn struct {
	member   cluster.Member
	conn     *pgconn.PgConn
	nameless bool // it may not ask for the system identifier
}

// login logs in to a member's server, at the first of its endpoints that
// answers.
func (p *Prober) login(ctx context.Context, m cluster.Member) (*sqlConn, error) {
	return p.loginWithin(ctx, m, patience)
}

// loginWithin does so for statements that may take as long as the login.
func (p *Prober) loginWithin(ctx context.Context, m cluster.Member, limit time.Duration) (*sqlConn, error) {
	var errs []error
	for _, at := range m.Endpoints {
		config, err := p.config.SQL.connConfig(at)
		if err != nil {
			return nil, err
		}
		config.RuntimeParams["statement_timeout"] = strconv.FormatInt(max(statementTimeout, 2*limit).Milliseconds(), 10)
		// Each has its share: one that hangs takes nothing from the next.
		limited, cancel := context.WithTimeout(ctx, limit/time.Duration(len(m.Endpoints)))
		conn, err := pgconn.ConnectConfig(limited, config)
		cancel()
		if err == nil {
			return &sqlConn{member: m, conn: conn}, nil
		}
		if login.InTheClear(err) {
			err = errInTheClear
		}
		errs = append(errs, fmt.Errorf("log in to %s at %s: %w", m.Name, at, err))
	}
	return nil, errors.Join(errs...)
}

// statementTimeout is when a server ends at last what nobody waits for any more.
const statementTimeout = 10 * time.Second

var errInTheClear = hint.Wrap(login.ErrInTheClear,
	"set sslmode = \"verify-full\" in the cluster's sql block, or let pg_hba.conf ask for scram-sha-256")

func (c SQL) connConfig(at cluster.Endpoint) (*pgconn.Config, error) {
	password, err := login.Password(c.PasswordFile)
	if err != nil {
		return nil, err
	}
	config, err := login.Postgres{
		Host: at.Host, Port: at.Port, User: cmp.Or(c.User, "postgres"), Database: cmp.Or(c.Database, "postgres"), Password: password,
		SSLMode: cmp.Or(c.SSLMode, "prefer"), CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile,
	}.Config()
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("read the cluster's sql block: %w", err), "sslmode is one of disable, allow, prefer, require, verify-ca, verify-full")
	}
	// Whatever is asked, nothing is written.
	config.RuntimeParams = map[string]string{"application_name": "pgbaton", "default_transaction_read_only": "on"}
	return config, nil
}

// question is what a server is asked. A timeline is told by the name of the WAL
// file that it writes; the control file has the one of the last checkpoint.
const question = `SELECT pg_is_in_recovery(), CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_walfile_name(pg_current_wal_lsn()) END`

// identity is asked apart: the right to it is often taken from everybody.
const identity = `SELECT system_identifier FROM pg_control_system()`

// ask asks the server all that there is to know.
func (c *sqlConn) ask(ctx context.Context, limit time.Duration) (cluster.Evidence, error) {
	e := cluster.Evidence{Member: c.member.Name, Way: cluster.WaySQL, At: time.Now()}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if !c.nameless {
		row, err := c.row(ctx, identity, 1)
		var said *pgconn.PgError
		switch {
		case err == nil:
			e.System = row[0]
		case errors.As(err, &said) && !c.conn.IsClosed():
			c.nameless = true
		default:
			return e, err
		}
	}
	row, err := c.row(ctx, question, 2)
	var said *pgconn.PgError
	if errors.As(err, &said) && !c.conn.IsClosed() {
		e.Verdict, err = c.ping(ctx, limit) // the timeline may be refused as well
		return e, err
	}
	if err != nil {
		return e, err
	}
	e.Verdict = cluster.ReadOnly
	if row[0] == "f" {
		e.Verdict = cluster.Writable
		if name := row[1]; len(name) >= 8 {
			e.Timeline, _ = strconv.ParseUint(name[:8], 16, 32)
		}
	}
	return e, nil
}

// row asks for one row of so many columns.
func (c *sqlConn) row(ctx context.Context, query string, columns int) ([]string, error) {
	results, err := c.conn.Exec(ctx, query).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.member.Name, err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != columns {
		return nil, fmt.Errorf("ask %s: its answer is not one row of %d", c.member.Name, columns)
	}
	row := make([]string, columns)
	for i, v := range results[0].Rows[0] {
		row[i] = string(v)
	}
	return row, nil
}

func (c *sqlConn) close() {
	// The server may hang: it is not waited for.
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = c.conn.Close(ctx)
}

// trouble is what an error of a connection says about its server.
type trouble uint8

const (
	unsure  trouble = iota // not to be known: a name that can't be resolved, no route
	down                   // nobody is there, or it is about to stop or to start
	slow                   // it takes its time
	full                   // it is alive, and has no place now
	refused                // it is alive, and does not let us in
)

func judge(err error) trouble {
	var said *pgconn.PgError
	var name *net.DNSError
	switch {
	case errors.Is(err, errInTheClear):
		return refused
	case errors.As(err, &name):
		return unsure // others may know the name still
	case errors.As(err, &said):
		// 57P01 to 57P03: an administrator ends it, or a crash; it is starting or stopping.
		if strings.HasPrefix(said.Code, "57P0") {
			return down
		}
		if strings.HasPrefix(said.Code, "53") {
			return full
		}
		return refused
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, os.ErrNotExist), ended(err):
		return down
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return slow
	}
	return unsure
}

// ended says whether a connection was closed from the other side.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, pgconn.ErrConnClosed)
}

// ping asks as little as there is to ask.
func (c *sqlConn) ping(ctx context.Context, limit time.Duration) (cluster.Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	row, err := c.row(ctx, "SELECT pg_is_in_recovery()", 1)
	if err != nil {
		return cluster.Unclear, err
	}
	if row[0] == "f" {
		return cluster.Writable, nil
	}
	return cluster.ReadOnly, nil
}

// glance asks as little as there is to ask, and the rest of the one that takes
// writes.
func (c *sqlConn) glance(ctx context.Context) (cluster.Evidence, error) {
	e := cluster.Evidence{Member: c.member.Name, Way: cluster.WaySQL, At: time.Now()}
	var err error
	if e.Verdict, err = c.ping(ctx, patience); err == nil && e.Verdict == cluster.Writable {
		return c.ask(ctx, patience)
	}
	return e, err
}

// idle waits until the connection ends, which is an error, or for a while.
func (c *sqlConn) idle(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		err := c.conn.WaitForNotification(ctx)
		if err == nil {
			continue
		}
		if ctx.Err() != nil && !c.conn.IsClosed() {
			return nil
		}
		return err
	}
}
