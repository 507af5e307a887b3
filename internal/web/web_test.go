package web

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/internal/status"
)

// daemon is what the tests show: a real journal, and a status that they set.
type daemon struct {
	journal *history.Journal
	line    atomic.Pointer[string] // of its one target's error
}

func newDaemon() *daemon {
	d := &daemon{journal: history.New(func(texts ...string) []string { return texts }, func(error, bool) string { return status.KindCheck })}
	d.says("well")
	return d
}

func (d *daemon) says(text string) { d.line.Store(&text) }

func (d *daemon) source() Source {
	return Source{Changes: d.journal.Changes, Status: func() status.Status {
		t := status.Target{ID: "exec.app", State: status.Failing, Error: &status.Error{Text: *d.line.Load(), Words: "SECRET-words", Hint: "SECRET-hint"}}
		return status.Of(time.Now(), status.Process{}, []status.Target{t}, nil, nil)
	}}
}

// applied notes a change of two files, of which everybody may read one. Nobody compares
// them here, so a diff is what a journal that was kept has.
func (d *daemon) applied(hash string) {
	d.journal.Note(history.Applied{Attempt: history.Attempt{Target: "exec.app", Hash: hash, At: time.Now(), Seen: time.Now()}, How: "SECRET-how"})
}

// serve starts a listener as the daemon has it, and returns its address.
func serve(t *testing.T, pages ...status.Page) string {
	t.Helper()
	l, err := (&net.ListenConfig{Control: status.UserTimeout}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := status.Server(status.Handler(newDaemon().source().Status, pages...))
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(status.Limit(narrow{l})) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// narrow makes connections that hold little of what nobody reads.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return c, c.(*net.TCPConn).SetWriteBuffer(4 << 10)
}

// answer is one to a request over a connection of its own.
type answer struct {
	code   int
	header http.Header
	body   io.Reader
	conn   net.Conn
}

// ask sends a request. Its connection stays open until the test ends.
func ask(t *testing.T, addr, method, path, host string) answer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(servertest.Deadline))
	_, _ = fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, path, host)
	r, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method}) //nolint:bodyclose // it ends with the connection: to close it would read it to its end
	if err != nil {
		t.Fatal(err)
	}
	return answer{r.StatusCode, r.Header, r.Body, c}
}

// all is the whole body.
func (a answer) all(t *testing.T) string {
	t.Helper()
	content, err := io.ReadAll(a.body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// Whatever is shown is under the rules of the listener, and lets a browser do no more
// than it has to.
func TestPagesKeepTheRules(t *testing.T) {
	pages := Pages(newDaemon().source())
	addr := serve(t, pages...)
	for _, p := range pages {
		path := strings.TrimSuffix(p.Path, "{$}")
		r := ask(t, addr, "HEAD", path, "localhost")
		if r.code != 200 {
			t.Errorf("HEAD %s: %d", path, r.code)
		}
		if r.header.Get("X-Content-Type-Options") != "nosniff" || r.header.Get("Cache-Control") != "no-store" || r.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", path, r.header)
		}
		if r := ask(t, addr, "GET", path, "evil.example"); r.code != http.StatusMisdirectedRequest {
			t.Errorf("GET %s for another host: %d", path, r.code)
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
			if r := ask(t, addr, method, path, "localhost"); r.code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, r.code)
			}
		}
	}
	r := ask(t, addr, "GET", "/", "localhost")
	for name, want := range map[string]string{"Content-Type": "text/html; charset=utf-8", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Content-Security-Policy": policy} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if strings.Contains(policy, "unsafe") || !strings.HasPrefix(policy, "default-src 'none'") {
		t.Errorf("the policy is %s", policy)
	}
	if r := ask(t, addr, "GET", "/nothing", "localhost"); r.code != http.StatusNotFound {
		t.Errorf("GET /nothing: %d", r.code)
	}
}

// The page makes nothing of a text but text, and loads nothing from elsewhere.
func TestPageIsPlain(t *testing.T) {
	for file, never := range map[string]string{
		"index.html": `<style|style=|<script>|\son[a-z]+=|://`,
		"style.css":  `@import|url\(|expression|://`,
		"page.js":    `(?i)innerHTML|outerHTML|insertAdjacent|document\.write|DOMParser|createContextual|\beval\b|new Function|setAttribute\('(on|style|src|href)|https?://[^w]`,
	} {
		content, err := files.ReadFile("page/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if found := regexp.MustCompile(never).Find(content); found != nil {
			t.Errorf("%s has %q", file, found)
		}
	}
}

func TestHistoryShowsNoMore(t *testing.T) {
	changes := []history.Change{{
		ID: 7, Target: "exec.app", How: "SECRET-how", Cut: "SECRET-cut", Error: &history.Error{Kind: "check", Words: "SECRET-words"},
		Files: []history.Diff{{Path: "/etc/open", Open: true, Text: "+open"}, {Path: "/etc/closed", Text: "+closed"}},
	}, {ID: 6}}
	var last history.List
	get := func(from Source, path string) string {
		from.Changes = func() ([]history.Change, <-chan struct{}) { return slices.Clone(changes), nil }
		r := ask(t, serve(t, Pages(from)...), "GET", path, "localhost")
		text := r.all(t)
		last = history.List{}
		if err := json.Unmarshal([]byte(text), &last); r.code == 200 && err != nil {
			t.Fatal(err)
		}
		return text
	}
	from := newDaemon().source()
	if text := get(from, "/history.json"); strings.Contains(text, "SECRET") || strings.Contains(text, "+closed") || !strings.Contains(text, "+open") || len(last.Changes) != 2 {
		t.Errorf("everybody sees %s", text)
	}
	if text := get(from, "/history.json?brief"); strings.Contains(text, "+open") || !strings.Contains(text, "/etc/closed") || len(last.Changes) != 2 {
		t.Errorf("brief is %s", text)
	}
	if get(from, "/history.json?id=6"); len(last.Changes) != 1 || last.Changes[0].ID != 6 {
		t.Errorf("change 6 is %+v", last)
	}
	for _, id := range []string{"5", "", "x"} {
		if text := get(from, "/history.json?id="+id); !strings.HasPrefix(text, "there is no such change") {
			t.Errorf("change %q is %s", id, text)
		}
	}
	from.Diffs = true
	if text := get(from, "/history.json?id=7"); strings.Contains(text, "SECRET") || !strings.Contains(text, "+closed") {
		t.Errorf("with diffs for everybody: %s", text)
	}
	if changes[0].Files[1].Text != "+closed" || changes[0].How == "" {
		t.Error("what was shown is not what is known any more")
	}
}
