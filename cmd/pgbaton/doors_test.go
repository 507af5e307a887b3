package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/internal/status"
	"github.com/pgbaton/pgbaton/internal/web"
)

// A stream has no end of its own: it ends with its door, also if nobody reads it.
func TestDoorEndsItsStreams(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	journal := history.New(func(texts ...string) []string { return texts }, failure)
	// More than a connection holds that nobody reads.
	shown := status.Of(time.Now(), status.Process{Config: []string{strings.Repeat("x", 6<<20)}}, nil, nil, nil)
	now := func() status.Status { return shown }
	server := status.Server(status.Handler(now, web.Pages(web.Source{Status: now, Changes: journal.Changes})...))
	d := openDoor(t.Context(), "key", hclog.NewNullLogger(), server, func() (net.Listener, error) { return net.Listen("tcp", address) })
	servertest.Eventually(t, "it is open", servertest.Listening(address))

	open := func() (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(servertest.Deadline))
		_, _ = io.WriteString(c, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
		r := bufio.NewReader(c)
		if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 200 OK\r\n" {
			t.Fatalf("%q, %v", line, err)
		}
		return c, r
	}
	reads, from := open()
	stuck, _ := open()
	read := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, from)
		read <- err
	}()

	closed, begun := make(chan struct{}), time.Now()
	go func() {
		defer close(closed)
		d.close()
	}()
	select {
	case <-closed:
	case <-time.After(leave + 3*time.Second): // less than a stream waits for one who does not read
		t.Fatal("it does not close")
	}
	t.Logf("closed within %v", time.Since(begun))
	if err := <-read; err != nil {
		t.Errorf("whoever reads is cut off: %v", err)
	}
	for _, c := range []net.Conn{reads, stuck} {
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Error(err)
		}
	}
}
