package failover

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// class is an error in two or three words: what the client was told.
func class(err error) string {
	var server *pgconn.PgError
	var network net.Error
	switch {
	case errors.Is(err, errMoved):
		return "in flight"
	case errors.Is(err, pgconn.ErrReadOnlyConnection):
		return "no read-write host" // of several hosts, the one that says most
	case errors.As(err, &server):
		return classOf(server)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), strings.Contains(err.Error(), "conn closed"):
		return "connection lost"
	}
	return "other: " + err.Error()
}

func classOf(err *pgconn.PgError) string {
	switch err.Code {
	case "25006":
		return "read-only"
	case "57P01":
		return "shut down"
	case "57P02":
		return "server crashed"
	case "57P03":
		return "starting or stopping"
	case "53300":
		return "too many clients"
	case "3D000":
		return "no such database"
	}
	// PgBouncer has one code for most of what it says itself.
	if class, known := classOfText(err.Message); known {
		return class
	}
	return err.Code + " " + err.Message
}

// classOfText knows errors that come as text alone, or as good as.
func classOfText(message string) (class string, known bool) {
	for _, c := range []struct{ text, class string }{
		{"login has been failing", "login failing"},
		{"cannot connect", "login failing"},
		{"connect failed", "login failing"},
		{"server conn crashed", "server lost"},
		{"server closed the connection", "connection lost"},
		{"connection to server was lost", "connection lost"},
		{"query_wait_timeout", "waited too long"},
		{"query_timeout", "query too long"},
		{"client_login_timeout", "login timeout"},
		{"database configuration changed", "cut by the pooler"},
		{"terminating connection due to administrator command", "shut down"},
		{"read-only transaction", "read-only"},
	} {
		if strings.Contains(message, c.text) {
			return c.class, true
		}
	}
	return message, false
}

// errMoved ends what is in flight to a server that the client was told to leave.
var errMoved = errors.New("the leader moved")
