package web

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/internal/status"
)

// heard reads events until one of a name is as wanted.
func heard[T any](t *testing.T, from *bufio.Reader, event string, is func(T) bool) {
	t.Helper()
	deadline := time.Now().Add(servertest.Deadline)
	name := ""
	for time.Now().Before(deadline) {
		line, err := from.ReadString('\n')
		if err != nil {
			t.Fatalf("no %s as it should be: %v", event, err)
		}
		if value, ok := strings.CutPrefix(line, "event: "); ok {
			name = strings.TrimSpace(value)
		}
		if value, ok := strings.CutPrefix(line, "data: "); ok && name == event {
			var data T
			if err := json.Unmarshal([]byte(value), &data); err != nil {
				t.Fatalf("%v: %s", err, value)
			}
			if strings.Contains(value, "SECRET") {
				t.Errorf("everybody hears %s", value)
			}
			if is(data) {
				return
			}
		}
	}
	t.Fatalf("no %s as it should be within %v", event, servertest.Deadline)
}

func trouble(text string) func(status.Status) bool {
	return func(s status.Status) bool { return s.Targets[0].Error.Text == text }
}

func newest(hash string) func(history.List) bool {
	return func(l history.List) bool { return len(l.Changes) > 0 && l.Changes[0].Hash == hash }
}

// streamed asks for the events, and expects a stream of them.
func streamed(t *testing.T, addr string) (*bufio.Reader, net.Conn) {
	t.Helper()
	r := ask(t, addr, "GET", "/events", "localhost")
	if r.code != 200 || r.header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d, %v", r.code, r.header)
	}
	return bufio.NewReader(r.body), r.conn
}

func TestAChangeReachesEverybody(t *testing.T) {
	d := newDaemon()
	addr := serve(t, Pages(d.source())...)
	var all []*bufio.Reader
	for range 3 {
		from, _ := streamed(t, addr)
		heard(t, from, "status", trouble("well"))
		heard(t, from, "history", func(l history.List) bool { return len(l.Changes) == 0 })
		all = append(all, from)
	}
	d.applied("one")
	for _, from := range all {
		heard(t, from, "history", newest("one"))
	}
	d.says("not well")
	var told time.Time
	for _, from := range all {
		heard(t, from, "status", func(s status.Status) bool {
			told = s.At
			return trouble("not well")(s)
		})
	}
	// And when nothing changes, that is said.
	heard(t, all[0], "status", func(s status.Status) bool { return s.At.After(told) })
}

func TestStreamsAreBounded(t *testing.T) {
	addr := serve(t, Pages(newDaemon().source())...)
	var last net.Conn
	for range streams {
		var from *bufio.Reader
		from, last = streamed(t, addr)
		heard(t, from, "status", trouble("well"))
	}
	r := ask(t, addr, "GET", "/events", "localhost")
	if r.code != http.StatusServiceUnavailable || r.header.Get("Retry-After") != "10" {
		t.Errorf("one more: %d, %v", r.code, r.header)
	}
	if r := ask(t, addr, "GET", "/status.json", "localhost"); r.code != 200 {
		t.Errorf("status.json: %d", r.code)
	}
	_ = last.Close()
	servertest.Eventually(t, "there is a place again", func() error {
		if r := ask(t, addr, "GET", "/events", "localhost"); r.code != 200 {
			return errors.Join(fmt.Errorf("%d", r.code), r.conn.Close())
		}
		return nil
	})
}

// A client that does not read, and one that has gone, cost the others nothing, and leave
// nothing.
func TestSlowAndDeadClients(t *testing.T) {
	d := newDaemon()
	e := newEvents(d.source())
	e.slow = 200 * time.Millisecond
	addr := serve(t, status.Page{Path: "/events", Handler: e})
	goroutines, files := runtime.NumGoroutine(), descriptors(t)

	long := strings.Repeat("x", 512<<10) // more than a connection holds that nobody reads
	d.says(long)
	var idle []net.Conn
	for range streams - 1 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_, _ = fmt.Fprint(c, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
		idle = append(idle, c)
	}
	for _, c := range idle[:5] {
		_ = c.Close()
	}
	from, c := streamed(t, addr)
	heard(t, from, "status", trouble(long))
	d.applied("while others are slow")
	heard(t, from, "history", newest("while others are slow"))
	servertest.Eventually(t, "nobody has a place but who listens", func() error {
		if n := len(e.places); n != 1 {
			return fmt.Errorf("%d have", n)
		}
		return nil
	})
	d.says("short")
	heard(t, from, "status", trouble("short"))
	_ = c.Close()
	for _, c := range idle {
		_ = c.Close()
	}
	servertest.Eventually(t, "nothing is left", func() error {
		if n, f := runtime.NumGoroutine(), descriptors(t); n > goroutines || f > files || len(e.places) > 0 {
			return fmt.Errorf("%d goroutines, %d before; %d descriptors, %d before; %d places", n, goroutines, f, files, len(e.places))
		}
		return nil
	})
}

// descriptors is how many this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
