package render

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/render/funcs"
)

// advices are what to try where text/template says a thing. $1 is what the pattern
// found; it is what the caret points at, too.
var advices = []struct {
	said   *regexp.Regexp
	advice string
}{
	{regexp.MustCompile(`^unclosed action`), "close it in the same line, with the right delimiter: }} unless it was changed"},
	{regexp.MustCompile(`^(?:unclosed|unterminated) (?:raw )?(?:quoted )?(?:string|character|comment)`), `close what is open: "text", or {{/* comment */}}`},
	{regexp.MustCompile(`^unexpected \{\{(end|else)\}\}`), "no if, range, with or define is open here: one $1 too many, or one of them is missing above"},
	{regexp.MustCompile(`^undefined variable "(\$\w*)"`), "a variable begins with {{ $1 := … }}, and ends with the range, with or if that it began in"},
	{regexp.MustCompile(`^missing value for (\w+)`), "{{ $1 … }} asks for what it is to look at"},
	{regexp.MustCompile(`^unexpected "(=)"`), "compare with eq, as in {{ if eq .Name \"pg1\" }}; give a variable a value with :="},
	{regexp.MustCompile(`^unexpected "(\})"`), "close the action with both: }}"},
	{regexp.MustCompile(`bad (?:character|number)|unrecognized character.*'(.)'|^unexpected "([^"]*)"`), "text stands between plain double quotes, and parts of a pipeline between blanks and |"},
}

// parseError reads the place out of text/template's message, which has it in no other
// form.
func parseError(name, text string, err error) error {
	e := placed(name, text, err)
	e.parsing = true
	if _, unknown, ok := strings.Cut(e.Msg, `function "`); ok && strings.HasSuffix(e.Msg, "not defined") {
		unknown, _, _ = strings.Cut(unknown, `"`)
		e.point(unknown)
		if near := Nearest(unknown, funcs.Names()); near != "" {
			return hint.Wrap(e, "did you mean %q?", near)
		}
		return hint.Wrap(e, "docs/templates.md lists the functions")
	}
	if strings.HasPrefix(e.Msg, "unexpected EOF") {
		if what, line := unclosed(text); line > 0 {
			e.at(text, line)
			e.point(what)
			e.Msg = fmt.Sprintf("the %s that begins here has no end", what)
			return hint.Wrap(e, "close it with {{ end }}")
		}
	}
	for _, a := range advices {
		if m := a.said.FindStringSubmatch(e.Msg); m != nil {
			found := strings.Join(m[1:], "")
			e.point(found)
			if near := nearVariable(text, found); near != "" {
				return hint.Wrap(e, "did you mean %s?", near)
			}
			return hint.Wrap(e, "%s", strings.ReplaceAll(a.advice, "$1", found))
		}
	}
	e.point("")
	return hint.Wrap(e, "docs/templates.md describes the language")
}

// nearVariable is the variable of a template that was mistyped; "" is none.
func nearVariable(text, name string) string {
	if !strings.HasPrefix(name, "$") {
		return ""
	}
	var known []string
	for _, m := range regexp.MustCompile(`(\$\w+)(?:\s*,\s*(\$\w+))?\s*:=`).FindAllStringSubmatch(text, -1) {
		known = append(known, m[1:]...)
	}
	return Nearest(name, known)
}

// at moves the place to a line of its text.
func (e *Error) at(text string, line int) {
	e.Line, e.Column, e.Text = line, 0, ""
	if lines := strings.Split(text, "\n"); line > 0 && line <= len(lines) {
		e.Text = lines[line-1]
	}
}

// point finds the column of what is wrong in its line, unless it is known: a word, or
// else where the line's first action begins, or the line.
func (e *Error) point(word string) {
	if e.Line == 0 || e.Column > 0 {
		return
	}
	at := -1
	if word != "" {
		at = wordAt(e.Text, word)
	}
	if at < 0 {
		at = strings.Index(e.Text, "{{")
	}
	if at < 0 {
		at = len(e.Text) - len(strings.TrimLeft(e.Text, " \t"))
	}
	e.Column = 1 + utf8.RuneCountInString(e.Text[:at])
}

// wordAt is where a word stands alone in a line, else where it is part of another; -1 is
// nowhere.
func wordAt(line, word string) int {
	if m := regexp.MustCompile(`(?:^|[^\w$])(` + regexp.QuoteMeta(word) + `)(?:\W|$)`).FindStringSubmatchIndex(line); m != nil {
		return m[2]
	}
	return strings.Index(line, word)
}

var branches = regexp.MustCompile(`\{\{-?\s*(if|range|with|define|block|end)\b`)

// unclosed finds the innermost block that has no end; line 0 is none. Of delimiters other
// than {{ it knows nothing.
func unclosed(text string) (what string, line int) {
	type branch struct {
		what string
		line int
	}
	var open []branch
	for i, l := range strings.Split(text, "\n") {
		for _, m := range branches.FindAllStringSubmatch(l, -1) {
			switch {
			case m[1] != "end":
				open = append(open, branch{m[1], i + 1})
			case len(open) > 0:
				open = open[:len(open)-1]
			}
		}
	}
	if len(open) == 0 {
		return "", 0
	}
	last := open[len(open)-1]
	return last.what, last.line
}

var (
	badField = regexp.MustCompile(`can't evaluate field (\w+) in type (\S+)`)
	badKey   = regexp.MustCompile(`map has no entry for key "([^"]*)"`)
	badCount = regexp.MustCompile(`wrong number of args for (\w+)`)
)

// errField is in the chain of an error of a field that a type has not, whatever the data
// is.
var errField = errors.New("no such field")

// Rehearse executes the template on data that is made up, and returns what is wrong
// whatever the data: a field that nothing has. All other errors may be the data's.
func (t *Template) Rehearse(ctx context.Context, in Input) error {
	r := t.Execute(ctx, in)
	if errors.Is(r.Err, errField) {
		return r.Err
	}
	return nil
}

// executing names what is to be tried where an execution failed; "" is nothing.
func (e *Error) executing() string {
	if m := badField.FindStringSubmatch(e.Msg); m != nil {
		e.narrow("." + m[1])
		fields := funcs.Fields(m[2])
		if len(fields) == 0 {
			return "docs/templates.md says what each function gives"
		}
		e.Err = fmt.Errorf("%w: %w", errField, e.Err)
		e.Msg = fmt.Sprintf("%s has no field .%s", funcs.TypeName(m[2]), m[1])
		if near := Nearest(m[1], fields); near != "" {
			return fmt.Sprintf("did you mean .%s?", near)
		}
		return "it has ." + strings.Join(fields, ", .")
	}
	if m := badKey.FindStringSubmatch(e.Msg); m != nil {
		e.narrow("." + m[1])
		return fmt.Sprintf("there is nothing named %s; where it may be missing, ask {{ if hasKey . %q }} first", m[1], m[1])
	}
	if m := badCount.FindStringSubmatch(e.Msg); m != nil {
		return "docs/templates.md has an example of " + m[1]
	}
	return ""
}

// narrow moves the caret to a word at or after where it is.
func (e *Error) narrow(word string) {
	if e.Column == 0 {
		e.point(word)
		return
	}
	runes := []rune(e.Text)
	for _, from := range []int{min(e.Column-1, len(runes)), 0} {
		if at := strings.Index(string(runes[from:]), word); at >= 0 {
			e.Column = from + 1 + utf8.RuneCountInString(string(runes[from:])[:at])
			return
		}
	}
}
