package pgbouncer

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestDestroySocket(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		var conns [2]net.Conn // to the same server
		for i := range conns {
			if conns[i], err = net.Dial("tcp", l.Addr().String()); err != nil {
				t.Fatal(err)
			}
		}
		at := func(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }
		if err := destroySocket(at(conns[0].LocalAddr()), at(conns[0].RemoteAddr())); err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		if _, err := conns[0].Write([]byte("x")); err == nil {
			t.Errorf("%s: the socket is still there", host)
		}
		_ = conns[1].SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := conns[1].Read(make([]byte, 1)); err == nil || !err.(net.Error).Timeout() { //nolint:errorlint // as net returns it
			t.Errorf("%s: another socket: %v", host, err)
		}
		if err := destroySocket(at(conns[0].LocalAddr()), at(conns[0].RemoteAddr())); err == nil {
			t.Errorf("%s: destroyed twice", host)
		}
		for _, c := range conns {
			_ = c.Close()
		}
		_ = l.Close()
	}
}
