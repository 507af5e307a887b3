package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestClass(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, c := range []struct {
		err  error
		want string
	}{
		{&pgconn.PgError{Code: "25006"}, "read-only"},
		{&pgconn.PgError{Code: "57P01"}, "shut down"},
		{&pgconn.PgError{Code: "08P01", Message: "server login has been failing, try again later (server_login_retry)"}, "login failing"},
		{&pgconn.PgError{Code: "08P01", Message: "server conn crashed?"}, "server lost"},
		{&pgconn.PgError{Code: "42P01", Message: "no such table"}, "42P01 no such table"},
		{fmt.Errorf("connect: %w", refused), "refused"},
		{errors.Join(refused, pgconn.ErrReadOnlyConnection), "no read-write host"},
		{fmt.Errorf("read: %w", io.ErrUnexpectedEOF), "connection lost"},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, "connection lost"},
		{fmt.Errorf("dial: %w", context.DeadlineExceeded), "timeout"},
		{errMoved, "in flight"},
		{errors.New("odd"), "other: odd"},
	} {
		if got := class(c.err); got != c.want {
			t.Errorf("%v: got %q, want %q", c.err, got, c.want)
		}
	}
}
