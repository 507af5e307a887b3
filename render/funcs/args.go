package funcs

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
)

// argument is consul-template's grammar of what a function shall look up:
//
//	[TAG.]NAME[?ns=N&partition=P&filter=EXPR][@DATACENTER][~NEAR][|STATUS,…]
//
// and of ours, ?store=NAME: which of several stores is meant. Not every function takes every part. A filter's text may hold any character
// between quotes.
type argument struct {
	store   string // "" is the first
	name    string
	options watcher.Options
}

// grammar is what some functions take.
type grammar struct {
	marks  string
	name   *regexp.Regexp // what its name may be
	tagged bool           // a tag and a dot may stand before the name
}

var grammars = struct{ service, services, node, nodes, peerings, key, prefix grammar }{
	service:  grammar{marks, regexp.MustCompile(`^[\w-]+$`), true},
	services: grammar{"?@", regexp.MustCompile(`^$`), false},
	node:     grammar{"?@", regexp.MustCompile(`^[\w.-]*$`), false},
	nodes:    grammar{"?@~", regexp.MustCompile(`^$`), false},
	peerings: grammar{"?", regexp.MustCompile(`^$`), false},
	key:      grammar{"?@", regexp.MustCompile(`^[^@?]+$`), false},
	prefix:   grammar{"?@", regexp.MustCompile(`^[^@?]+$`), false},
}

var (
	tagName   = regexp.MustCompile(`^[\w=:.-]+$`)
	placeName = regexp.MustCompile(`^[\w.-]*$`) // a datacenter, or a node to be near to
	stateList = regexp.MustCompile(`^[\w,]*$`)
)

// parse takes text apart as the function fn reads it.
func (g grammar) parse(fn, text string) (argument, error) {
	bad := func(format string, args ...any) error { return badArgument(fn, text, format, args...) }
	a, err := parse(fn, text, g.marks)
	if err != nil {
		return a, err
	}
	if dot := strings.LastIndexByte(a.name, '.'); g.tagged && dot >= 0 {
		a.options.Tag, a.name = a.name[:dot], a.name[dot+1:]
		if !tagName.MatchString(a.options.Tag) {
			return a, bad("%q is no tag", a.options.Tag)
		}
	}
	switch o := a.options; {
	case !g.name.MatchString(a.name):
		return a, bad("%q is no name", a.name)
	case !placeName.MatchString(a.store):
		return a, bad("%q is no store", a.store)
	case !placeName.MatchString(o.Datacenter):
		return a, bad("%q is no datacenter", o.Datacenter)
	case !placeName.MatchString(o.Near):
		return a, bad("%q is no node", o.Near)
	case !stateList.MatchString(o.Status):
		return a, bad("%q is no list of check states", o.Status)
	case o.Peer != "" && o.Sameness != "":
		return a, bad("peer and sameness-group exclude each other")
	}
	return a, nil
}

func badArgument(fn, text, format string, args ...any) error {
	return hint.Wrap(fmt.Errorf("%s %q: %s", fn, text, fmt.Sprintf(format, args...)),
		"the form is NAME[?ns=N&filter=EXPR][@DATACENTER][~NEAR][|STATUS]")
}

// marks are the characters that begin a part, in their order.
const marks = "?@~|"

// parse splits text at its marks; allowed lists the marks that fn takes.
func parse(fn, text, allowed string) (argument, error) {
	bad := func(format string, args ...any) (argument, error) {
		return argument{}, badArgument(fn, text, format, args...)
	}
	parts := map[byte]string{}
	begin, at, quote := 0, byte(0), byte(0)
	cut := func(end int) { parts[at] = text[begin:end] }
	for i := range len(text) {
		c := text[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case at == '?' && (c == '"' || c == '`'):
			quote = c
		case strings.IndexByte(allowed, c) >= 0 && strings.IndexByte(marks, c) > strings.IndexByte(marks, at):
			cut(i)
			begin, at = i+1, c
		}
	}
	if quote != 0 {
		return bad("a quote is not closed")
	}
	cut(len(text))

	a := argument{name: parts[0]}
	a.options.Datacenter, a.options.Near, a.options.Status = parts['@'], parts['~'], parts['|']
	for mark, part := range parts {
		if mark != 0 && part == "" {
			return bad("nothing follows %q", mark)
		}
	}
	for _, pair := range splitQuoted(parts['?']) {
		key, value, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(value); err == nil && key != "filter" {
			value = plain
		}
		switch key {
		case "store":
			a.store = value
		case "ns":
			a.options.Namespace = value
		case "partition":
			a.options.Partition = value
		case "peer":
			a.options.Peer = value
		case "sameness-group":
			a.options.Sameness = value
		case "filter":
			if !strings.ContainsAny(value, ` "`) { // no expression is without them: it was escaped
				if plain, err := url.QueryUnescape(value); err == nil {
					value = plain
				}
			}
			a.options.Filter = value
		default:
			return bad("there is no option %q", key)
		}
	}
	return a, nil
}

// splitQuoted splits at each & that is not between quotes.
func splitQuoted(s string) []string {
	if s == "" {
		return nil
	}
	var out []string
	begin, quote := 0, byte(0)
	for i := range len(s) {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '`':
			quote = c
		case c == '&':
			out = append(out, s[begin:i])
			begin = i + 1
		}
	}
	return append(out, s[begin:])
}
