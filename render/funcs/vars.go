package funcs

import (
	"fmt"
	"text/template"

	"github.com/pgbaton/pgbaton/internal/hint"
)

func variables(w *World) template.FuncMap {
	return template.FuncMap{
		// var is a setting of the target: {{ var "listen_port" 6432 }}. The
		// default gives its type; without one it must be set.
		"var": func(name string, fallback ...any) (any, error) {
			value, set := w.Vars[name]
			switch {
			case len(fallback) > 1:
				return nil, fmt.Errorf("var %s: one default at most", name)
			case !set && len(fallback) == 0:
				return nil, hint.Wrap(fmt.Errorf("var %s is not set", name), "add %s to the target's vars", name)
			case !set:
				return fallback[0], nil
			case len(fallback) == 0 || shape(value) == shape(fallback[0]):
				return value, nil
			}
			return nil, hint.Wrap(fmt.Errorf("var %s: want %s, have %s", name, shape(fallback[0]), shape(value)),
				"its default is %#v", fallback[0])
		},
	}
}

// shape is a value's type as an operator sees it.
func shape(v any) string {
	switch v.(type) {
	case string:
		return "text"
	case bool:
		return "true or false"
	case int, int64, float64:
		return "a number"
	case []any, []string:
		return "a list"
	case map[string]any, map[string]string:
		return "a map"
	case nil:
		return "nothing"
	}
	return fmt.Sprintf("a %T", v)
}
