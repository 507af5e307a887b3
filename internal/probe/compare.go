package probe

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// Comparison is what a value that SQL yields has to be. The zero value takes any.
//
// = and != compare texts, byte by byte: a boolean is t or f, and 1.0 is not 1. The
// others compare numbers, and what is no number is an error, never a 0.
type Comparison struct {
	Op    string // one of Operators; "" takes any value
	Value string // what stands on its right
}

// Operators are those that there are.
var Operators = []string{"<", "<=", "=", "!=", ">=", ">"}

// meant are what other languages write for one of Operators.
var meant = map[string]string{"==": "=", "===": "=", "<>": "!=", "=<": "<=", "=>": ">=", "is": "=", "eq": "=", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}

// Valid says what is wrong with the comparison itself, whatever it is asked.
func (c Comparison) Valid() error {
	switch {
	case c.Op == "" && c.Value != "":
		return hint.Wrap(fmt.Errorf("compare with %q: there is no operator", c.Value), "operators are %s", strings.Join(Operators, " "))
	case c.Op == "":
		return nil
	case !slices.Contains(Operators, c.Op):
		err := fmt.Errorf("compare with %q: there is no operator %q", c.Value, c.Op)
		if m, known := meant[strings.ToLower(c.Op)]; known {
			return hint.Wrap(err, "did you mean %s ?", m)
		}
		return hint.Wrap(err, "operators are %s", strings.Join(Operators, " "))
	case c.text():
		return nil
	}
	if _, err := number(c.Value); err != nil {
		return hint.Wrap(fmt.Errorf("compare by %s: %w", c.Op, err), "%s compares numbers; = and != compare texts", c.Op)
	}
	return nil
}

// Unmet says why a value is not as it has to be; nil if it is. A comparison that is
// not Valid is met by nothing.
func (c Comparison) Unmet(got string) error {
	if err := c.Valid(); err != nil {
		return err
	}
	if c.Op == "" {
		return nil
	}
	met := false
	switch c.Op {
	case "=":
		met = got == c.Value
	case "!=":
		met = got != c.Value
	default:
		left, err := number(got)
		if err != nil {
			return err
		}
		right, err := number(c.Value)
		if err != nil {
			return err
		}
		switch c.Op {
		case "<":
			met = left < right
		case "<=":
			met = left <= right
		case ">=":
			met = left >= right
		case ">":
			met = left > right
		}
	}
	if !met {
		return fmt.Errorf("it is %q, not %s", got, c)
	}
	return nil
}

// String is the comparison as one writes it.
func (c Comparison) String() string {
	if c.Op == "" {
		return ""
	}
	return fmt.Sprintf("%s %q", c.Op, c.Value)
}

// text says whether it compares texts.
func (c Comparison) text() bool { return c.Op == "=" || c.Op == "!=" }

// number reads a number as PostgreSQL writes it. One that is too large for a float64 is
// infinite.
func number(text string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(n) {
		return 0, fmt.Errorf("%q is no number", text)
	}
	return n, nil
}
