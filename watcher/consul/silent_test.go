package consul

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/watcher"
)

// TestSilentPeer asks a peer that accepts and never answers, as a proxy does
// whose backend is gone.
func TestSilentPeer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	opened, err := (&Config{Address: l.Addr().String(), Wait: "10ms"}).Open()
	if err != nil {
		t.Fatal(err)
	}
	s := opened.(*Store)
	s.prompt = 50 * time.Millisecond
	for _, after := range []uint64{0, 7} {
		_, err := s.Fetch(t.Context(), watcher.Query{Kind: watcher.Key, Path: "k"}, after)
		if err == nil || !strings.Contains(err.Error(), "read key k: no answer within") {
			t.Errorf("after %d: %v", after, err)
		}
	}
}
