package haproxy

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// move is what a worker is to be told about one server.
type move struct {
	server   string
	commands []string
	says     string // for a person
	address  bool   // it moves the server, so that what its checks found is void
}

// wanted is a server with its name looked up.
type wanted struct {
	server
	addrs []netip.Addr // any of them is right; none if the name leads nowhere
}

// resolve looks up the names of servers, all in one moment.
func resolve(ctx context.Context, servers []server) []wanted {
	ctx, cancel := context.WithTimeout(ctx, lookup)
	defer cancel()
	known := map[string][]netip.Addr{}
	var all []wanted
	for _, s := range servers {
		addrs, asked := known[s.host]
		if !asked {
			addrs = addresses(ctx, s.host)
			known[s.host] = addrs
		}
		all = append(all, wanted{s, addrs})
	}
	return all
}

// plan compares what is wanted with what a worker has. Servers that are not
// there, or whose name leads nowhere, are left to a reload: all is false then.
// One that an operator put into maintenance stays there; what the config had
// disabled before, as known has it, does not. One that is held stays so, unless
// it is to lead elsewhere than before.
func plan(want []wanted, live map[string]liveServer, known note) (moves []move, all bool) {
	all = true
	for _, w := range want {
		l, there := live[w.name]
		if !there || len(w.addrs) == 0 {
			all = false
			continue
		}
		m := move{server: w.name}
		tell := func(format string, args ...any) {
			m.commands = append(m.commands, fmt.Sprintf("set server %s "+format, append([]any{w.name}, args...)...))
		}
		addr := l.addr
		if known.keeps(w.server, l) {
			addr = w.addrs[0]
		} else if !slices.Contains(w.addrs, l.addr) || l.port != w.port {
			if w.dns {
				all = false // what HAProxy looks up again would overrule it
			}
			if !slices.Contains(w.addrs, addr) {
				addr = w.addrs[0]
			}
			m.address, m.says = true, fmt.Sprintf("moved %s to %s", w.name, netip.AddrPortFrom(addr, uint16(w.port)))
			tell("addr %s port %d", addr, w.port)
		}
		var check []string
		switch {
		case !l.checkable:
		case w.checkHost.IsValid() && l.checkAddr != w.checkHost:
			check = append(check, fmt.Sprintf("set server %s check-addr %s", w.name, w.checkHost))
		case !w.checkHost.IsValid() && l.checkAddr.IsValid() && l.checkAddr != addr:
			check = append(check, fmt.Sprintf("set server %s check-addr %s", w.name, addr))
		}
		if l.checkable && w.checkPort != 0 && l.checkPort != w.checkPort {
			check = append(check, fmt.Sprintf("set server %s check-port %d", w.name, w.checkPort))
		}
		if len(check) > 0 {
			m.commands = append(m.commands, l.whileEnabled(w.name, check)...)
			if m.says == "" {
				m.says = "moved the check of " + w.name
			}
		}
		switch {
		case w.disabled && !l.forced:
			tell("state maint")
			m.say("disabled " + w.name)
		case !w.disabled && l.forced && slices.Contains(known.Disabled, w.name):
			tell("state ready")
			m.say("enabled " + w.name)
		}
		if w.weighted && l.weight != w.weight {
			tell("weight %d", w.weight)
			switch {
			case w.weight == 0:
				m.say("drained " + w.name)
			case l.weight == 0:
				m.say("took back " + w.name)
			default:
				m.say(fmt.Sprintf("weighed %s %d", w.name, w.weight))
			}
		}
		// What the checks found at the old address, which may be that nobody is
		// there any more, must not keep clients from the new one.
		if m.address && !w.disabled {
			if l.checkable {
				tell("health up")
			}
			if l.agent {
				tell("agent up")
			}
		}
		if len(m.commands) > 0 {
			moves = append(moves, m)
		}
	}
	// First those that decide where writes go.
	slices.SortStableFunc(moves, func(a, b move) int {
		switch {
		case a.address == b.address:
			return 0
		case a.address:
			return -1
		}
		return 1
	})
	return moves, all
}

// whileEnabled makes changes of a check possible: HAProxy takes none of one that
// is disabled, and its words of that have no end that could be waited for. A
// hold's check is enabled for good, an operator's is disabled again.
func (l liveServer) whileEnabled(server string, check []string) []string {
	if l.checks {
		return check
	}
	check = append([]string{"enable health " + server}, check...)
	if !l.held() {
		check = append(check, "disable health "+server)
	}
	return check
}

func (m *move) say(what string) {
	if m.says != "" {
		what = m.says + ", " + what
	}
	m.says = what
}

// tell makes the moves in one worker and looks whether they are made. It returns
// what is not as it was told to be.
func (c *conversation) tell(moves []move, want []wanted, known note) error {
	var said []string
	for _, m := range moves {
		for _, command := range m.commands {
			answer, err := c.ask(command)
			if err != nil {
				return err
			}
			if answer != "" {
				said = append(said, tidy(answer))
			}
		}
	}
	live, err := c.servers()
	if err != nil {
		return err
	}
	left, _ := plan(want, live, known)
	for _, m := range left {
		return fmt.Errorf("%s is not as it was told to be: %s", m.server, strings.Join(said, "; "))
	}
	for _, m := range moves {
		if l := live[m.server]; m.address && !l.up && !l.forced {
			return fmt.Errorf("%s is down after its move: %s", m.server, strings.Join(said, "; "))
		}
	}
	return nil
}

// sayAll is what the moves are for a person.
func sayAll(moves []move) string {
	var all []string
	for _, m := range moves {
		all = append(all, m.says)
	}
	return strings.Join(all, ", ")
}
