package haproxy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbaton/pgbaton/reload"
)

// server is a `server` line that a running worker can be told to change.
type server struct {
	name      string // BACKEND/SERVER
	host      string // an IP address, or a name
	port      int
	checkHost netip.Addr // its option addr; invalid if it has none
	checkPort int        // its option port; 0 if it has none
	weight    int        // its option weight
	weighted  bool       // it has one; else its weight is HAProxy's or an operator's affair
	disabled  bool
	dns       bool // HAProxy looks its name up again and again
}

const heaviest = 256 // of all weights

// at is its address as the config has it.
func (s server) at() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// literal says whether its address is known without a look-up.
func (s server) literal() bool {
	_, err := netip.ParseAddr(s.host)
	return err == nil
}

func (s server) named() bool { return !s.literal() }

// only are the servers of a kind.
func only(servers []server, kind func(server) bool) []server {
	return slices.DeleteFunc(slices.Clone(servers), func(s server) bool { return !kind(s) })
}

// structure is a set of configs taken apart: what a running worker can be told,
// and all the rest.
type structure struct {
	rest    string   // a hash of everything else
	servers []server // of backends in mode tcp
	binds   []bind
}

// parse takes a set of files apart. What it does not understand is of the rest.
func parse(files []reload.File) structure {
	p := parser{modes: map[string]string{}}
	hash := sha256.New()
	for i, f := range files {
		_, _ = fmt.Fprintf(hash, "%q\n", f.Path)
		if !isConfig(i, f) {
			_, _ = hash.Write(f.Content)
			continue
		}
		number := 0
		for line := range strings.Lines(string(f.Content)) {
			number++
			if words := words(line); len(words) > 0 {
				p.at = fmt.Sprintf("%s:%d", filepath.Base(f.Path), number)
				_, _ = fmt.Fprintf(hash, "%q\n", p.line(words))
			}
		}
	}
	p.found.rest = hex.EncodeToString(hash.Sum(nil)[:16])
	return p.found
}

// isConfig says whether HAProxy reads a file of the set with -f.
func isConfig(i int, f reload.File) bool { return i == 0 || filepath.Ext(f.Path) == ".cfg" }

// words splits a line. One with quotes, escapes or variables stays whole: to
// read those as HAProxy does takes its own parser.
func words(line string) []string {
	if strings.ContainsAny(line, `\"'$`) {
		return []string{strings.TrimSpace(line)}
	}
	line, _, _ = strings.Cut(line, "#")
	return strings.Fields(line)
}

type parser struct {
	found         structure
	at            string            // FILE:LINE
	section, name string            // where the line stands
	mode          string            // of this section so far
	modes         map[string]string // those of the sections `defaults` with a name
	defaults      string            // that of the last one
}

// line takes note of a line and returns what of it is structure.
func (p *parser) line(words []string) []string {
	switch words[0] {
	case "defaults", "frontend", "backend", "listen", "global", "resolvers", "peers", "userlist", "mailers", "program",
		"cache", "ring", "http-errors", "fcgi-app", "log-forward", "crt-store", "traces", "log-profile":
		p.enter(words)
	case "mode":
		if len(words) == 2 {
			p.setMode(words[1])
		}
	case "bind":
		if len(words) > 1 && (p.section == "frontend" || p.section == "listen") {
			p.found.binds = append(p.found.binds, binds(words, p.at)...)
		}
	case "server":
		if s, rest, ok := p.server(words); ok {
			p.found.servers = append(p.found.servers, s)
			return rest
		}
	}
	return words
}

func (p *parser) enter(words []string) {
	p.section, p.name, p.mode = words[0], "", p.defaults
	if len(words) > 1 && words[1] != "from" {
		p.name = words[1]
	}
	if i := slices.Index(words, "from"); i > 0 && i+1 < len(words) {
		p.mode = p.modes[words[i+1]]
	} else if p.section == "defaults" {
		p.mode = "tcp"
	}
	if p.section == "defaults" {
		p.setMode(p.mode)
	}
}

func (p *parser) setMode(mode string) {
	p.mode = mode
	if p.section == "defaults" {
		p.defaults, p.modes[p.name] = mode, mode
	}
}

// server reads a line `server NAME HOST:PORT …`. Two configs that differ in
// nothing but the values taken out here have the same rest.
func (p *parser) server(words []string) (s server, rest []string, ok bool) {
	if len(words) < 3 || p.mode == "http" || (p.section != "backend" && p.section != "listen") {
		return s, nil, false
	}
	host, port, ok := hostPort(words[2])
	if !ok || strings.ContainsAny(host, "*@/+") || host == "" {
		return s, nil, false
	}
	s = server{name: p.name + "/" + words[1], host: host, port: port}
	rest = []string{"server", words[1], ""}
	for args := words[3:]; len(args) > 0; args = args[1:] {
		switch arg := args[0]; {
		case arg == "disabled":
			s.disabled = true
			continue
		case arg == "addr" && len(args) > 1:
			if a, err := netip.ParseAddr(strings.Trim(args[1], "[]")); err == nil {
				s.checkHost, args = a, args[1:]
				continue
			}
		case arg == "port" && len(args) > 1:
			// That there is one is structure, which one is not.
			if n, err := strconv.ParseUint(args[1], 10, 16); err == nil && n > 0 {
				s.checkPort, args = int(n), args[1:]
				rest = append(rest, "port")
				continue
			}
		case arg == "weight" && len(args) > 1:
			// As with the port.
			if n, err := strconv.ParseUint(args[1], 10, 16); err == nil && n <= heaviest {
				s.weight, s.weighted, args = int(n), true, args[1:]
				rest = append(rest, "weight")
				continue
			}
		case arg == "resolvers":
			s.dns = true
		}
		rest = append(rest, args[0])
	}
	return s, rest, true
}

// hostPort splits HOST:PORT at the last colon, which is how HAProxy reads an
// IPv6 address without brackets.
func hostPort(text string) (host string, port int, ok bool) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(text[i+1:], 10, 16)
	if err != nil || n == 0 {
		return "", 0, false
	}
	host = text[:i]
	for _, family := range []string{"ipv4@", "ipv6@"} {
		host = strings.TrimPrefix(host, family)
	}
	return strings.Trim(host, "[]"), int(n), true
}
