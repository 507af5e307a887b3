package haproxy

import (
	"net/netip"
	"strings"
)

// session is a client that a worker has led to a server.
type session struct {
	pointer string         // how commands name it; given out again once it ends
	id      string         // never given out again
	server  string         // BACKEND/SERVER
	addr    netip.AddrPort // where its connection leads; invalid while it has none
	again   bool           // its connection failed, and it waits to try again
}

// sessions reads the lines of `show sess all` and hands over each session that
// has a server.
type sessions struct {
	now     session
	backend string
	found   func(session)
}

// line takes the next line of the answer.
func (s *sessions) line(line string) {
	if pointer, rest, is := strings.Cut(line, ": "); is && isPointer(pointer) {
		s.end()
		s.now.pointer = pointer
		for _, word := range strings.Fields(rest) {
			if id, is := strings.CutPrefix(word, "id="); is {
				s.now.id = id
			}
		}
		return
	}
	line = strings.TrimSpace(line)
	if backend, is := strings.CutPrefix(line, "backend="); is {
		s.backend, _, _ = strings.Cut(backend, " ")
	}
	if server, is := strings.CutPrefix(line, "server="); is {
		name, rest, _ := strings.Cut(server, " ")
		if name != "<none>" && name != "<NONE>" {
			s.now.server = s.backend + "/" + name
		}
		if _, addr, is := strings.Cut(rest, "addr="); is {
			addr, _, _ = strings.Cut(addr, " ")
			if host, port, ok := hostPort(addr); ok {
				if a, err := netip.ParseAddr(host); err == nil {
					s.now.addr = netip.AddrPortFrom(a.Unmap(), uint16(port))
				}
			}
		}
	}
	if strings.Contains(line, " state=TAR") {
		s.now.again = true
	}
}

// isPointer says whether a text names a session, and is nothing else: it becomes part
// of a command.
func isPointer(text string) bool {
	hex, is := strings.CutPrefix(text, "0x")
	return is && hex != "" && strings.Trim(hex, "0123456789abcdefABCDEF") == ""
}

// end hands over the last session.
func (s *sessions) end() {
	if s.now.pointer != "" && s.now.server != "" {
		s.found(s.now)
	}
	s.now, s.backend = session{}, ""
}

// sessions asks the worker for all that lead to a server.
func (c *conversation) sessions(found func(session)) error {
	return c.read("show sess all", found)
}

// is looks whether a session is still the one that was found: a pointer that
// became free may stand for a new client.
func (c *conversation) is(s session) (bool, error) {
	same := false
	err := c.read("show sess "+s.pointer, func(now session) { same = now.id == s.id && now.addr == s.addr })
	return same, err
}

func (c *conversation) read(command string, found func(session)) error {
	s := sessions{found: found}
	err := c.each(command, s.line)
	if err == nil {
		s.end()
	}
	return err
}
