package failover

import (
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	r := result{
		title:    "Crash",
		recovery: []time.Duration{50 * time.Millisecond, 40 * time.Millisecond, 60 * time.Millisecond},
		outcomes: map[string][]outcome{
			"a": {
				{fleet: stall{2 * time.Second, false}, writer: stall{3 * time.Second, false}, toKey: 70 * time.Millisecond, of: 8, errors: map[string]int{"refused": 2}},
				{
					fleet: stall{4 * time.Second, false}, writer: stall{5 * time.Second, true}, toKey: -1, of: 8, stuck: 7, missing: 3,
					errors: map[string]int{"refused": 1, "a|b": 7}, otherStall: time.Second,
				},
			},
			"floor": {{fleet: stall{time.Second, false}, writer: stall{time.Second, false}, of: 8, second: -1, other: -1}},
		},
	}
	got := r.table([]string{"floor", "a", "c"}, map[string]string{"a": "A", "floor": "B"})
	want := `**Crash**: the new leader left recovery 0.050 s (0.040–0.060 s) after the key

| | longest stall | above the floor | of one writer | key → write | errors | stuck | missing | on the old | 2nd database | 2nd cluster |
|---|---|---|---|---|---|---|---|---|---|---|
| B | 1.00 s | 0.000 s | 1.00 s | 0.000 s | **0** | 0 | 0 | 0 | – | – |
| A | 4.00 s (2.00–4.00 s) | – | 5.00 s (3.00–5.00 s), 1 never ended | 0.070 s, 1 never | 2 + 8: 7 a/b, 3 refused | 7 of 8 | 3 | 0 | 0 | 0, but a stall of 1.00 s |
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBetween(t *testing.T) {
	document := "head\n" + markBegin + "old\n" + markEnd + "\ntail\n"
	got, found := between(document, "new\n")
	if !found || got != strings.Replace(document, "old", "new", 1) {
		t.Errorf("found %v:\n%s", found, got)
	}
	for _, without := range []string{"", markBegin, markEnd} {
		if got, found := between(without, "new"); found || got != without {
			t.Errorf("%q: found %v: %q", without, found, got)
		}
	}
}
