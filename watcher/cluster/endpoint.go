package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// maxName is the length of the longest name, in bytes: of a host as DNS has it, and
// so of a member. A longer one would only make a daemon refuse its whole config.
const maxName = 255

// Endpoint is one host and port.
type Endpoint struct {
	Host string // a name, an IPv4 address, or an IPv6 address without brackets
	Port int
}

func (e Endpoint) String() string { return net.JoinHostPort(e.Host, strconv.Itoa(e.Port)) }

// parseConnURL reads the hosts of a libpq URL: several with a port each, or
// one port for all, IPv6 in brackets. Credentials and parameters are ignored.
// Its errors repeat nothing of the URL, which may hold a password.
func parseConnURL(text string) ([]Endpoint, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || (scheme != "postgres" && scheme != "postgresql") {
		return nil, errors.New("its URL does not begin with postgres://")
	}
	rest, _, _ = strings.Cut(rest, "?")
	authority, _, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	parts := strings.Split(authority, ",")
	endpoints := make([]Endpoint, 0, len(parts))
	for _, part := range parts {
		e, err := parseHostPort(part)
		if err != nil {
			return nil, fmt.Errorf("its URL: %w", err)
		}
		endpoints = append(endpoints, e)
	}
	// A single port at the end is everyone's; none at all is PostgreSQL's.
	last := endpoints[len(endpoints)-1].Port
	for i := range endpoints {
		if endpoints[i].Port == 0 {
			endpoints[i].Port = last
		}
		if endpoints[i].Port == 0 {
			endpoints[i].Port = 5432
		}
	}
	return endpoints, nil
}

func parseHostPort(s string) (Endpoint, error) {
	var host, portText string
	switch {
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return Endpoint{}, errors.New("a host lacks its closing bracket")
		}
		host, portText = s[1:end], strings.TrimPrefix(s[end+1:], ":")
		address, zone, _ := strings.Cut(host, "%")
		if net.ParseIP(address) == nil || strings.IndexFunc(zone, unfit) >= 0 {
			return Endpoint{}, errors.New("a host in brackets is no IPv6 address")
		}
	default:
		host, portText, _ = strings.Cut(s, ":")
		if unescaped, err := url.PathUnescape(host); err == nil {
			host = unescaped // a socket folder is written with %2F
		}
		if bad := strings.IndexFunc(host, unfit); bad >= 0 {
			return Endpoint{}, errors.New("a host holds a character that no host has")
		}
	}
	if host == "" {
		return Endpoint{}, errors.New("a host is empty")
	}
	if len(host) > maxName {
		return Endpoint{}, errors.New("a host is longer than any name can be")
	}
	if portText == "" {
		return Endpoint{Host: host}, nil
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return Endpoint{}, errors.New("a port is no number from 1 to 65535")
	}
	return Endpoint{Host: host, Port: int(port)}, nil
}

// unfit says whether r can't be part of a host: such a value in a config
// could end a line and begin a directive.
func unfit(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`"'\;=#{}[]()<>|&$,*?@:%`+"`", r)
}

func apiEndpoint(text string) Endpoint {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return Endpoint{}
	}
	address, zone, _ := strings.Cut(u.Hostname(), "%")
	if net.ParseIP(address) == nil && strings.IndexFunc(address, unfit) >= 0 || strings.IndexFunc(zone, unfit) >= 0 {
		return Endpoint{}
	}
	port, _ := strconv.Atoi(u.Port())
	return Endpoint{Host: u.Hostname(), Port: port}
}
