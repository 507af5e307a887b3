package pgpool

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbaton/pgbaton/reload"
)

// place is what the file wants a backend to be.
type place string

// The places, in the words of the file.
const (
	primary  place = "primary"
	standby  place = "standby"
	detached place = "detached"
)

// backend is a server as the file names it.
type backend struct {
	host   string
	port   int
	weight float64
	place  place // "" if the file does not say
}

func (b backend) String() string { return net.JoinHostPort(b.host, strconv.Itoa(b.port)) }

// settings is what a pgpool.conf says; the last word on a name counts.
type settings struct {
	path     string
	lines    []line
	values   map[string]line // by name, in lower case
	backends map[int]*backend
	moves    bool // it says for some backend what that is to be
}

// line is a setting with its place.
type line struct {
	name, value string
	number      int // from 1
}

var (
	setting  = regexp.MustCompile(`^\s*([A-Za-z_\x80-\xff][\w.\x80-\xff]*)\s*=?\s*('(?:[^'\\]|\\.|'')*'|[^\s#'=]+)\s*(?:#.*)?$`)
	mark     = regexp.MustCompile(`^# pgbaton: backend (\d+) is (primary|standby|detached)\s*$`)
	numbered = regexp.MustCompile(`^backend_(hostname|port|weight)(\d{1,3})$`)
)

// read reads the main file of a set.
func read(set []reload.File) (*settings, error) {
	if len(set) == 0 {
		return nil, errors.New("read config: the target has no file")
	}
	s := &settings{path: set[0].Path, values: map[string]line{}, backends: map[int]*backend{}}
	number := 0
	for text := range strings.Lines(string(set[0].Content)) {
		number++
		text = strings.TrimRight(text, "\r\n")
		if m := setting.FindStringSubmatch(text); m != nil {
			l := line{strings.ToLower(m[1]), unquote(m[2]), number}
			s.lines = append(s.lines, l)
			s.values[l.name] = l
		}
	}
	for name, l := range s.values {
		m := numbered.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		id, _ := strconv.Atoi(m[2])
		b := s.backends[id]
		if b == nil {
			b = &backend{}
			s.backends[id] = b
		}
		switch m[1] {
		case "hostname":
			b.host = l.value
		case "port":
			b.port, _ = strconv.Atoi(l.value)
		case "weight":
			b.weight, _ = strconv.ParseFloat(l.value, 64)
		}
	}
	return s, s.places(set[0])
}

// places reads pgbaton's own lines.
func (s *settings) places(main reload.File) error {
	leads := -1
	for text := range strings.Lines(string(main.Content)) {
		m := mark.FindStringSubmatch(strings.TrimRight(text, "\r\n"))
		if m == nil {
			continue
		}
		id, err := strconv.Atoi(m[1])
		b := s.backends[id]
		if err != nil || b == nil {
			return fmt.Errorf("read %s: %q: there is no such backend", main.Path, strings.TrimSpace(text))
		}
		b.place, s.moves = place(m[2]), true
		if b.place == primary {
			if leads >= 0 && leads != id {
				return fmt.Errorf("read %s: both backend %d and %d are primary", main.Path, leads, id)
			}
			leads = id
		}
	}
	return nil
}

// leader is the number of the backend that is to be primary, or -1.
func (s *settings) leader() int {
	for id, b := range s.backends {
		if b.place == primary {
			return id
		}
	}
	return -1
}

// wanted is all that the file wants of places, for a comparison.
func (s *settings) wanted() string {
	var out strings.Builder
	for _, id := range slices.Sorted(maps.Keys(s.backends)) {
		_, _ = fmt.Fprintln(&out, id, s.backends[id], s.backends[id].place)
	}
	return out.String()
}

// unquote reads a value as pgpool does.
func unquote(text string) string {
	if len(text) < 2 || text[0] != '\'' {
		return text
	}
	text = strings.ReplaceAll(text[1:len(text)-1], "''", "'")
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		out.WriteByte(text[i])
	}
	return out.String()
}
