package repmgr_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/repmgr"
)

// impostor is a server that lets everybody in and answers every question alike.
func impostor(t *testing.T, answer func(conn net.Conn, server *pgproto3.Backend) error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				server := pgproto3.NewBackend(conn, conn)
				if _, err := server.ReceiveStartupMessage(); err != nil {
					return
				}
				server.Send(&pgproto3.AuthenticationOk{})
				server.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
				if server.Flush() != nil {
					return
				}
				for {
					if _, err := server.Receive(); err != nil || answer(conn, server) != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// TestHostileNodes: what is no answer is an error, and takes no memory.
func TestHostileNodes(t *testing.T) {
	row := func(n int) *pgproto3.DataRow { return &pgproto3.DataRow{Values: [][]byte{make([]byte, n)}} }
	begin := func(server *pgproto3.Backend) {
		server.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("x")}}})
	}
	for want, answer := range map[string]func(net.Conn, *pgproto3.Backend) error{
		"longer than 1048576 bytes": func(_ net.Conn, server *pgproto3.Backend) error {
			begin(server)
			for range 4 << 10 {
				server.Send(row(1 << 10))
				if err := server.Flush(); err != nil {
					return err
				}
			}
			return nil
		},
		"expected at most 1048576, but got 1073741819": func(conn net.Conn, server *pgproto3.Backend) error {
			begin(server)
			if err := server.Flush(); err != nil {
				return err
			}
			_, err := conn.Write([]byte{'D', 0x3f, 0xff, 0xff, 0xff}) // a gigabyte is to come
			return err
		},
		"it answers something else": func(_ net.Conn, server *pgproto3.Backend) error {
			begin(server)
			server.Send(row(1))
			server.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
			server.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			return server.Flush()
		},
	} {
		_, err := open(t, repmgr.Config{Nodes: []string{impostor(t, answer)}, SSLMode: "disable"}).
			Fetch(t.Context(), watcher.Query{Kind: watcher.Prefix, Path: "repmgr/main/"}, 0)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
