package probe_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/probe"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// thief is a server that somebody's key names, and that asks for passwords in the
// clear. It tells what it was given, "" for nothing.
func thief(t *testing.T) (port int, given <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	stolen := make(chan string, 16)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			stolen <- rob(conn)
			_ = conn.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, stolen
}

func rob(conn net.Conn) string {
	server := pgproto3.NewBackend(conn, conn)
	for {
		first, err := server.ReceiveStartupMessage()
		if err != nil {
			return ""
		}
		if _, is := first.(*pgproto3.StartupMessage); is {
			break
		}
		if _, err := conn.Write([]byte("N")); err != nil { // no TLS here
			return ""
		}
	}
	server.Send(&pgproto3.AuthenticationCleartextPassword{})
	if server.Flush() != nil || server.SetAuthType(pgproto3.AuthTypeCleartextPassword) != nil {
		return ""
	}
	answer, err := server.Receive()
	if err != nil {
		return ""
	}
	if password, is := answer.(*pgproto3.PasswordMessage); is {
		return password.Password
	}
	return ""
}

// A password goes in the clear to nobody who has not shown a certificate.
func TestPasswordIsNotGivenAway(t *testing.T) {
	port, given := thief(t)
	password := servertest.File(t, filepath.Join(t.TempDir(), "password"), "secret\n", 0o600)
	for _, mode := range []string{"", "disable", "allow", "prefer", "require"} {
		p := newProber(t, probe.Config{Ways: []cluster.Way{cluster.WaySQL}, SQL: probe.SQL{PasswordFile: password, SSLMode: mode}})
		m := cluster.Member{Name: "pg1", Endpoints: []cluster.Endpoint{{Host: "127.0.0.1", Port: port}}}
		err := p.Failing(t.Context(), m)[cluster.WaySQL]
		if err == nil {
			t.Errorf("sslmode %q: it logged in", mode)
		}
		if mode != "require" && !strings.Contains(hint.Of(err), "verify-full") {
			t.Errorf("sslmode %q: %v, hint %q", mode, err, hint.Of(err))
		}
		if have := <-given; have != "" {
			t.Errorf("sslmode %q: the server was told %q", mode, have)
		}
	}
}

// A member that sends pgbaton elsewhere is not obeyed.
func TestRedirectsAreNotFollowed(t *testing.T) {
	asked := make(chan string, 4)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	t.Cleanup(elsewhere.Close)
	member := httptest.NewServer(http.RedirectHandler(elsewhere.URL+"/v1/agent/leave", http.StatusTemporaryRedirect))
	t.Cleanup(member.Close)
	p := newProber(t, probe.Config{Ways: []cluster.Way{cluster.WayAPI}})
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Deadline)
	defer cancel()
	err := p.Failing(ctx, cluster.Member{Name: "pg1", API: member.URL + "/patroni"})[cluster.WayAPI]
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(http.StatusTemporaryRedirect)) {
		t.Errorf("error %v", err)
	}
	select {
	case path := <-asked:
		t.Errorf("it asked for %s elsewhere", path)
	default:
	}
}
