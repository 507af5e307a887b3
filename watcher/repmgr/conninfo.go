package repmgr

import (
	"errors"
	"net/url"
	"strings"
)

// places reads the hosts and ports of a conninfo, libpq's keywords or a URL, as a URL
// that has nothing else: "postgres://HOST:PORT,HOST:PORT/". Passwords and all the rest
// stay here. Its errors repeat nothing of it. That a host is one is for the reader of
// the URL to see.
func places(conninfo string) (string, error) {
	var settings map[string]string
	var err error
	if strings.HasPrefix(conninfo, "postgres://") || strings.HasPrefix(conninfo, "postgresql://") {
		settings, err = ofURL(conninfo)
	} else {
		settings, err = ofKeywords(conninfo)
	}
	if err != nil {
		return "", err
	}
	// An address is where libpq connects to, whatever name stands beside it.
	hosts := settings["hostaddr"]
	if hosts == "" {
		hosts = settings["host"]
	}
	if hosts == "" {
		return "", errors.New("its conninfo names no host")
	}
	ports := strings.Split(settings["port"], ",")
	list := strings.Split(hosts, ",")
	if len(ports) != 1 && len(ports) != len(list) {
		return "", errors.New("its conninfo has not as many ports as hosts")
	}
	for i, host := range list {
		port := ports[min(i, len(ports)-1)]
		if port == "" {
			port = "5432"
		}
		list[i] = escape(host) + ":" + escape(port)
	}
	return "postgres://" + strings.Join(list, ",") + "/", nil
}

// escape makes a text a host of a URL. What is no host is escaped, so that whoever reads
// it finds it, and refuses it.
func escape(host string) string {
	if strings.Contains(host, ":") && !strings.ContainsAny(host, "[]/@?#, ") {
		return "[" + host + "]"
	}
	return strings.ReplaceAll(url.QueryEscape(host), "+", "%20")
}

// ofURL reads host, hostaddr and port of a URL.
func ofURL(text string) (map[string]string, error) {
	_, rest, _ := strings.Cut(text, "://")
	rest, query, _ := strings.Cut(rest, "?")
	authority, _, _ := strings.Cut(rest, "/")
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	settings := map[string]string{}
	var hosts, ports []string
	for _, part := range strings.Split(authority, ",") {
		host, port, _ := strings.Cut(part, ":")
		if end := strings.IndexByte(part, ']'); strings.HasPrefix(part, "[") && end > 0 {
			host, port = part[1:end], strings.TrimPrefix(part[end+1:], ":")
		}
		if strings.Contains(port, ":") {
			return nil, errors.New("its conninfo is no URL")
		}
		host, err := url.PathUnescape(host)
		if err != nil {
			return nil, errors.New("its conninfo is no URL")
		}
		hosts, ports = append(hosts, host), append(ports, port)
	}
	settings["host"], settings["port"] = strings.Join(hosts, ","), strings.Join(ports, ",")
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("its conninfo is no URL")
	}
	for _, key := range []string{"host", "hostaddr", "port"} {
		if v := values[key]; len(v) > 0 {
			settings[key] = v[len(v)-1]
		}
	}
	return settings, nil
}

// ofKeywords reads "KEY = VALUE KEY='VALUE'", where a backslash takes the next character
// as it is.
func ofKeywords(text string) (map[string]string, error) {
	settings := map[string]string{}
	bad := errors.New("its conninfo can't be read")
	for rest := strings.TrimLeft(text, space); rest != ""; rest = strings.TrimLeft(rest, space) {
		key, after, found := strings.Cut(rest, "=")
		if key = strings.Trim(key, space); !found || key == "" || strings.ContainsAny(key, space) {
			return nil, bad
		}
		after = strings.TrimLeft(after, space)
		quoted := strings.HasPrefix(after, "'")
		if quoted {
			after = after[1:]
		}
		var value strings.Builder
		ended := false
		i := 0
		for ; i < len(after) && !ended; i++ {
			switch c := after[i]; {
			case c == '\\' && i+1 < len(after):
				i++
				value.WriteByte(after[i])
			case quoted && c == '\'', !quoted && strings.IndexByte(space, c) >= 0:
				ended = true
			default:
				value.WriteByte(c)
			}
		}
		if quoted && !ended {
			return nil, bad
		}
		settings[key], rest = value.String(), after[i:]
	}
	return settings, nil
}

const space = " \t\r\n\f\v"
