package status_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgbaton/pgbaton/internal/status"
)

// serve starts a listener for a status, and returns its address.
func serve(t *testing.T, now func() status.Status) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a page") })
	server := status.Server(status.Handler(now, status.Page{Path: "/page", Handler: page}))
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(status.Limit(l)) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// request sends one over a connection of its own.
func request(t *testing.T, addr, method, path, host string, header ...string) (code int, h http.Header, body string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n", method, path, host, strings.Join(append(header, ""), "\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	content, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(content)
}

func TestHandler(t *testing.T) {
	now := made(func(*status.Target, *status.Cluster, *status.Store) {})
	addr := serve(t, func() status.Status { return now })
	code, h, body := request(t, addr, "GET", "/status.json", "localhost")
	var got status.Status
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 || got.Line != now.Line {
		t.Errorf("%d %v: %s", code, err, body)
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Access-Control-Allow-Origin": ""} {
		if h.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, h.Get(name), want)
		}
	}
	if code, _, body := request(t, addr, "GET", "/readyz", "localhost"); code != 200 || body != "ready\n" {
		t.Errorf("readyz: %d %s", code, body)
	}
	now = made(func(_ *status.Target, _ *status.Cluster, s *status.Store) {
		s.Stale = &status.Stale{Since: at, Words: "secret"}
	})
	if code, _, body := request(t, addr, "GET", "/readyz", "localhost"); code != 503 || body != "not ready\nstore consul is stale since 2026-03-01T12:00:00Z\n" {
		t.Errorf("readyz: %d %s", code, body)
	}
	if code, _, body := request(t, addr, "GET", "/page", "localhost"); code != 200 || body != "a page" {
		t.Errorf("a page: %d %s", code, body)
	}
	if code, _, _ := request(t, addr, "GET", "/healthz", "localhost"); code != 200 {
		t.Errorf("healthz: %d", code)
	}
}

// Nothing but a look is possible, whatever the path.
func TestHandlerChangesNothing(t *testing.T) {
	addr := serve(t, func() status.Status { return made(func(*status.Target, *status.Cluster, *status.Store) {}) })
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"} {
		for _, path := range []string{"/status.json", "/healthz", "/readyz", "/v1/status", "/v1/freeze", "/v1/thaw", "/v1/apply", "/page", "/"} {
			if code, _, body := request(t, addr, method, path, "localhost", "Content-Length: 0"); code != 404 && code != 405 {
				t.Errorf("%s %s: %d %s", method, path, code, body)
			}
		}
	}
	for _, path := range []string{"/v1/status", "/v1/freeze", "/", "/status.json/", "//status.json"} {
		if code, _, body := request(t, addr, "GET", path, "localhost"); code == 200 {
			t.Errorf("GET %s: %d %s", path, code, body)
		}
	}
}

// A name that a stranger made lead here is no name of this machine.
func TestHandlerHost(t *testing.T) {
	addr := serve(t, func() status.Status { return made(func(*status.Target, *status.Cluster, *status.Store) {}) })
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		addr: 200, "localhost": 200, "LOCALHOST:9479": 200, "127.0.0.1": 200, "127.9.9.9:1": 200, "[::1]:9479": 200, "[::1]": 200, name: 200, name + ":9479": 200,
		"evil.example": 421, "evil.example:9479": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421, "10.0.0.1": 421, "": 421,
	} {
		for _, path := range []string{"/status.json", "/page"} {
			if code, _, body := request(t, addr, "GET", path, host); code != want {
				t.Errorf("Host %q: %s: %d, want %d: %s", host, path, code, want, body)
			}
		}
	}
}

// Whoever sends more than a look needs is cut off.
func TestHandlerLimits(t *testing.T) {
	addr := serve(t, func() status.Status { return made(func(*status.Target, *status.Cluster, *status.Store) {}) })
	code, _, _ := request(t, addr, "GET", "/healthz", "localhost", "X-Long: "+strings.Repeat("x", 100<<10))
	if code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("100 KiB of header: %d", code)
	}
}

// Whoever vanishes without a word does not keep a connection.
func TestUserTimeout(t *testing.T) {
	l, err := (&net.ListenConfig{Control: status.UserTimeout}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = accepted.Close() }()
	raw, err := accepted.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ms int
	control := raw.Control(func(fd uintptr) { ms, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) })
	if control != nil || err != nil || ms != 30000 {
		t.Errorf("given up after %d ms, %v, %v", ms, control, err)
	}
}
