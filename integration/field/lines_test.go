package field

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// badLines makes the lines of pgbaton's machine bad ones while the leader moves.
// Where anything gets through it is followed; where nothing does, once it is mended.
func badLines(t *testing.T, s *stage) {
	store, members := s.lines(t)
	all := append([]*line{store}, members...)
	for _, bad := range []struct {
		name   string
		lines  []*line
		toxics []string
		silent bool
	}{
		{"latency", all, []string{
			`{"type":"latency","stream":"upstream","attributes":{"latency":150,"jitter":100}}`,
			`{"type":"latency","stream":"downstream","attributes":{"latency":150,"jitter":100}}`,
		}, false},
		{"slow close", all, []string{`{"type":"slow_close","attributes":{"delay":2000}}`}, false},
		{"slices", all, []string{`{"type":"slicer","attributes":{"average_size":256,"size_variation":128,"delay":1000}}`}, false},
		{"ends after some bytes", []*line{store}, []string{`{"type":"limit_data","attributes":{"bytes":20000}}`}, false},
		{"open, and nothing comes", []*line{store}, []string{`{"type":"timeout","attributes":{"timeout":0}}`}, true},
	} {
		t.Run(bad.name, func(t *testing.T) {
			e := s.begin(t, settings{consul: `block_query_wait = "2s"`})
			old, next := s.cluster.Leader(t), s.cluster.SyncStandby(t)
			for _, l := range bad.lines {
				l.spoil(t, bad.toxics)
			}
			s.cluster.Switchover(t, next)
			if bad.silent {
				e.logs(t, "store does not answer")
				e.stays(t, old)
			} else {
				e.writesOn(t, next)
			}
			for _, l := range bad.lines {
				l.mend(t)
			}
			e.writesOn(t, next)
			e.end(t)
		})
	}
}

// line is a proxy that all goes through from pgbaton's machine to a server.
type line struct{ proxy *toxiproxy.Proxy }

// lines puts one in front of the store, and of each member's PostgreSQL and Patroni.
// Nobody on pgbaton's machine can tell.
func (s *stage) lines(t *testing.T) (store *line, members []*line) {
	t.Helper()
	proxies := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	t.Cleanup(func() { _ = proxies.Collection.Clear() })
	to := func(address string) *line {
		t.Helper()
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		at := fmt.Sprintf("%s:%d", s.net.Addr, servertest.FreePort(t))
		proxy := toxiproxy.NewProxy(proxies, address, at, address)
		if err := proxies.Collection.Add(proxy, true); err != nil {
			t.Fatal(err)
		}
		faulttest.Rule(t, s.edge.Namespace, "nat", "OUTPUT", "-d", host, "-p", "tcp", "--dport", port, "-j", "DNAT", "--to-destination", at)
		return &line{proxy}
	}
	for _, m := range s.cluster.Members {
		api, err := url.Parse(m.API())
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, to(server(m)), to(api.Host))
	}
	return to(s.store), members
}

// spoil makes it a bad one, for what is open and for what comes.
func (l *line) spoil(t *testing.T, toxics []string) {
	t.Helper()
	for _, toxic := range toxics {
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { l.proxy.Toxics.ResetToxics(context.Background()) })
}

func (l *line) mend(t *testing.T) {
	t.Helper()
	l.proxy.Toxics.ResetToxics(t.Context())
}
