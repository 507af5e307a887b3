package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"

	"github.com/pgbaton/pgbaton/internal/explain"
)

// advices are what to try where hcl finds a mistake, by what its summary begins with.
var advices = []struct{ summary, advice string }{
	{"Unclosed configuration block", "a } is missing: the block that begins here has no end"},
	{"Invalid block definition", `a setting is NAME = VALUE, a block is NAME "LABEL" { in one line`},
	{"Argument or block definition required", "a setting is NAME = VALUE; a } too many, or a quote before a name, may be the reason"},
	{"Missing newline after", "begin each setting, and each block, in a line of its own"},
	{"Invalid single-argument block", "write a block over several lines: { at the end of its first, } alone in its last"},
	{"Unterminated template string", `close the text with " in the same line; for more lines write <<EOT`},
	{"Invalid multi-line string", `close the text with " in the same line; for more lines write <<EOT`},
	{"Invalid escape sequence", `write a backslash as \\; or take <<EOT, where it is one`},
	{"Invalid template", "a literal ${ is $${, and %{ is %%{"},
	{"Variables not allowed", `text stands between quotes: "text"`},
	{"Function calls not allowed", `text stands between quotes: "text"`},
	{"Invalid expression", `a value is "text", 12, true, ["a", "b"] or { a = 1 }`},
	{"Missing expression", `a value is "text", 12, true, ["a", "b"] or { a = 1 }`},
	{"Invalid character", `text stands between plain quotes: "text"`},
	{"Attribute redefined", "keep one of them"},
	{"Duplicate", "keep one of them"},
	{"Missing kind for", `a kind and a name follow, as in target "pgbouncer" "edge" {`},
	{"Missing name for", `a kind and a name follow, as in target "pgbouncer" "edge" {`},
	{"Invalid argument name", "names have no quotes and no blanks"},
}

var (
	noEquals = regexp.MustCompile(`^\s*([A-Za-z_][\w-]*)\s+((?:"[^"]*"|\[.*\]|\d+|true|false)\s*)$`)
	noQuotes = regexp.MustCompile(`^\s*([A-Za-z_][\w-]*)\s*=\s*([^"\s\[{<][^"]*?)\s*(?:#.*)?$`)
)

// look finds out more of a mistake in the syntax by its line than the parser can tell.
func (l *loader) look(p *Problem, d *hcl.Diagnostic) {
	switch {
	case strings.HasPrefix(d.Summary, "Invalid block definition"):
		if m := noEquals.FindStringSubmatchIndex(p.Text); m != nil {
			p.Column = 1 + utf8.RuneCountInString(p.Text[:m[4]])
			p.Message = "an = is missing: " + p.Message
			p.Hint = "write " + p.Text[m[2]:m[3]] + " = " + strings.TrimSpace(p.Text[m[4]:m[5]])
		}
	case strings.HasPrefix(d.Summary, "Invalid expression"), strings.HasPrefix(d.Summary, "Variables not allowed"):
		if m := noQuotes.FindStringSubmatch(p.Text); m != nil {
			p.Hint = fmt.Sprintf("text stands between quotes: %s = %q", m[1], m[2])
		}
	case strings.HasPrefix(d.Summary, "Unclosed configuration block") && d.Subject != nil:
		file := l.parser.Files()[d.Subject.Filename]
		if file == nil {
			return
		}
		if line, column := unclosed(string(file.Bytes)); line > 0 {
			p.Line, p.Column = line, column
			p.Text = l.line(hcl.Range{Filename: p.File, Start: hcl.Pos{Line: line}})
		}
	}
}

// unclosed guesses by its indentation which block is not closed: one that is followed by
// something no further in than itself. Line 0 is none.
func unclosed(text string) (line, column int) {
	type opener struct{ line, indent, column int }
	var open []opener
	for i, l := range strings.Split(text, "\n") {
		words := strings.TrimSpace(l)
		indent := len(l) - len(strings.TrimLeft(l, " \t"))
		switch {
		case words == "", strings.HasPrefix(words, "#"), strings.HasPrefix(words, "//"):
			continue
		case strings.HasPrefix(words, "}"):
			if len(open) > 0 && open[len(open)-1].indent > indent {
				return open[len(open)-1].line, open[len(open)-1].column
			}
			open = open[:max(0, len(open)-1)]
		case len(open) > 0 && indent <= open[len(open)-1].indent:
			return open[len(open)-1].line, open[len(open)-1].column
		}
		if strings.HasSuffix(words, "{") {
			open = append(open, opener{i + 1, indent, 1 + utf8.RuneCountInString(strings.TrimRight(l, " \t\r")) - 1})
		}
	}
	return 0, 0
}

// codes are those of hcl's mistakes, by what their summary begins with; all others are of
// the syntax.
var codes = map[string]string{
	"Unsupported": explain.ConfigUnknown, "Extraneous": explain.ConfigUnknown,
	"Missing required argument": explain.ConfigMissing, "Missing kind": explain.ConfigMissing, "Missing name": explain.ConfigMissing,
	"Unsuitable value": explain.ConfigValue, "Incorrect attribute value": explain.ConfigValue, "Inappropriate value": explain.ConfigValue,
	"Duplicate": explain.ConfigConflict, "Attribute redefined": explain.ConfigConflict,
}

func codeOf(d *hcl.Diagnostic) string {
	for summary, code := range codes {
		if strings.HasPrefix(d.Summary, summary) {
			return code
		}
	}
	return explain.ConfigSyntax
}

// advice is what to try next; "" is nothing in particular.
func advice(d *hcl.Diagnostic) string {
	for _, a := range advices {
		if strings.HasPrefix(d.Summary, a.summary) {
			return a.advice
		}
	}
	detail := strings.ToLower(d.Detail)
	switch name := quoted(d.Detail); {
	case strings.HasPrefix(d.Summary, "Missing required argument"):
		return "add " + name + " = …; docs/config.md says what it may be"
	case strings.Contains(detail, "number is required"):
		return "a number has no quotes, and no unit"
	case strings.Contains(detail, "bool is required"):
		return "write true or false, without quotes"
	case strings.Contains(detail, "list of"), strings.Contains(detail, "tuple required"):
		return `write a list, as in ["a", "b"]`
	case strings.Contains(detail, "map of"), strings.Contains(detail, "object required"):
		return `write a map, as in { name = "value" }`
	case strings.Contains(detail, "string required"), strings.Contains(detail, "string is required"):
		return `write a text, as in "value"`
	}
	return lookItUp
}
