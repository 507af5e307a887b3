package haproxy

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// Present is what a config of haproxy says of a PostgreSQL cluster, whoever wrote it.
// What it does not say is empty.
type Present struct {
	ReadWrite   int    // the port whose servers are asked GET /primary, or what means the same to Patroni
	ReadOnly    int    // the port whose servers are asked GET /replica, or the like
	Address     string // where ReadWrite listens; "" is everywhere
	Log         string // target and facility, the first of them
	StatsSocket string // the socket of the runtime API
	StatsListen string // ADDRESS:PORT of the page with statistics
	User, Group string // whom the workers become
	Others      int    // how many listen, frontend and backend sections there are beside
}

// Read reads a config. Of what a line quotes it knows nothing.
func Read(path string) (Present, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Present{}, fmt.Errorf("read haproxy's config: %w", err)
	}
	var p Present
	var s section
	for line := range strings.Lines(string(text)) {
		words := words(line)
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "global", "defaults", "frontend", "backend", "listen", "resolvers", "peers", "userlist", "program":
			s.close(&p)
			s = section{kind: words[0]}
		default:
			s.line(&p, words)
		}
	}
	s.close(&p)
	return p, nil
}

// section is one of those that listen, as far as it was read.
type section struct {
	kind  string
	binds []string
	asks  string // path that the servers are asked for
	stats bool
}

func (s *section) line(p *Present, words []string) {
	switch {
	case s.kind == "global" && len(words) > 2 && words[0] == "stats" && words[1] == "socket":
		p.StatsSocket = words[2]
	case s.kind == "global" && len(words) > 1 && words[0] == "log":
		p.Log = cmp.Or(p.Log, strings.Join(words[1:], " "))
	case s.kind == "global" && len(words) > 1 && words[0] == "user":
		p.User = words[1]
	case s.kind == "global" && len(words) > 1 && words[0] == "group":
		p.Group = words[1]
	case words[0] == "bind" && len(words) > 1:
		s.binds = append(s.binds, strings.Split(words[1], ",")...)
	case words[0] == "stats":
		s.stats = true
	case words[0] == "option" && len(words) > 1 && words[1] == "httpchk", words[0] == "http-check" && len(words) > 1 && words[1] == "send":
		s.asks = cmp.Or(s.asks, "/")
		for _, word := range words {
			if strings.HasPrefix(word, "/") {
				s.asks, _, _ = strings.Cut(word, "?")
			}
		}
	}
}

// close takes what a section came to.
func (s *section) close(p *Present) {
	if s.kind != "listen" && s.kind != "frontend" && s.kind != "backend" {
		return
	}
	port, host := 0, ""
	if len(s.binds) > 0 {
		var text string
		host, text, _ = net.SplitHostPort(s.binds[0])
		port, _ = strconv.Atoi(text)
	}
	switch s.asks {
	case "/", "/primary", "/master", "/leader", "/read-write":
		p.ReadWrite = port
		p.Address = strings.TrimPrefix(host, "*")
		return
	case "/replica", "/read-only", "/async", "/asynchronous", "/sync", "/synchronous":
		p.ReadOnly = port
		return
	}
	if s.stats && port > 0 && s.asks == "" {
		p.StatsListen = s.binds[0]
		return
	}
	p.Others++
}
