package haproxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbaton/pgbaton/reload"
)

func parseText(text string) structure {
	return parse([]reload.File{{Path: "/etc/haproxy.cfg", Content: []byte(text)}})
}

const sample = `defaults
  mode tcp
listen rw
  bind 10.0.0.1:5000,[::]:5001 v4v6 # both
  bind /run/x.sock
  bind *:6000-6010
  server leader 10.0.0.11:5432 check port 8008
  server pg2 [2001:db8::2]:5432 check addr 10.1.0.2 port 8008 disabled
  server pg3 pg3.example:5432 weight 50 check resolvers dns
defaults web
  mode http
backend pages from web
  server a 10.0.0.1:80
`

func TestParse(t *testing.T) {
	got := parseText(sample)
	want := []server{
		{name: "rw/leader", host: "10.0.0.11", port: 5432, checkPort: 8008},
		{name: "rw/pg2", host: "2001:db8::2", port: 5432, checkHost: netip.MustParseAddr("10.1.0.2"), checkPort: 8008, disabled: true},
		{name: "rw/pg3", host: "pg3.example", port: 5432, weight: 50, weighted: true, dns: true},
	}
	if diff := cmp.Diff(want, got.servers, cmp.AllowUnexported(server{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	var binds []string
	for _, b := range got.binds {
		binds = append(binds, b.at+" "+b.addr.String())
	}
	if diff := cmp.Diff([]string{"haproxy.cfg:4 10.0.0.1:5000", "haproxy.cfg:4 [::]:5001"}, binds); diff != "" {
		t.Error(diff)
	}
}

func TestStructure(t *testing.T) {
	for _, tc := range []struct {
		name, old, with string
		same            bool
	}{
		{"address", "10.0.0.11:5432", "10.0.0.12:5433", true},
		{"a name for an address", "10.0.0.11:5432", "pg1.example:5432", true},
		{"check port", "check port 8008\n", "check port 8009\n", true},
		{"check address gone", "addr 10.1.0.2 ", "", true},
		{"disabled", " disabled", "", true},
		{"weight", "weight 50", "weight 0", true},
		{"no weight", "weight 50 ", "", false},
		{"a weight that is none", "weight 50", "weight 257", false},
		{"a comment", "# both", "# all", true},
		{"no check port", "check port 8008\n", "check\n", false},
		{"an option", "check port 8008\n", "check port 8008 weight 2\n", false},
		{"a server gone", "  server leader 10.0.0.11:5432 check port 8008\n", "", false},
		{"a server's name", "server leader", "server primary", false},
		{"a server without a port", "10.0.0.11:5432", "10.0.0.11", false},
		{"a socket", "10.0.0.11:5432", "unix@/run/x:5432", false},
		{"a variable", "10.0.0.11:5432", `"$LEADER:5432"`, false},
		{"a port that is reckoned", "10.0.0.11:5432", "10.0.0.11:+1", false},
		{"a bind address", "10.0.0.1:5000", "10.0.0.1:5002", false},
		{"an address in mode http", "10.0.0.1:80", "10.0.0.2:80", false},
		{"the mode", "mode tcp", "mode http", false},
	} {
		with := strings.Replace(sample, tc.old, tc.with, 1)
		if with == sample {
			t.Fatalf("%s changes nothing", tc.name)
		}
		if same := parseText(with).rest == parseText(sample).rest; same != tc.same {
			t.Errorf("%s: the same is %v", tc.name, same)
		}
	}
	a, b := reload.File{Path: "/a.cfg"}, reload.File{Path: "/some.map", Content: []byte("x")}
	if parse([]reload.File{a}).rest == parse([]reload.File{a, b}).rest {
		t.Error("a file beside does not count")
	}
}

// FuzzParse: servers are in a section that leads clients, each with an address; and
// nothing but what a server says of itself may differ where the rest is the same.
func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Add("listen a from\n server\n server a :1 addr\n bind\n mode\n server a b:1 port port 1 addr ::1")
	f.Fuzz(func(t *testing.T, text string) {
		s := parseText(text)
		for _, srv := range s.servers {
			if srv.host == "" || srv.port < 1 || srv.port > 65535 || srv.checkPort < 0 || srv.checkPort > 65535 || !strings.Contains(srv.name, "/") {
				t.Errorf("a server %+v", srv)
			}
		}
		if again := parseText(text + "\n# a comment\n\n"); again.rest != s.rest || !slices.Equal(again.servers, s.servers) {
			t.Error("a comment at the end makes another structure")
		}
		if other := parseText(text + "\nglobal\n  maxconn 17\n"); other.rest == s.rest {
			t.Error("a setting more makes no other structure")
		}
	})
}

// Lists of sessions as 2.6 and as 2.4 lay them out.
func TestSessions(t *testing.T) {
	var got []session
	s := sessions{found: func(s session) { got = append(got, s) }}
	for line := range strings.Lines(`0x55: [22/Nov/2026:05:39:45.103339] id=1 proto=tcpv4 source=127.0.0.1:50818
  backend=primary (id=3 mode=tcp) addr=127.0.0.1:47546
  server=leader (id=1) addr=127.0.0.1:18511
  scb=0x7f flags=0x00000001 state=EST endp=CONN,0x7f,0x028c0001 sub=1
0x56: [22/Nov/2026:05:39:45.103339] id=2 proto=tcpv4 source=127.0.0.1:50818
  backend=primary (id=3 mode=tcp)
  server=leader (id=1)
  scb=0x7f flags=0x00000001 state=TAR endp=NONE,(nil),0x00000010 sub=0
0x57: [22/Nov/2026:05:39:45.103339] id=3 proto=sockpair source=unix:2
  backend=<NONE> (id=-1 mode=-)
  server=<NONE> (id=-1)
0x58: [22/Nov/2026:05:39:45.103339] id=4 proto=tcpv6 source=::1:50818
  backend=replicas (id=4 mode=tcp) addr=::1:47546
  server=pg1 (id=1) addr=::1:18513
`) {
		s.line(strings.TrimSuffix(line, "\n"))
	}
	s.end()
	want := []session{
		{pointer: "0x55", id: "1", server: "primary/leader", addr: netip.MustParseAddrPort("127.0.0.1:18511")},
		{pointer: "0x56", id: "2", server: "primary/leader", again: true},
		{pointer: "0x58", id: "4", server: "replicas/pg1", addr: netip.MustParseAddrPort("[::1]:18513")},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(session{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestParseServers(t *testing.T) {
	// 2.6; further columns and another order are other versions.
	got, err := parseServers(`1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port
3 primary 1 leader 127.0.0.1 0 0 1 1 21 8 2 0 6 0 0 0 - 18501 - 0 18502 10.0.0.1 - 18502
4 replicas 2 pg-2 ::1 2 5 1 1 21 1 0 0 14 0 0 0 - 18503 - 0 0 - - 0
4 replicas 3 pg3 - 0 32 1 1 21 1 0 0 0 0 0 0 pg3.example 18503 - 0 0 - - 0
`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]liveServer{
		"primary/leader": {addr: netip.MustParseAddr("127.0.0.1"), port: 18501, checkAddr: netip.MustParseAddr("10.0.0.1"), checkPort: 18502, weight: 1, checkable: true, checks: true},
		"replicas/pg-2":  {addr: netip.MustParseAddr("::1"), port: 18503, weight: 1, up: true, forced: true, checkable: true, checks: true},
		"replicas/pg3":   {port: 18503, weight: 1},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(liveServer{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"", "Permission denied\n", "1\n"} {
		if got, err := parseServers(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestPlan(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	drained, weighed := server{name: "b/s", port: 5432, weighted: true}, server{name: "b/s", port: 5432, weight: 50, weighted: true}
	live := liveServer{addr: a, port: 5432, weight: 100, up: true, checkable: true, checks: true, checkPort: 8008}
	srv := server{name: "b/s", port: 5432, checkPort: 8008}
	for _, tc := range []struct {
		name     string
		live     liveServer
		want     wanted
		disabled []string
		commands string
		all      bool
	}{
		{"as it is", live, wanted{srv, []netip.Addr{a}}, nil, "", true},
		{"one of a name's", live, wanted{srv, []netip.Addr{b, a}}, nil, "", true},
		{"moved", live, wanted{srv, []netip.Addr{b}}, nil, "addr 10.0.0.2 port 5432, health up", true},
		{"a name that leads nowhere", live, wanted{srv, nil}, nil, "", false},
		{"under resolvers", live, wanted{server{name: "b/s", port: 5432, dns: true}, []netip.Addr{b}}, nil, "addr 10.0.0.2 port 5432, health up", false},
		{
			"check told before",
			liveServer{addr: a, port: 5432, checkAddr: a, checkPort: 8008, checkable: true, checks: true},
			wanted{srv, []netip.Addr{b}},
			nil, "addr 10.0.0.2 port 5432, check-addr 10.0.0.2, health up", true,
		},
		{
			"check elsewhere", live,
			wanted{server{name: "b/s", port: 5432, checkHost: b, checkPort: 8009}, []netip.Addr{a}},
			nil,
			"check-addr 10.0.0.2, check-port 8009", true,
		},
		{
			"no check",
			liveServer{addr: a, port: 5432, checkPort: 8008},
			wanted{server{name: "b/s", port: 5432, checkPort: 8009}, []netip.Addr{a}},
			nil, "", true,
		},
		{
			"check disabled by an operator",
			liveServer{addr: a, port: 5432, checkPort: 8008, checkable: true},
			wanted{server{name: "b/s", port: 5432, checkPort: 8009}, []netip.Addr{a}},
			nil, "enable health b/s, check-port 8009, disable health b/s", true,
		},
		{
			"held with its check",
			liveServer{addr: nowhere.Addr(), port: 1, checkPort: 8008, up: true, checkable: true},
			wanted{server{name: "b/s", host: "10.0.0.2", port: 5432, checkPort: 8009}, []netip.Addr{b}},
			nil, "addr 10.0.0.2 port 5432, enable health b/s, check-port 8009, health up", true,
		},
		{
			"held, and led where it led before",
			liveServer{addr: nowhere.Addr(), port: 1, up: true},
			wanted{server{name: "b/s", host: "10.0.0.1", port: 5432}, []netip.Addr{a}},
			nil, "", true,
		},
		{
			"held, and led elsewhere",
			liveServer{addr: nowhere.Addr(), port: 1, up: true},
			wanted{server{name: "b/s", host: "10.0.0.2", port: 5432}, []netip.Addr{b}},
			nil, "addr 10.0.0.2 port 5432", true,
		},
		{"disabled", live, wanted{server{name: "b/s", port: 5432, disabled: true}, []netip.Addr{b}}, nil, "addr 10.0.0.2 port 5432, state maint", true},
		{"an operator's", liveServer{addr: a, port: 5432, forced: true}, wanted{server{name: "b/s", port: 5432}, []netip.Addr{a}}, nil, "", true},
		{"drained", live, wanted{drained, []netip.Addr{a}}, nil, "weight 0", true},
		{"weighed", live, wanted{weighed, []netip.Addr{a}}, nil, "weight 50", true},
		{"moved and drained", live, wanted{drained, []netip.Addr{b}}, nil, "addr 10.0.0.2 port 5432, weight 0, health up", true},
		{"enabled", liveServer{addr: a, port: 5432, forced: true}, wanted{server{name: "b/s", port: 5432}, []netip.Addr{a}}, []string{"b/s"}, "state ready", true},
	} {
		moves, all := plan([]wanted{tc.want}, map[string]liveServer{"b/s": tc.live}, note{Disabled: tc.disabled, Servers: map[string]string{"b/s": "10.0.0.1:5432"}})
		var commands []string
		for _, m := range moves {
			for _, c := range m.commands {
				commands = append(commands, strings.TrimPrefix(c, "set server b/s "))
			}
		}
		if got := strings.Join(commands, ", "); got != tc.commands || all != tc.all {
			t.Errorf("%s: %q, all %v", tc.name, got, all)
		}
	}
}

// FuzzParseServers: a worker's answer is a table or an error, and what can be held in
// it is found again by its name.
func FuzzParseServers(f *testing.F) {
	f.Add(`1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_check_state srv_agent_state srv_port srv_check_port srv_check_addr
3 primary 1 leader 127.0.0.1 2 0 6 0 18501 18502 10.0.0.1
3 primary 2 other - 0 1 0 0 99999 - -
4 replicas 1 pg2 2001:db8::1 2 0 6 6 5432 0 -
`)
	f.Add("# srv_port srv_name\n-1 a\n# srv_name\n")
	f.Add("# srv_port be_name srv_name srv_addr\n70000 b a ::ffff:1.2.3.4%x\n")
	f.Fuzz(func(t *testing.T, text string) {
		live, err := parseServers(text)
		if err != nil {
			return
		}
		for name := range live {
			if !strings.Contains(name, "/") || len(strings.Fields(name)) != 1 {
				t.Errorf("a server named %q", name)
			}
		}
		for _, s := range slots(live) {
			back, err := parseSlot(s.String())
			if strings.ContainsAny(s.server, "=") {
				continue // no name that HAProxy takes
			}
			if err != nil || back != s {
				t.Errorf("%q was %+v and is %+v, error %v", s.String(), s, back, err)
			}
		}
	})
}

// FuzzSessions: a session that is found has what a command needs to name it.
func FuzzSessions(f *testing.F) {
	f.Add("0x55: [22/Nov/2026:05:39:45.103339] id=1 proto=tcpv4\n  backend=primary (id=3 mode=tcp) addr=127.0.0.1:1\n  server=leader (id=1) addr=127.0.0.1:18511\n  scb=0x7f state=TAR\n")
	f.Add("0x: \nserver= addr=\nbackend=\nserver=a addr= \n0x1: id=\n")
	f.Fuzz(func(t *testing.T, text string) {
		var all []session
		s := sessions{found: func(s session) { all = append(all, s) }}
		for line := range strings.Lines(text) {
			s.line(strings.TrimSuffix(line, "\n"))
		}
		s.end()
		for _, found := range all {
			if hex, is := strings.CutPrefix(found.pointer, "0x"); !is || strings.Trim(hex, "0123456789abcdefABCDEF") != "" || hex == "" {
				t.Errorf("a session at %q", found.pointer)
			}
			if !strings.Contains(found.server, "/") {
				t.Errorf("a server named %q", found.server)
			}
		}
	})
}
