package funcs

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

func text() template.FuncMap {
	return template.FuncMap{
		"join":       func(sep string, list []string) string { return strings.Join(list, sep) },
		"split":      func(sep, s string) []string { return split(sep, s) },
		"splitToMap": splitToMap,
		"trim":       func(cutset, s string) string { return strings.Trim(s, cutset) },
		"trimPrefix": func(prefix, s string) string { return strings.TrimPrefix(s, prefix) },
		"trimSuffix": func(suffix, s string) string { return strings.TrimSuffix(s, suffix) },
		"trimSpace":  strings.TrimSpace,
		"toLower":    strings.ToLower,
		"toUpper":    strings.ToUpper,
		"toTitle":    func(s string) string { return cases.Title(language.Und, cases.NoLower).String(s) },
		"replaceAll": func(old, with, s string) string { return strings.ReplaceAll(s, old, with) },
		"indent":     indent,
		"regexMatch": func(re, s string) (bool, error) {
			compiled, err := regexp.Compile(re)
			if err != nil {
				return false, err
			}
			return compiled.MatchString(s), nil
		},
		"regexReplaceAll": func(re, with, s string) (string, error) {
			compiled, err := regexp.Compile(re)
			if err != nil {
				return "", err
			}
			return compiled.ReplaceAllString(s, with), nil
		},
		// slug makes a name that every daemon's config takes as one word.
		"slug": plainWord,
	}
}

var notPlain = regexp.MustCompile(`[^a-zA-Z0-9_-]`)

func plainWord(s string) string { return notPlain.ReplaceAllString(s, "_") }

func split(sep, s string) []string {
	if s = strings.TrimSpace(s); s == "" {
		return []string{}
	}
	return strings.Split(s, sep)
}

// splitToMap splits a=1,b=2 into a map; what lacks the second separator is
// left out.
func splitToMap(between, within, s string) map[string]string {
	out := map[string]string{}
	for _, part := range split(between, s) {
		if key, value, ok := strings.Cut(part, within); ok {
			out[key] = value
		}
	}
	return out
}

// indent indents each line that is not empty.
func indent(n int, s string) (string, error) {
	if n < 0 || n > 1000 {
		return "", fmt.Errorf("indent: %d spaces", n)
	}
	pad := strings.Repeat(" ", n)
	lines := strings.SplitAfter(s, "\n")
	for i, line := range lines {
		if line != "" && line != "\n" {
			lines[i] = pad + line
		}
	}
	return strings.Join(lines, ""), nil
}

func search() template.FuncMap {
	// some folds "is it in there" over a list of wanted values.
	some := func(found, result bool) func([]any, any) bool {
		return func(wanted []any, list any) bool {
			for _, v := range wanted {
				if in(list, v) == found {
					return result
				}
			}
			return !result
		}
	}
	return template.FuncMap{
		"in":             in,
		"contains":       func(v, list any) bool { return in(list, v) },
		"containsAll":    some(false, false),
		"containsAny":    some(true, true),
		"containsNone":   some(true, false),
		"containsNotAll": some(false, true),
	}
}

// in says whether v is an element of a list, or a part of a text. Texts, whole
// numbers and floats can be found; nothing else ever is, and nothing is in what
// is no list.
func in(list, v any) bool {
	l, wanted := reflect.ValueOf(list), reflect.ValueOf(v)
	switch l.Kind() {
	case reflect.String:
		return wanted.IsValid() && wanted.Type() == l.Type() && strings.Contains(l.String(), wanted.String())
	case reflect.Slice, reflect.Array:
		for i := range l.Len() {
			if equal(l.Index(i), wanted) {
				return true
			}
		}
	}
	return false
}

func equal(x, y reflect.Value) bool {
	if x.Kind() == reflect.Interface {
		x = x.Elem()
	}
	switch {
	case !x.IsValid() || !y.IsValid():
		return false
	case x.CanInt() && y.CanInt():
		return x.Int() == y.Int()
	case x.CanFloat() && y.CanFloat():
		return x.Float() == y.Float()
	}
	return x.Kind() == reflect.String && x.Type() == y.Type() && x.String() == y.String()
}

func toInt(v any) (int64, error) {
	x := reflect.ValueOf(v)
	switch {
	case x.IsValid() && x.CanInt():
		return x.Int(), nil
	case x.IsValid() && x.CanUint():
		return int64(x.Uint()), nil
	case x.IsValid() && x.Kind() == reflect.String:
		return strconv.ParseInt(x.String(), 10, 64)
	}
	return 0, fmt.Errorf("want a number, have %T", v)
}

func clock(w *World) template.FuncMap {
	return template.FuncMap{
		"now": func() time.Time { return w.Now },
		"timestamp": func(layout ...string) (string, error) {
			switch {
			case len(layout) == 0:
				return w.Now.UTC().Format(time.RFC3339), nil
			case len(layout) > 1:
				return "", fmt.Errorf("timestamp: one layout at most, have %d", len(layout))
			case layout[0] == "unix":
				return strconv.FormatInt(w.Now.Unix(), 10), nil
			}
			return w.Now.UTC().Format(layout[0]), nil
		},
	}
}
