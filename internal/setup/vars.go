package setup

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbaton/pgbaton/templates"
)

// variable is a var of a built-in template: its kind, and its default as the template
// declares it.
type variable struct{ kind, fallback string }

// varsOf are the vars that a built-in template declares.
func varsOf(template string) map[string]variable {
	text, _ := templates.Text(template)
	vars := map[string]variable{}
	for _, m := range regexp.MustCompile(`(?m)^\{\{- /\* ([a-z0-9_]+) \(([a-z]+), (.*?)\): `).FindAllStringSubmatch(text, -1) {
		vars[m[1]] = variable{m[2], strings.Trim(m[3], `"`)}
	}
	return vars
}

// value is a daemon's own text as a value of the var's kind; false if it is none.
func (v variable) value(text string) (any, bool) {
	switch v.kind {
	case "bool":
		switch strings.ToLower(text) {
		case "1", "yes", "true", "on":
			return true, true
		case "0", "no", "false", "off":
			return false, true
		}
		return nil, false
	case "number", "seconds", "milliseconds":
		if n, err := strconv.Atoi(text); err == nil {
			return n, true
		}
		f, err := strconv.ParseFloat(text, 64)
		return f, err == nil
	case "list":
		list := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
		return list, len(list) > 0
	}
	return text, true
}

// isDefault says whether a daemon's own text is what the template has anyway.
func (v variable) isDefault(text string) bool {
	have, ok := v.value(text)
	fallback, known := v.value(v.fallback)
	return ok && known && literal(have) == literal(fallback)
}

// given are the vars of a target, and why each says what it says.
type given struct {
	values map[string]any
	why    map[string]string
}

func (g *given) add(name string, value any, why string) {
	if g.values == nil {
		g.values, g.why = map[string]any{}, map[string]string{}
	}
	g.values[name], g.why[name] = value, why
}

// write writes them as the map vars; extra is what the map extra in it holds.
func (g *given) write(p *page, extra map[string]string, from string) {
	if len(g.values)+len(extra) == 0 {
		return
	}
	p.open("vars =")
	for _, name := range slices.Sorted(maps.Keys(g.values)) {
		p.set(name, g.values[name], g.why[name])
	}
	if len(extra) > 0 {
		p.say("settings that the template has no var for, %s", from)
		p.open("extra =")
		for _, name := range slices.Sorted(maps.Keys(extra)) {
			p.set(name, extra[name], "")
		}
		p.close()
	}
	p.close()
}
