package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/login"
	"github.com/pgbaton/pgbaton/reload"
)

// console is where one pgbouncer takes commands. It is only a place: each
// session is a connection of its own, for a command such as PAUSE may block the
// one that it is sent over.
type console struct {
	host         string // a socket's directory if absolute
	port         uint16
	user         string
	passwordFile string
}

func (c console) String() string {
	if filepath.IsAbs(c.host) {
		return c.host + ":" + strconv.Itoa(int(c.port))
	}
	return net.JoinHostPort(c.host, strconv.Itoa(int(c.port)))
}

// open logs in. The session ends with close; ctx limits the login alone. Others
// see the name in SHOW CLIENTS, as application_name.
func (c console) open(ctx context.Context, name string) (*session, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	// The console refuses parameters that it does not know.
	config.RuntimeParams = map[string]string{"application_name": name}
	// To a console, a request to cancel means: resume all that is paused as a
	// whole. pgconn sends one wherever a context ends a command: it must not
	// leave here.
	var in atomic.Bool
	dial := config.DialFunc
	if c.passwordFile == "" {
		dial = asOwner(dial)
	}
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if in.Load() {
			return nil, errors.New("a console is sent no request to cancel")
		}
		return dial(ctx, network, address)
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, unaskedError{c.loginFailed(err)}
	}
	in.Store(true)
	return &session{at: c, conn: conn, server: serverOf(conn.Conn())}, nil
}

func (c console) config() (*pgconn.Config, error) {
	// All that the environment could bring in is named, so that it cannot.
	text := fmt.Sprintf("host=%s port=%d user=%s dbname=pgbouncer sslmode=prefer target_session_attrs=any",
		login.Quote(c.host), c.port, login.Quote(c.user))
	config, err := pgconn.ParseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("describe console %s: %w", c, err)
	}
	if c.passwordFile != "" { // else it may be in the environment, as libpq's tools have it
		if config.Password, err = login.Password(c.passwordFile); err != nil {
			return nil, err
		}
	}
	return config, nil
}

// absentError is for a console where nobody listens: its pgbouncer does not run,
// and holds nothing.
type absentError struct{ error }

func (e *absentError) Unwrap() error { return e.error }

// unaskedError is reload.ErrUnasked too, and says nothing more.
type unaskedError struct{ error }

func (e unaskedError) Unwrap() error        { return e.error }
func (e unaskedError) Is(target error) bool { return target == reload.ErrUnasked }

func (c console) loginFailed(err error) error {
	at := fmt.Errorf("open console %s as %s: %w", c, c.user, err)
	var said *pgconn.PgError
	switch {
	case errors.As(err, &said):
		return hint.Wrap(fmt.Errorf("open console %s as %s: %s", c, c.user, said.Message),
			"%s has to be in pgbouncer's admin_users, with password_file set here; or user be pgbouncer, over the unix socket, with pgbaton running as pgbouncer's system user",
			c.user)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return hint.Wrap(at, "pgbouncer does not answer: see whether it is stopped or overloaded")
	case errors.Is(err, os.ErrPermission):
		return hint.Wrap(at, "pgbaton's user has to be able to enter the directory and to write to the socket")
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		at = &absentError{at}
	}
	return hint.Wrap(at, "start pgbouncer, or correct socket, host, port or consoles")
}
