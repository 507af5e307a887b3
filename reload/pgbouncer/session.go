package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// session is one connection to a console. It speaks the simple protocol, for a
// console knows no other.
type session struct {
	at      console
	conn    *pgconn.PgConn
	server  int32 // the process at the other end; 0 is unknown
	asked   bool  // whether all is paused was asked over this session
	noState bool  // the console knows no SHOW STATE: it is older than 1.19
}

func (s *session) close(ctx context.Context) { _ = s.conn.Close(ctx) }

// drop ends the connection without a word, whatever the console is at.
func (s *session) drop() { _ = s.conn.Conn().Close() }

// broken says that the connection is of no further use.
func (s *session) broken() bool { return s.conn.IsClosed() }

// row is one row of an answer by the names of its columns, for their order and
// number differ between versions. NULL columns are absent.
type row map[string]string

// complaint is what a console answers to a command that it does not carry out.
type complaint string

func (c complaint) Error() string { return string(c) }

// says tells whether err is a console's complaint with one of these words in it.
func says(err error, words ...string) bool {
	var said complaint
	if !errors.As(err, &said) {
		return false
	}
	for _, w := range words {
		if strings.Contains(string(said), w) {
			return true
		}
	}
	return false
}

// run sends one command and returns the rows it answers with.
func (s *session) run(ctx context.Context, command string) ([]row, error) {
	results, err := s.conn.Exec(ctx, command).ReadAll()
	if err != nil {
		if s.broken() {
			s.drop() // now, not when the console closes its side
		}
		var said *pgconn.PgError
		if errors.As(err, &said) {
			err = complaint(said.Message)
		}
		return nil, s.failed(command, err)
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

// tell sends one command and waits for the answer no longer than patience. A
// session that was not answered is only good to be dropped.
func (s *session) tell(ctx context.Context, command string, patience time.Duration) (answered bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, s.failed(command, context.Cause(ctx))
	}
	front := s.conn.Frontend()
	_ = s.conn.Conn().SetDeadline(time.Now().Add(patience))
	defer func() { _ = s.conn.Conn().SetDeadline(time.Time{}) }()
	front.Send(&pgproto3.Query{String: command})
	if err := front.Flush(); err != nil {
		return false, s.failed(command, err)
	}
	var said error
	for {
		message, err := front.Receive()
		var late net.Error
		switch {
		case errors.As(err, &late) && late.Timeout():
			return false, nil
		case err != nil:
			return false, s.failed(command, err)
		}
		switch m := message.(type) {
		case *pgproto3.ErrorResponse:
			said = s.failed(command, complaint(m.Message))
		case *pgproto3.ReadyForQuery:
			return true, said
		}
	}
}

func (s *session) failed(command string, err error) error {
	err = fmt.Errorf("send %s to console %s: %w", command, s.at, err)
	if says(err, "admin access needed") {
		return hint.Wrap(err, "%s has to be in pgbouncer's admin_users", s.at.user)
	}
	return err
}

// setting is what the console now has for key, "" if it knows none.
func (s *session) setting(ctx context.Context, key string) (string, error) {
	rows, err := s.run(ctx, "SHOW CONFIG")
	return config(rows)[key], err
}

// config is a SHOW CONFIG by its keys.
func config(rows []row) map[string]string {
	is := map[string]string{}
	for _, r := range rows {
		is[r["key"]] = r["value"]
	}
	return is
}

// quote writes the name of a database as a console reads it.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
