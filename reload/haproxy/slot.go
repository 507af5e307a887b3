package haproxy

import (
	"fmt"
	"net/netip"
	"strings"
)

// nowhere is where a held server leads: nobody listens at port 1 of a worker's
// own host, so each connect is refused at once and tried again later. What has
// it is held, whoever did that.
var nowhere = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 1)

// slot is a server whose clients can be held: the only one of its backend that
// is not in maintenance. Its text is the name of what flows.
type slot struct {
	server string         // BACKEND/SERVER
	addr   netip.AddrPort // where it leads when it is not held
	check  bool           // its checks run
	agent  bool
}

func (s slot) String() string {
	text := s.server + "=" + s.addr.String()
	if s.check {
		text += ",check"
	}
	if s.agent {
		text += ",agent"
	}
	return text
}

// parseSlot reads what String wrote, perhaps in another process.
func parseSlot(text string) (slot, error) {
	server, rest, _ := strings.Cut(text, "=")
	addr, options, _ := strings.Cut(rest, ",")
	to, err := netip.ParseAddrPort(addr)
	if err != nil || !strings.Contains(server, "/") {
		return slot{}, fmt.Errorf("%q is no BACKEND/SERVER=ADDRESS of haproxy's", text)
	}
	s := slot{server: server, addr: to}
	for option := range strings.SplitSeq(options, ",") {
		s.check = s.check || option == "check"
		s.agent = s.agent || option == "agent"
	}
	return s, nil
}

// slots are those of a worker's servers that can be held.
func slots(live map[string]liveServer) []slot {
	serving := map[string]int{}
	for name, l := range live {
		if !l.forced {
			serving[backend(name)]++
		}
	}
	var all []slot
	for name, l := range live {
		if !l.forced && l.addr.IsValid() && serving[backend(name)] == 1 {
			all = append(all, slot{server: name, addr: l.at(), check: l.checks, agent: l.agent})
		}
	}
	return all
}

// backend is that of BACKEND/SERVER.
func backend(server string) string {
	name, _, _ := strings.Cut(server, "/")
	return name
}

// hold is what a worker is told to keep the slot's clients waiting. A held
// server counts as fit, for those of one that is down are refused; so it is not
// checked meanwhile. The address comes first: nobody else may slip through.
func (s slot) hold() []string {
	commands := []string{moveTo(s.server, nowhere)}
	if s.check {
		commands = append(commands, "disable health "+s.server, "set server "+s.server+" health up")
	}
	if s.agent {
		commands = append(commands, "disable agent "+s.server, "set server "+s.server+" agent up")
	}
	return commands
}

// release is what a worker is told to undo that. One that leads elsewhere by
// now, as to the next leader, stays there.
func (s slot) release(l liveServer) []string {
	var commands []string
	if l.held() {
		commands = append(commands, moveTo(s.server, s.addr))
	}
	if s.check {
		commands = append(commands, "enable health "+s.server)
	}
	if s.agent {
		commands = append(commands, "enable agent "+s.server)
	}
	return commands
}

func moveTo(server string, to netip.AddrPort) string {
	return fmt.Sprintf("set server %s addr %s port %d", server, to.Addr(), to.Port())
}
