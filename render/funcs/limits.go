package funcs

import (
	"fmt"
	"strings"
	"text/template"
)

// MaxItems is how many items a template may make in one call, and how many
// bytes one call may repeat: a config that needs more is a mistake, and one
// call can't be interrupted.
const (
	MaxItems = 1_000_000
	maxBytes = 64 << 20
)

// bounded replaces sprig's functions that make as much as they are asked to.
var bounded = template.FuncMap{
	"repeat": func(n int, s string) (string, error) {
		if n < 0 || n > maxBytes || n*len(s) > maxBytes {
			return "", fmt.Errorf("repeat: %d times %d bytes is more than a config needs", n, len(s))
		}
		return strings.Repeat(s, n), nil
	},
	"until": func(n int) ([]int, error) { return sequence(0, n, 1) },
	"untilStep": func(from, to, step int) ([]int, error) {
		return sequence(from, to, step)
	},
	"seq": func(args ...int) (string, error) {
		from, step, to := 1, 1, 0
		switch len(args) {
		case 1:
			to = args[0]
		case 2:
			from, to = args[0], args[1]
		case 3:
			from, step, to = args[0], args[1], args[2]
		default:
			return "", nil
		}
		if len(args) < 3 && to < from {
			step = -1
		}
		end := to + 1
		if step < 0 {
			end = to - 1
		}
		list, err := sequence(from, end, step)
		return strings.Trim(fmt.Sprint(list), "[]"), err
	},
	"indent": indent, "nindent": func(n int, s string) (string, error) {
		s, err := indent(n, s)
		return "\n" + s, err
	},
}

func limits() template.FuncMap {
	return template.FuncMap{
		"loop": func(args ...any) ([]int64, error) {
			bounds := []int64{0, 0}
			switch len(args) {
			case 1, 2:
				for i, a := range args {
					n, err := toInt(a)
					if err != nil {
						return nil, fmt.Errorf("loop: %w", err)
					}
					bounds[2-len(args)+i] = n
				}
			default:
				return nil, fmt.Errorf("loop: want 1 or 2 numbers, have %d", len(args))
			}
			list, err := sequence(int(bounds[0]), int(bounds[1]), 1)
			if err != nil {
				return nil, err
			}
			out := make([]int64, len(list))
			for i, n := range list {
				out[i] = int64(n)
			}
			return out, nil
		},
	}
}

// sequence counts from from up to, and without, to.
func sequence(from, to, step int) ([]int, error) {
	list := []int{}
	if step == 0 || (step > 0) != (to > from) {
		return list, nil
	}
	if n := (to - from) / step; n > MaxItems || n < 0 {
		return nil, fmt.Errorf("a sequence of %d numbers is more than a config needs", n)
	}
	for i := from; (step > 0 && i < to) || (step < 0 && i > to); i += step {
		list = append(list, i)
	}
	return list, nil
}
