package doctor

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/agext/levenshtein"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/probe"
)

// Mistake is what is wrong with a line. A warning keeps nothing from running.
type Mistake struct {
	Line    int    // from 1
	Text    string // the line, without what may be secret in it
	Err     error
	Warning bool
}

// Read reads a pgdoctor.cfg. All that pgDoctor read in the way that was meant is read
// in the same way; docs/doctor.md lists what it misread.
func Read(content string) (Config, []Mistake) {
	r := reader{config: Defaults(), seen: map[string]int{}}
	for i, line := range strings.Split(content, "\n") {
		r.line(i+1, strings.TrimSpace(line))
	}
	if r.config.HTTPKey != "" && r.config.HTTPCert == "" {
		r.mistake(r.seen["http_key"], "http_key", hint.Wrap(errors.New("http_key: there is no http_cert beside it"), "name the certificate of the key"))
	}
	if r.config.Password != "" && r.config.PasswordFile != "" {
		r.mistake(r.seen["pg_password_file"], "pg_password_file", hint.Wrap(errors.New("pg_password_file: pg_password is there as well"), "leave one of them out"))
	}
	return r.config, r.mistakes
}

type reader struct {
	config   Config
	seen     map[string]int // where settings are
	mistakes []Mistake
}

func (r *reader) mistake(line int, text string, err error) {
	r.mistakes = append(r.mistakes, Mistake{Line: line, Text: text, Err: err})
}

func (r *reader) warn(line int, text string, err error) {
	r.mistakes = append(r.mistakes, Mistake{Line: line, Text: text, Err: err, Warning: true})
}

// assignment is a line that begins as a setting does: one word, and = or nothing.
var assignment = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)\s*(?:=(.*)|#.*)?$`)

func (r *reader) line(n int, line string) {
	if line == "" || line[0] == '#' {
		return
	}
	if strings.ContainsRune(line, 0) {
		r.mistake(n, "", hint.Wrap(errors.New("there is a byte 0 in it"), "the file has to be text"))
		return
	}
	if m := assignment.FindStringSubmatch(line); m != nil {
		r.setting(n, m[1], m[2])
		return
	}
	check, err := parseCheck(line)
	if err != nil {
		r.mistake(n, line, err)
		return
	}
	check.Line = n
	r.config.Checks = append(r.config.Checks, check)
}

func (r *reader) setting(n int, name, rest string) {
	k, known := find(name)
	if !known {
		r.mistake(n, name+" = …", hint.Wrap(fmt.Errorf("there is no setting %q", name), "%s", suggestion(name)))
		return
	}
	value, err := unquote(rest)
	switch {
	case err != nil:
	case value == "" && (strings.HasSuffix(k.name, "port") || strings.HasSuffix(k.name, "timeout") || strings.HasSuffix(k.name, "lag")):
		err = errEmpty
	default:
		err = k.set(&r.config, n, value)
	}
	shown := k.name + " = " + value
	if k.name == "pg_password" {
		shown = k.name + " = …"
	}
	if err != nil {
		r.mistake(n, shown, hint.Wrap(fmt.Errorf("%s: %w", k.name, err), "%s", hint.Of(err)))
		return
	}
	if before, twice := r.seen[k.name]; twice && k.name != "pg_max_replication_lag" {
		r.warn(n, shown, hint.Wrap(fmt.Errorf("%s: line %d has it too", k.name, before), "the last one counts"))
	}
	r.seen[k.name] = n
}

// suggestion is what a setting with an unknown name may have been meant to be.
func suggestion(name string) string {
	names, _ := Keys()
	best, distance := "", 4
	for _, known := range names {
		if d := levenshtein.Distance(strings.ToLower(name), known, nil); d < distance {
			best, distance = known, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %s? A check stands in double quotes", best)
	}
	return "settings are " + strings.Join(names, ", ") + "; a check stands in double quotes"
}

// unquote reads a value as a connection string has it, for there pgDoctor puts it: in
// single quotes or not, a backslash before what is to be taken as it is. Outside of
// quotes # begins a comment.
func unquote(text string) (string, error) {
	text = strings.TrimSpace(text)
	quoted := strings.HasPrefix(text, "'")
	if quoted {
		text = text[1:]
	} else {
		before, _, _ := strings.Cut(text, "#")
		text = strings.TrimSpace(before)
	}
	var value strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			value.WriteByte(text[i])
		case c == '\\': // the last: nothing is behind it
		case c == '\'' && quoted:
			if rest := strings.TrimSpace(text[i+1:]); rest != "" && rest[0] != '#' {
				return "", hint.Wrap(errors.New("something stands behind the closing quote"), "write a quote within quotes as \\'")
			}
			return value.String(), nil
		default:
			value.WriteByte(c)
		}
	}
	if quoted {
		return "", hint.Wrap(errors.New("the closing quote is missing"), "end it with ', or write \\' in front of the first")
	}
	return value.String(), nil
}

// query is how what yields rows begins: pgDoctor needs no quotes around it.
var query = regexp.MustCompile(`(?i)^(?:select|with|values|table|show|explain|call)\s`)

// parseCheck reads a check: "SQL", or "SQL" OP "VALUE".
func parseCheck(line string) (Check, error) {
	if check, ok := asBefore(line); ok && (line[0] == '"' || query.MatchString(line)) {
		return check, nil
	}
	if line[0] != '"' {
		return Check{}, hint.Wrap(errors.New("this is neither a setting nor a check"), `write a check as "SQL", or as "SQL" < "VALUE"`)
	}
	sql, rest, err := quotedText(line)
	if err != nil {
		return Check{}, err
	}
	if strings.TrimSpace(sql) == "" {
		return Check{}, hint.Wrap(errors.New("there is no SQL between the quotes"), `write it as "SELECT 1"`)
	}
	check := Check{SQL: sql}
	if rest == "" {
		return check, nil
	}
	op, _, found := strings.Cut(rest, `"`)
	check.Want.Op = strings.TrimSpace(op)
	if !found {
		return Check{}, hint.Wrap(fmt.Errorf("behind the SQL stands %q, and no value", check.Want.Op), `a value is quoted: "SQL" < "5". A double quote within SQL is written twice`)
	}
	value, rest, err := quotedText(rest[len(op):])
	if err != nil {
		return Check{}, err
	}
	check.Want.Value = strings.TrimSpace(value)
	switch {
	case rest != "":
		return Check{}, hint.Wrap(fmt.Errorf("behind the value stands %q", rest), "one check a line. A double quote within SQL is written twice")
	case check.Want.Op == "":
		return Check{}, hint.Wrap(errors.New("there is no operator between SQL and value"), "operators are %s. A double quote within SQL is written twice", strings.Join(probe.Operators, " "))
	case check.Want.Value == "":
		return Check{}, hint.Wrap(errors.New("there is no value to compare with"), `nothing is never equal to what a check yields: compare in SQL, as "SELECT coalesce(x, '') = ''" = "t"`)
	}
	if err := check.Want.Valid(); err != nil {
		return Check{}, err
	}
	return check, nil
}

// quotedText reads a text in double quotes, where a double quote is written twice, and
// what is behind it, less a comment.
func quotedText(line string) (text, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(line); i++ {
		if line[i] != '"' {
			b.WriteByte(line[i])
			continue
		}
		if i+1 < len(line) && line[i+1] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		rest = strings.TrimSpace(line[i+1:])
		if before, _, _ := strings.Cut(rest, `"`); strings.Contains(before, "#") {
			before, _, _ = strings.Cut(before, "#")
			rest = strings.TrimSpace(before)
		}
		return b.String(), rest, nil
	}
	return "", "", hint.Wrap(errors.New("the closing double quote is missing"), "a double quote within SQL is written twice")
}

// asBefore reads a check as pgDoctor does, where that comes to something: whatever runs
// of double quotes separate, the last of which may be missing, and # begins a comment even
// within them.
func asBefore(line string) (Check, bool) {
	before, _, commented := strings.Cut(line, "#")
	if commented && strings.Count(before, `"`)%2 == 1 {
		return Check{}, false // it would cut the SQL or the value
	}
	var parts []string
	for _, part := range strings.Split(strings.TrimSpace(before), `"`) {
		if part != "" {
			parts = append(parts, part)
		}
	}
	switch {
	case len(parts) == 1 && strings.TrimSpace(parts[0]) != "":
		return Check{SQL: parts[0]}, true
	case len(parts) == 3:
		check := Check{SQL: parts[0], Want: probe.Comparison{Op: strings.TrimSpace(parts[1]), Value: strings.TrimSpace(parts[2])}}
		return check, strings.TrimSpace(parts[0]) != "" && check.Want.Op != "" && check.Want.Value != "" && check.Want.Valid() == nil
	}
	return Check{}, false
}
