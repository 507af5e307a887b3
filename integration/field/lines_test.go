package field

import (
	"fmt"
	"net"
	"net/url"
	"testing"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// badLines makes the lines of pgbaton's machine bad ones while the leader moves.
// Where anything gets through it is followed; where nothing does, once it is mended.
func badLines(t *testing.T, s *stage) {
	store, members := s.lines(t)
	all := append([]*faulttest.Line{store}, members...)
	for _, bad := range []struct {
		name   string
		lines  []*faulttest.Line
		toxics []string
		silent bool
	}{
		{"latency", all, faulttest.Latency, false},
		{"slow close", all, faulttest.SlowClose, false},
		{"slices", all, faulttest.Slices, false},
		{"ends after some bytes", []*faulttest.Line{store}, faulttest.EndsEarly, false},
		{"open, and nothing comes", []*faulttest.Line{store}, faulttest.NothingCame, true},
	} {
		t.Run(bad.name, func(t *testing.T) {
			e := s.begin(t, settings{consul: `block_query_wait = "2s"`})
			old, next := s.cluster.Leader(t), s.cluster.SyncStandby(t)
			for _, l := range bad.lines {
				l.Spoil(t, bad.toxics)
			}
			s.cluster.Switchover(t, next)
			if bad.silent {
				e.logs(t, "store does not answer")
				e.stays(t, old)
			} else {
				e.writesOn(t, next)
			}
			for _, l := range bad.lines {
				l.Mend(t)
			}
			e.writesOn(t, next)
			e.end(t)
		})
	}
}

// lines puts a line in front of the store, and of each member's PostgreSQL and Patroni,
// for all that goes there from pgbaton's machine. Nobody there can tell.
func (s *stage) lines(t *testing.T) (store *faulttest.Line, members []*faulttest.Line) {
	t.Helper()
	to := func(address string) *faulttest.Line {
		t.Helper()
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		at := fmt.Sprintf("%s:%d", s.net.Addr, servertest.FreePort(t))
		l := faulttest.NewLine(t, at, address)
		faulttest.Rule(t, s.edge.Namespace, "nat", "OUTPUT", "-d", host, "-p", "tcp", "--dport", port, "-j", "DNAT", "--to-destination", at)
		return l
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
