package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbaton/pgbaton/internal/dial"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/login"
)

// Server examines one PostgreSQL server by the checks of a Config. It is for one look at
// a time: see Shared.
type Server struct {
	config Config
	conn   *pgconn.PgConn // nil while there is none
	born   time.Time      // when conn was logged in
	memory memory
	doing  atomic.Pointer[string] // what a look is at
}

const (
	lifetime   = time.Minute            // of a connection: a server that lets nobody in any more is seen by then
	grace      = 300 * time.Millisecond // for a server to end what it was asked to
	maxMessage = 4 << 20                // bytes; a check's answer is a number or a word

	queryCanceled = "57014" // by statement_timeout
)

// NewServer returns one that has not logged in yet. The caller closes it.
func NewServer(c Config) (*Server, error) {
	s := &Server{config: c}
	_, err := s.connConfig()
	return s, err
}

// Limit is how long a look takes at most.
func (s *Server) Limit() time.Duration {
	return s.config.Connect + time.Duration(len(s.config.Checks)+1)*(s.config.CheckTimeout+2*grace)
}

// Doing is what the look that is under way is at; "" if there is none.
func (s *Server) Doing() string {
	if text := s.doing.Load(); text != nil {
		return *text
	}
	return ""
}

func (s *Server) at(what string) { s.doing.Store(&what) }

// Close ends the connection.
func (s *Server) Close() {
	if s.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		_ = s.conn.Close(ctx)
		s.conn = nil
	}
}

// Examine implements Examiner.
func (s *Server) Examine(ctx context.Context) error {
	defer s.doing.Store(nil)
	if s.conn != nil && (s.conn.IsClosed() || time.Since(s.born) > lifetime) {
		s.Close()
	}
	kept := s.conn != nil
	if !kept {
		if err := s.login(ctx); err != nil {
			return err
		}
	}
	err := s.look(ctx)
	if kept && s.conn != nil && s.conn.IsClosed() && !late(err) {
		// That it ended while it was idle says nothing of the server: a new one does.
		s.conn = nil
		if err = s.login(ctx); err == nil {
			err = s.look(ctx)
		}
	}
	return err
}

func (s *Server) login(ctx context.Context) error {
	s.at("log in to " + s.config.Where())
	config, err := s.connConfig()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.config.Connect)
	defer cancel()
	conn, err := pgconn.ConnectConfig(limited, config)
	if err != nil {
		var said *pgconn.PgError
		var dialled *net.OpError
		switch {
		case errors.As(err, &said):
			err = said // without all the addresses that were tried
		case limited.Err() == nil && errors.As(err, &dialled) && dialled.Op == "dial":
			err = dialled
		case limited.Err() != nil:
			err = fmt.Errorf("no answer within %v", s.config.Connect)
		case login.InTheClear(err):
			err = errInTheClear
		}
		return fmt.Errorf("log in to %s: %w", s.config.Where(), err)
	}
	s.conn, s.born = conn, time.Now()
	return nil
}

var errInTheClear = hint.Wrap(login.ErrInTheClear,
	"set pg_sslmode = verify-full, or let pg_hba.conf ask for scram-sha-256")

func (s *Server) connConfig() (*pgconn.Config, error) {
	c := s.config
	password := c.Password
	if c.PasswordFile != "" {
		var err error
		if password, err = login.Password(c.PasswordFile); err != nil {
			return nil, err
		}
	}
	config, err := login.Postgres{
		Host: c.Host, Port: c.Port, User: c.User, Database: c.Database, Password: password,
		SSLMode: c.SSLMode, CAFile: c.RootCert, CertFile: c.Cert, KeyFile: c.Key, Here: here(c.Host),
	}.Config()
	if err != nil {
		advice := "pg_sslmode is one of disable, allow, prefer, require, verify-ca, verify-full"
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			advice = "pgbaton's user has to be able to read the files that pg_ssl* name, in PEM"
		}
		var parse *pgconn.ParseConfigError
		if errors.As(err, &parse) && parse.Unwrap() != nil {
			err = parse.Unwrap() // without the settings, which are the file's
		}
		return nil, hint.Wrap(fmt.Errorf("read the settings pg_*: %w", err), "%s", advice)
	}
	config.RuntimeParams = map[string]string{"application_name": "pgbaton doctor"} // a pooler in between takes few
	config.DialFunc = dial.Prompt().DialContext
	config.MaxProtocolMessageBodyLen = maxMessage
	return config, nil
}

// here says whether a host is this machine: nobody listens in between.
func here(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.HasPrefix(host, "/") || strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// lateError is for what did not end in time.
type lateError struct{ limit time.Duration }

func (e lateError) Error() string { return fmt.Sprintf("no answer within %v", e.limit) }

func late(err error) bool { return errors.As(err, &lateError{}) }

// look runs every check, and leaves the connection as one that was just logged in.
func (s *Server) look(ctx context.Context) error {
	if len(s.config.Checks) == 0 {
		s.at("ask " + s.config.Where())
		_, _, err := s.ask(ctx, "SELECT 1")
		return err
	}
	var errs []error
	for _, c := range s.config.Checks {
		s.at(c.name())
		if err := s.check(ctx, c); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.name(), err))
		}
		if s.conn.IsClosed() || ctx.Err() != nil {
			return errors.Join(errs...)
		}
	}
	s.clean(ctx)
	return errors.Join(errs...)
}

// clean ends what a check set, locked or began, as it ended when each look had a
// connection of its own.
func (s *Server) clean(ctx context.Context) {
	if s.conn.TxStatus() != 'I' {
		if _, _, err := s.exec(ctx, "ROLLBACK"); err != nil {
			s.Close()
			return
		}
	}
	if _, _, err := s.exec(ctx, "DISCARD ALL"); err != nil {
		s.Close()
	}
}

func (c Check) name() string {
	if c.SQL == "" {
		return "replication lag"
	}
	return `"` + oneLine(c.SQL) + `"`
}

func (s *Server) check(ctx context.Context, c Check) error {
	if c.SQL == "" {
		return s.checkLag(ctx, c.MaxLag)
	}
	row, rows, err := s.ask(ctx, c.SQL)
	switch {
	case err != nil:
		return err
	case rows != 1:
		return fmt.Errorf("it yields %d rows, not one", rows)
	case len(row) == 0 || row[0] == "":
		return errors.New("it yields nothing")
	}
	return c.Want.Unmet(row[0])
}

func (s *Server) checkLag(ctx context.Context, limit time.Duration) error {
	row, rows, err := s.ask(ctx, standing)
	if err != nil {
		return err
	}
	if rows != 1 || len(row) != 4 {
		return errors.New("the server's answer is not one row of 4")
	}
	at, err := parseStand(row)
	if err != nil {
		return err
	}
	behind, err := s.memory.behind(at, time.Now())
	if err == nil && behind > limit {
		err = fmt.Errorf("the replica is %v behind, more than %v", behind.Round(10*time.Millisecond), limit)
	}
	return err
}

// ask runs SQL, within the limit of a check, and returns the first row of its last
// statement and how many rows there were. NULL is "". It is the server that ends what takes
// too long: a request to cancel it would have to find its way through a pooler, and
// PgBouncer 1.18 ends itself if whoever asked has left meanwhile.
func (s *Server) ask(ctx context.Context, sql string) (row []string, rows int, err error) {
	return s.exec(ctx, fmt.Sprintf("SET LOCAL statement_timeout = %d; %s", max(1, s.config.CheckTimeout.Milliseconds()), sql))
}

// exec runs SQL as it is. What the server does not end in time ends the connection.
func (s *Server) exec(ctx context.Context, sql string) (row []string, rows int, err error) {
	limited, cancel := context.WithTimeout(ctx, s.config.CheckTimeout+grace)
	defer cancel()
	begun := time.Now()
	results := s.conn.Exec(limited, sql)
	for results.NextResult() {
		r := results.ResultReader()
		row, rows = nil, 0
		for r.NextRow() {
			if rows++; rows == 1 {
				for _, v := range r.Values() {
					row = append(row, string(v))
				}
			}
		}
		_, _ = r.Close() // its error is that of all
	}
	err = results.Close()
	var slow net.Error
	switch said := (*pgconn.PgError)(nil); {
	case err == nil:
	case limited.Err() != nil, errors.As(err, &slow) && slow.Timeout(), errors.As(err, &said) && said.Code == queryCanceled && time.Since(begun) >= s.config.CheckTimeout:
		err = lateError{s.config.CheckTimeout}
	case errors.As(err, &said):
		err = errors.New(said.Message)
	}
	return row, rows, err
}
