package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode"
)

// namedLeader is whom the text of a key names.
type namedLeader struct {
	name      string     // "" if there is nothing but an address
	host      string     // the first of endpoints; "" if there is none
	port      int        // likewise; 0 if the text has none
	endpoints []Endpoint // a port of 0 is none
	address   bool       // it is one beyond doubt, and no name that looks like a host's
}

// String is how the text may be quoted: it has been looked at.
func (n namedLeader) String() string {
	switch {
	case n.name != "":
		return n.name
	case n.port != 0:
		return n.endpoints[0].String()
	}
	return n.host
}

// parseLeader reads the text of a key: host:port, a host, a URL, a JSON object, or, if
// there is a catalog, a name in it. Its errors repeat nothing of a text that may hold a
// password.
func parseLeader(text string, catalog bool) (namedLeader, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return namedLeader{}, errors.New("it is empty")
	case strings.HasPrefix(text, "{"):
		return parseLeaderObject(text)
	case strings.HasPrefix(text, `"`):
		var inner string
		if err := json.Unmarshal([]byte(text), &inner); err != nil || strings.HasPrefix(inner, `"`) {
			return namedLeader{}, errors.New("it begins with a quotation mark, and is no text in JSON")
		}
		return parseLeader(inner, catalog)
	case strings.Contains(text, "://"):
		return parseLeaderURL(text)
	}
	n, err := parseLeaderAddress(text)
	if catalog && !n.address { // IDs of services may hold what no host does
		n.name, err = text, nil
		if len(text) > maxName || strings.IndexFunc(text, noName) >= 0 {
			return namedLeader{}, errors.New("it is neither an address nor a name")
		}
	}
	return n, err
}

// noName says whether r is in no name, but perhaps in something with a password.
func noName(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`@="'`, r)
}

func parseLeaderURL(text string) (namedLeader, error) {
	endpoints, err := parseConnURL(text)
	if err != nil {
		return namedLeader{}, err
	}
	return namedLeader{host: endpoints[0].Host, port: endpoints[0].Port, endpoints: endpoints, address: true}, nil
}

// parseLeaderAddress reads a host with or without a port, IPv6 with or without brackets.
func parseLeaderAddress(text string) (namedLeader, error) {
	ip := net.ParseIP(text)
	if ip != nil && strings.Contains(text, ":") {
		text = "[" + text + "]"
	}
	e, err := parseHostPort(text)
	if err != nil {
		return namedLeader{}, err
	}
	return namedLeader{
		host: e.Host, port: e.Port, endpoints: []Endpoint{e}, address: ip != nil || net.ParseIP(e.Host) != nil || e.Port != 0,
	}, nil
}

// The spellings that people use for the parts of a leader, in lower case.
var (
	urlFields  = []string{"conn_url", "connurl", "url", "uri", "dsn", "connection_string"}
	hostFields = []string{"host", "hostname", "address", "addr", "ip", "server", "endpoint", "serviceaddress", "service_address"}
	portFields = []string{"port", "serviceport", "service_port"}
	nameFields = []string{"name", "node", "node_name", "nodename", "leader", "master", "primary", "member", "id"}
)

// parseLeaderObject reads a JSON object: any spelling of its fields that is known, and
// nothing but an address in them.
func parseLeaderObject(text string) (namedLeader, error) {
	var fields map[string]any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&fields); err != nil {
		return namedLeader{}, fmt.Errorf("it is no JSON object: %w", err)
	}
	if dec.More() {
		return namedLeader{}, errors.New("there is something after its JSON object")
	}
	lower := map[string]any{}
	for name, value := range fields {
		lower[strings.ToLower(name)] = value
	}
	first := func(names []string) (string, error) {
		for _, name := range names {
			switch v := lower[name].(type) {
			case nil:
			case string:
				if v = strings.TrimSpace(v); v != "" {
					return v, nil
				}
			case json.Number:
				return v.String(), nil
			default:
				return "", fmt.Errorf("its %s is neither text nor a number", name)
			}
		}
		return "", nil
	}
	var have [4]string
	for i, names := range [][]string{urlFields, hostFields, portFields, nameFields} {
		var err error
		if have[i], err = first(names); err != nil {
			return namedLeader{}, err
		}
	}
	url, host, port, name := have[0], have[1], have[2], have[3]
	if len(name) > maxName || strings.IndexFunc(name, noName) >= 0 {
		return namedLeader{}, errors.New("its name is none")
	}
	n, err := namedLeader{}, error(nil)
	switch {
	case url != "":
		n, err = parseLeaderURL(url)
	case host != "" && strings.Contains(host, "://"):
		n, err = parseLeaderURL(host)
	case host != "":
		n, err = parseLeaderAddress(host)
		n.address = true
	case name == "":
		return n, errors.New("its JSON has no host, address, conn_url or name")
	}
	if err == nil && port != "" && n.host != "" && n.port == 0 {
		var p uint64
		if p, err = strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
			return namedLeader{}, errors.New("its port is no number from 1 to 65535")
		}
		n.port, n.endpoints[0].Port = int(p), int(p)
	}
	n.name = name
	return n, err
}
