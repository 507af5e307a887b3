package pgbouncer

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Lead is the config at path with those entries of [databases] led elsewhere that lead
// where most of them do: to host and port, whatever text these are. All else stays as it
// is, to the letter. aside are the entries that lead somewhere else, each as NAME (PLACE).
// It takes a config of one file, as pgbouncer's entries may be anywhere else.
func Lead(path, host, port string) (text string, aside []string, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", nil, fmt.Errorf("read pgbouncer's config: %w", err)
	}
	lines := strings.Split(string(content), "\n")
	places := map[string]int{}
	most := ""
	var entries []entry
	for _, e := range parse(string(content), "") {
		if e.kind == setting && e.section == "databases" {
			entries = append(entries, e)
			places[placeOf(e)]++
		}
	}
	for _, e := range entries { // of several the first, for that is how people write it
		if place := placeOf(e); place != "" && (most == "" || places[place] > places[most]) {
			most = place
		}
	}
	for _, e := range entries {
		if place := placeOf(e); place != most || place == "" {
			aside = append(aside, fmt.Sprintf("%s (%s)", e.key, cmp.Or(place, "the unix socket")))
			continue
		}
		line := lines[e.line]
		at := strings.LastIndex(line, e.value)
		lines[e.line] = line[:at] + led(e.value, host, port) + line[at+len(e.value):]
	}
	slices.Sort(aside)
	return strings.Join(lines, "\n"), aside, nil
}

// placeOf is where an entry leads, as HOST:PORT; "" is a unix socket.
func placeOf(e entry) string {
	c := connection(e.value)
	if c["host"] == "" {
		return ""
	}
	return c["host"] + ":" + cmp.Or(c["port"], "5432")
}

var (
	hostOf = regexp.MustCompile(`\bhost\s*=\s*('(?:[^']|'')*'|\S+)`)
	portOf = regexp.MustCompile(`\bport\s*=\s*('(?:[^']|'')*'|\S+)`)
)

// led is the value of an entry with another host and port.
func led(value, host, port string) string {
	to := "host=" + host
	if portOf.MatchString(value) {
		value = portOf.ReplaceAllLiteralString(value, "port="+port)
	} else {
		to += " port=" + port
	}
	return hostOf.ReplaceAllLiteralString(value, to)
}
