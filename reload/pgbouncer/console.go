package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbaton/pgbaton/internal/hint"
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

// open logs in. The session ends with close; ctx limits the login alone.
func (c console) open(ctx context.Context) (*session, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, c.loginFailed(err)
	}
	return &session{at: c, conn: conn}, nil
}

func (c console) config() (*pgconn.Config, error) {
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
	}
	// All that the environment could bring in is named, so that it cannot.
	text := fmt.Sprintf("host=%s port=%d user=%s dbname=pgbouncer sslmode=prefer target_session_attrs=any",
		quote(c.host), c.port, quote(c.user))
	config, err := pgconn.ParseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("describe console %s: %w", c, err)
	}
	// The console refuses parameters that it does not know.
	config.RuntimeParams = map[string]string{"application_name": "pgbaton"}
	if c.passwordFile != "" {
		data, err := os.ReadFile(c.passwordFile)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("read password_file: %w", err),
				"pgbaton's user has to be able to read it")
		}
		line, _, _ := strings.Cut(string(data), "\n")
		config.Password = strings.TrimSuffix(line, "\r")
	}
	return config, nil
}

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
	}
	return hint.Wrap(at, "start pgbouncer, or correct socket, host, port or consoles")
}

// session is one connection to a console. It speaks the simple protocol, for a
// console knows no other.
type session struct {
	at   console
	conn *pgconn.PgConn
}

func (s *session) close(ctx context.Context) { _ = s.conn.Close(ctx) }

// row is one row of an answer by the names of its columns, for their order and
// number differ between versions. NULL columns are absent.
type row map[string]string

// run sends one command and returns the rows it answers with.
func (s *session) run(ctx context.Context, command string) ([]row, error) {
	results, err := s.conn.Exec(ctx, command).ReadAll()
	if err != nil {
		var said *pgconn.PgError
		if errors.As(err, &said) {
			err = errors.New(said.Message)
		}
		return nil, fmt.Errorf("send %s to console %s: %w", command, s.at, err)
	}
	var rows []row
	for _, result := range results {
		for _, values := range result.Rows {
			r := row{}
			for i, value := range values {
				if value != nil {
					r[result.FieldDescriptions[i].Name] = string(value)
				}
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}
