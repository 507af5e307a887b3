package funcs

import (
	"errors"
	"fmt"
	"reflect"
	"text/template"
)

// arithmetic computes with numbers of any width. The second argument is the
// first operand, so that a number can be piped: {{ 7 | subtract 2 }} is 5.
//
// Two integers give an int64, two unsigned ones a uint64, one of each an int64,
// and a float with anything a float64.
func arithmetic() template.FuncMap {
	return template.FuncMap{
		"add": compute("add", operation{
			func(a, b int64) (int64, error) { return a + b, nil },
			func(a, b uint64) (uint64, error) { return a + b, nil },
			func(a, b float64) float64 { return a + b },
		}),
		"subtract": compute("subtract", operation{
			func(a, b int64) (int64, error) { return a - b, nil },
			func(a, b uint64) (uint64, error) { return a - b, nil },
			func(a, b float64) float64 { return a - b },
		}),
		"multiply": compute("multiply", operation{
			func(a, b int64) (int64, error) { return a * b, nil },
			func(a, b uint64) (uint64, error) { return a * b, nil },
			func(a, b float64) float64 { return a * b },
		}),
		"divide": compute("divide", operation{
			unlessZero(func(a, b int64) int64 { return a / b }),
			unlessZero(func(a, b uint64) uint64 { return a / b }),
			func(a, b float64) float64 { return a / b },
		}),
		"modulo": compute("modulo", operation{
			unlessZero(func(a, b int64) int64 { return a % b }),
			unlessZero(func(a, b uint64) uint64 { return a % b }),
			nil,
		}),
		"minimum": choose("minimum", func(a, b number) bool { return a.less(b) }),
		"maximum": choose("maximum", func(a, b number) bool { return b.less(a) }),
	}
}

// operation is one for each kind of number; floats is nil if it has none.
type operation struct {
	ints   func(a, b int64) (int64, error)
	uints  func(a, b uint64) (uint64, error)
	floats func(a, b float64) float64
}

func unlessZero[T int64 | uint64](op func(a, b T) T) func(a, b T) (T, error) {
	return func(a, b T) (T, error) {
		if b == 0 {
			return 0, errors.New("division by zero")
		}
		return op(a, b), nil
	}
}

func compute(name string, op operation) func(b, a any) (any, error) {
	return func(second, first any) (any, error) {
		a, b, err := numbers(name, first, second)
		if err != nil {
			return nil, err
		}
		var result any
		switch {
		case a.kind == reflect.Float64 || b.kind == reflect.Float64:
			if op.floats == nil {
				return nil, fmt.Errorf("%s: want whole numbers, have %v and %v", name, first, second)
			}
			return op.floats(a.float(), b.float()), nil
		case a.kind == reflect.Uint64 && b.kind == reflect.Uint64:
			result, err = op.uints(a.u, b.u)
		default:
			result, err = op.ints(a.int(), b.int())
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return result, nil
	}
}

// choose takes the first of two numbers if it is preferred, else the second.
func choose(name string, preferred func(a, b number) bool) func(b, a any) (any, error) {
	return func(second, first any) (any, error) {
		a, b, err := numbers(name, first, second)
		if err != nil {
			return nil, err
		}
		if preferred(a, b) {
			return a.value(), nil
		}
		return b.value(), nil
	}
}

// number is a number at its widest: of kind Int64, Uint64 or Float64.
type number struct {
	kind reflect.Kind
	i    int64
	u    uint64
	f    float64
}

func numbers(name string, first, second any) (a, b number, err error) {
	if a, err = numberOf(name, first); err != nil {
		return a, b, err
	}
	b, err = numberOf(name, second)
	return a, b, err
}

func numberOf(name string, v any) (number, error) {
	x := reflect.ValueOf(v)
	switch {
	case x.IsValid() && x.CanInt():
		return number{kind: reflect.Int64, i: x.Int()}, nil
	case x.IsValid() && x.CanUint() && x.Kind() != reflect.Uintptr:
		return number{kind: reflect.Uint64, u: x.Uint()}, nil
	case x.IsValid() && x.CanFloat():
		return number{kind: reflect.Float64, f: x.Float()}, nil
	}
	return number{}, fmt.Errorf("%s: want a number, have %v (%T)", name, v, v)
}

func (n number) int() int64 {
	if n.kind == reflect.Uint64 {
		return int64(n.u) //nolint:gosec // as consul-template has it
	}
	return n.i
}

func (n number) float() float64 {
	switch n.kind {
	case reflect.Int64:
		return float64(n.i)
	case reflect.Uint64:
		return float64(n.u)
	}
	return n.f
}

func (n number) value() any {
	switch n.kind {
	case reflect.Int64:
		return n.i
	case reflect.Uint64:
		return n.u
	}
	return n.f
}

func (n number) less(o number) bool {
	switch {
	case n.kind == reflect.Float64 || o.kind == reflect.Float64:
		return n.float() < o.float()
	case n.kind == reflect.Uint64 && o.kind == reflect.Uint64:
		return n.u < o.u
	}
	return n.int() < o.int()
}
