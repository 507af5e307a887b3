package pgbouncer

import (
	"strings"
)

// The subset of PgBouncer's syntax that is understood here, line by line:
//
//	[section]              more may follow on the same line
//	%include path          one blank or more between them
//	key = value            the value runs to the end of the line, and is trimmed
//	"any ""name""" = value a quoted key, as later versions take it
//	; comment   # comment  only as the first thing of a line
//
// Whatever else stands there is kept as it is and left to the dry run to judge.

type kind uint8

const (
	header kind = iota
	include
	setting
)

// entry is one thing that a file says.
type entry struct {
	kind    kind
	line    int    // counted from 0
	section string // the one that holds from here on
	key     string // of a setting
	value   string // of a setting, or the path of an include
}

// parse reads the entries of one file. The section is the one that the file
// starts in, if another includes it.
func parse(text, section string) []entry {
	var found []entry
	for i, line := range strings.Split(text, "\n") {
		rest := strings.TrimSpace(line)
		for strings.HasPrefix(rest, "[") {
			name, after, closed := strings.Cut(rest[1:], "]")
			if !closed {
				break
			}
			section = name
			found = append(found, entry{kind: header, line: i, section: section})
			rest = strings.TrimSpace(after)
		}
		if rest == "" || rest[0] == ';' || rest[0] == '#' || rest[0] == '[' {
			continue
		}
		if path, ok := strings.CutPrefix(rest, "%include"); ok && strings.TrimLeft(path, " \t") != path {
			found = append(found, entry{kind: include, line: i, section: section, value: strings.TrimSpace(path)})
			continue
		}
		if key, value, ok := keyValue(rest); ok {
			found = append(found, entry{kind: setting, line: i, section: section, key: key, value: value})
		}
	}
	return found
}

func keyValue(line string) (key, value string, ok bool) {
	var rest string
	if strings.HasPrefix(line, `"`) {
		if key, rest, ok = quoted(line, '"'); !ok {
			return "", "", false
		}
	} else {
		end := strings.IndexFunc(line, func(r rune) bool { return !keyRune(r) })
		if end <= 0 {
			return "", "", false
		}
		key, rest = line[:end], line[end:]
	}
	rest, ok = strings.CutPrefix(strings.TrimLeft(rest, " \t"), "=")
	return key, strings.TrimSpace(rest), ok
}

func keyRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.-*", r)
}

// quoted takes a quoted text off the front of s, with doubled quotes made
// single.
func quoted(s string, quote byte) (text, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] != quote:
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == quote:
			b.WriteByte(quote)
			i++
		default:
			return b.String(), s[i+1:], true
		}
	}
	return "", "", false
}

// connection parses the right side of an entry in [databases]: pairs of
// key=value, parted by blanks, values perhaps in single quotes.
func connection(text string) map[string]string {
	pairs := map[string]string{}
	for rest := strings.TrimLeft(text, " \t"); rest != ""; rest = strings.TrimLeft(rest, " \t") {
		key, after, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		after = strings.TrimLeft(after, " \t")
		var value string
		if strings.HasPrefix(after, "'") {
			if value, rest, ok = quoted(after, '\''); !ok {
				break
			}
		} else {
			value, rest, _ = strings.Cut(after, " ")
		}
		pairs[strings.TrimSpace(key)] = value
	}
	return pairs
}
