package probe_test

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/probe"
)

func TestComparison(t *testing.T) {
	for _, c := range []struct {
		got, op, value string
		unmet          string // "" is met
	}{
		{"6", ">", "5", ""},
		{"5", ">", "5", `it is "5", not > "5"`},
		{"3", "<", "5", ""},
		{"5", "<", "5", `it is "5", not < "5"`},
		{"5", "<=", "5", ""},
		{"5.1", "<=", "5", `it is "5.1", not <= "5"`},
		{"5", ">=", "5", ""},
		{"4", ">=", "5", `it is "4", not >= "5"`},
		{"10", ">", "9", ""}, // not as texts
		{"-1", "<", "-0.5", ""},
		{" 3 ", "<", "5", ""},
		{"1e3", ">", "999.5", ""},
		{"Infinity", ">", "5", ""}, // as PostgreSQL writes it
		{"-Infinity", ">", "5", `it is "-Infinity", not > "5"`},
		{"1e999", ">", "5", ""},
		{"0.017345", "<", "0.02", ""},
		// What C's atof makes 0 of.
		{"", "<", "5", `"" is no number`},
		{"unknown", "<", "5", `"unknown" is no number`},
		{"00:00:07", "<", "5", `"00:00:07" is no number`},
		{"15 GB", "<", "100", `"15 GB" is no number`},
		{"NaN", "<", "5", `"NaN" is no number`},
		{"NaN", ">", "5", `"NaN" is no number`},

		{"5", "=", "5", ""},
		{"5.0", "=", "5", `it is "5.0", not = "5"`},
		{"t", "=", "t", ""},
		{"t", "=", "true", `it is "t", not = "true"`},
		{"", "=", "", ""},
		{"a", "!=", "b", ""},
		{"a", "!=", "a", `it is "a", not != "a"`},

		{"whatever", "", "", ""},
		{"5", "==", "5", `compare with "5": there is no operator "=="`},
		{"5", "~", "5", `compare with "5": there is no operator "~"`},
		{"5", "", "5", `compare with "5": there is no operator`},
		{"5", "<", "x", `compare by <: "x" is no number`},
	} {
		err := probe.Comparison{Op: c.op, Value: c.value}.Unmet(c.got)
		if text(err) != c.unmet {
			t.Errorf("%q %s %q: %q, want %q", c.got, c.op, c.value, text(err), c.unmet)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestComparisonHints: whoever writes another language's operator is told ours.
func TestComparisonHints(t *testing.T) {
	for c, want := range map[probe.Comparison]string{
		{Op: "==", Value: "1"}:  "did you mean = ?",
		{Op: "<>", Value: "1"}:  "did you mean != ?",
		{Op: "=>", Value: "1"}:  "did you mean >= ?",
		{Op: "GT", Value: "1"}:  "did you mean > ?",
		{Op: "~", Value: "1"}:   "operators are < <= = != >= >",
		{Op: "", Value: "1"}:    "operators are < <= = != >= >",
		{Op: "<", Value: "few"}: "< compares numbers; = and != compare texts",
		{Op: "<=", Value: "1"}:  "",
		{Op: "=", Value: "few"}: "",
		{}:                      "",
	} {
		err := c.Valid()
		if got := hint.Of(err); got != want || (err == nil) != (want == "") {
			t.Errorf("%+v: %v, hint %q, want %q", c, err, got, want)
		}
	}
}

// FuzzComparison: what is not valid is met by nothing, numbers that are met are what
// they are said to be, and an error is one line.
func FuzzComparison(f *testing.F) {
	for _, op := range append(slices.Clone(probe.Operators), "", "==", "~", "\n") {
		for _, v := range []string{"", "5", "x", "NaN", "-inf", "1e999", "0x1p-3", "t", "a\nb"} {
			f.Add("5", op, v)
			f.Add(v, op, "5")
		}
	}
	f.Fuzz(func(t *testing.T, got, op, value string) {
		c := probe.Comparison{Op: op, Value: value}
		err := c.Unmet(got)
		if invalid := c.Valid(); invalid != nil && err == nil {
			t.Fatalf("%+v is not valid (%v), and %q meets it", c, invalid, got)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("the error has more than a line: %q", err)
		}
		if err != nil {
			return
		}
		left, leftErr := strconv.ParseFloat(strings.TrimSpace(got), 64)
		right, rightErr := strconv.ParseFloat(strings.TrimSpace(value), 64)
		switch op {
		case "", "!=":
		case "=":
			if got != value {
				t.Errorf("%q = %q", got, value)
			}
		default:
			if (leftErr != nil && !math.IsInf(left, 0)) || (rightErr != nil && !math.IsInf(right, 0)) || math.IsNaN(left) || math.IsNaN(right) {
				t.Errorf("%q %s %q is met by what is no number", got, op, value)
			}
			opposite := map[string]string{"<": ">=", "<=": ">", ">": "<=", ">=": "<"}[op]
			if (probe.Comparison{Op: opposite, Value: value}).Unmet(got) == nil {
				t.Errorf("%q is both %s and %s %q", got, op, opposite, value)
			}
		}
	})
}
