package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/secret"
	"github.com/pgbaton/pgbaton/render"
)

// Problem is one mistake, with its place.
type Problem struct {
	File    string
	Line    int // from 1; 0 is the whole file
	Column  int // from 1, in characters; 0 is unknown
	Message string
	Text    string // the offending line
	Hint    string
	Code    string // explain's
	Warning bool   // it does not keep pgbaton from running
}

// Place is file:line:column, as far as it is known.
func (p Problem) Place() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

func (p Problem) String() string {
	var b strings.Builder
	if p.Warning {
		b.WriteString("warning: ")
	}
	fmt.Fprintf(&b, "%s: %s", p.Place(), p.Message)
	if p.Code != "" {
		fmt.Fprintf(&b, " (%s)", p.Code)
	}
	b.WriteByte('\n')
	b.WriteString(hint.Excerpt(p.Line, p.Column, p.Text))
	if p.Hint != "" {
		fmt.Fprintf(&b, "hint: %s\n", p.Hint)
	}
	return b.String()
}

// Problems are all mistakes that were found.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = strings.TrimRight(p.String(), "\n")
	}
	return strings.Join(lines, "\n")
}

// Fatal says whether any of them is more than a warning.
func (ps Problems) Fatal() bool {
	for _, p := range ps {
		if !p.Warning {
			return true
		}
	}
	return false
}

// TemplateProblem is an error of a template as a problem.
func TemplateProblem(err error) Problem {
	var e *render.Error
	if !errors.As(err, &e) {
		return Problem{File: "template", Message: err.Error(), Hint: hint.Of(err), Code: explain.Of(err)}
	}
	return Problem{File: e.Name, Line: e.Line, Column: e.Column, Message: e.Msg, Text: e.Text, Hint: hint.Of(err), Code: explain.Of(err)}
}

// at makes a problem of an error in a setting.
func (l *loader) at(r hcl.Range, err error) {
	l.add(Problem{
		File: r.Filename, Line: r.Start.Line, Column: r.Start.Column,
		Message: err.Error(), Text: l.line(r), Hint: cmp.Or(hint.Of(err), lookItUp), Code: cmp.Or(explain.Of(err), explain.ConfigValue),
	})
}

// lookItUp is what to try where nothing else is known.
const lookItUp = "docs/config.md has every setting, with its kind and an example"

// At is an error about a place of a config that was loaded, as a problem.
func At(r hcl.Range, err error) Problem {
	p := Problem{
		File: r.Filename, Line: r.Start.Line, Column: r.Start.Column,
		Message: err.Error(), Hint: cmp.Or(hint.Of(err), lookItUp), Code: cmp.Or(explain.Of(err), explain.ConfigValue),
	}
	text, _ := os.ReadFile(r.Filename)
	if lines := strings.Split(string(text), "\n"); p.Line > 0 && p.Line <= len(lines) {
		p.Text = lines[p.Line-1]
	}
	return p
}

// settingOf is the place of the setting that an error of a kind begins with, as in "read
// port: …", or of its block.
func settingOf(body hcl.Body, block hcl.Range, err error) hcl.Range {
	if m := regexp.MustCompile(`^read (\w+)`).FindStringSubmatch(err.Error()); m != nil {
		return where(body, m[1], block)
	}
	return block
}

// where is the place of an attribute, or of its block if it isn't there.
func where(body hcl.Body, name string, block hcl.Range) hcl.Range {
	content, _, _ := body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: name}}})
	if content != nil && content.Attributes[name] != nil {
		return content.Attributes[name].Range
	}
	return block
}

// errorf is about a value that a setting can't have.
func (l *loader) errorf(r hcl.Range, advice, format string, args ...any) {
	l.fault(explain.ConfigValue, r, advice, format, args...)
}

// fault is about anything else, as its code says.
func (l *loader) fault(code string, r hcl.Range, advice, format string, args ...any) {
	l.at(r, explain.Mark(hint.Wrap(fmt.Errorf(format, args...), "%s", advice), code))
}

func (l *loader) add(p Problem) {
	if p.Text == "" && p.Line > 0 {
		p.Text = l.line(hcl.Range{Filename: p.File, Start: hcl.Pos{Line: p.Line}})
	}
	l.problems = append(l.problems, p)
}

func (l *loader) line(r hcl.Range) string {
	f := l.parser.Files()[r.Filename]
	if f == nil {
		return ""
	}
	lines := strings.Split(string(f.Bytes), "\n")
	if r.Start.Line < 1 || r.Start.Line > len(lines) {
		return ""
	}
	return strings.TrimRight(lines[r.Start.Line-1], "\r")
}

// beforeValue is a line up to the value of a name in it.
func beforeValue(line, name string) string {
	at := strings.Index(line, name)
	if at < 0 {
		return ""
	}
	return line[:at+len(name)] + " …"
}

// diagnose takes over what hcl found. known are the names that would have been
// right there.
func (l *loader) diagnose(diags hcl.Diagnostics, known ...string) {
	for _, d := range diags {
		p := Problem{Message: strings.TrimRight(d.Summary, ".") + ": " + d.Detail, Warning: d.Severity == hcl.DiagWarning, Code: codeOf(d)}
		if d.Subject != nil {
			p.File, p.Line, p.Column, p.Text = d.Subject.Filename, d.Subject.Start.Line, d.Subject.Start.Column, l.line(*d.Subject)
		}
		if before, after, ok := strings.Cut(p.Message, " Did you mean "); ok {
			p.Message, p.Hint = before, "did you mean "+after
		} else if word := quoted(d.Detail); strings.HasPrefix(d.Summary, "Unsupported") || strings.HasPrefix(d.Summary, "Extraneous") {
			if near := render.Nearest(word, known); near != "" {
				p.Hint = fmt.Sprintf("did you mean %q?", near)
			} else if len(known) > 0 {
				p.Hint = "known here: " + strings.Join(known, ", ")
			}
		}
		l.look(&p, d)
		if p.Hint == "" {
			p.Hint = advice(d)
		}
		if strings.HasPrefix(d.Summary, "Unsupported argument") && secret.Names(quoted(p.Hint)) {
			p.Text = beforeValue(p.Text, quoted(d.Detail)) // by the wrong name it is no less a secret
		}
		l.add(p)
	}
}

// quoted returns the first text between double quotes.
func quoted(s string) string {
	_, after, ok := strings.Cut(s, `"`)
	if !ok {
		return ""
	}
	word, _, _ := strings.Cut(after, `"`)
	return word
}
