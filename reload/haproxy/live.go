package haproxy

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// liveServer is what a worker says of one of its servers.
type liveServer struct {
	addr      netip.Addr // invalid if it has none, as for a name that was not resolved
	port      int
	checkAddr netip.Addr // invalid: the server's own
	checkPort int        // 0: the server's own
	weight    int        // 0: it gets no new sessions, and keeps those that it has
	up        bool       // it gets new sessions unless it is in maintenance
	forced    bool       // somebody put it into maintenance, be it the config
	checkable bool       // its config has a check
	checks    bool       // and that is not disabled
	agent     bool
}

// at is where its clients are led.
func (l liveServer) at() netip.AddrPort { return netip.AddrPortFrom(l.addr.Unmap(), uint16(l.port)) }

// held says whether its clients wait.
func (l liveServer) held() bool { return l.at() == nowhere && !l.forced }

// Bits of srv_admin_state, srv_check_state and srv_agent_state, the same ones
// since 1.8.
const (
	adminForced     = 0x01
	checkConfigured = 0x02
	checkEnabled    = 0x04
)

// parseServers reads an answer to `show servers state`, by the names of its
// columns. The keys are BACKEND/SERVER.
func parseServers(text string) (map[string]liveServer, error) {
	columns := map[string]int{}
	servers := map[string]liveServer{}
	for line := range strings.Lines(text) {
		if heading, is := strings.CutPrefix(line, "# "); is {
			for i, name := range strings.Fields(heading) {
				columns[name] = i
			}
			continue
		}
		fields := strings.Fields(line)
		at := func(name string) string {
			if i, known := columns[name]; known && i < len(fields) {
				return fields[i]
			}
			return ""
		}
		number := func(name string) int {
			n, _ := strconv.Atoi(at(name))
			return n
		}
		if at("srv_name") == "" {
			continue
		}
		s := liveServer{
			port: number("srv_port"), weight: number("srv_uweight"), checkPort: number("srv_check_port"),
			up: number("srv_op_state") == 2, forced: number("srv_admin_state")&adminForced != 0,
			checkable: number("srv_check_state")&checkConfigured != 0,
			checks:    number("srv_check_state")&checkEnabled != 0, agent: number("srv_agent_state")&checkEnabled != 0,
		}
		s.addr, _ = netip.ParseAddr(at("srv_addr"))
		s.checkAddr, _ = netip.ParseAddr(at("srv_check_addr"))
		servers[at("be_name")+"/"+at("srv_name")] = s
	}
	if _, ok := columns["srv_port"]; !ok {
		return nil, errors.New("show servers state has no servers: " + tidy(text[:min(len(text), 200)]))
	}
	return servers, nil
}
