package watcher

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func prefixes(paths ...string) (queries []Query) {
	for _, p := range paths {
		queries = append(queries, Query{Kind: Prefix, Path: p})
	}
	return queries
}

func numbered(format string, n int) (queries []Query) {
	for i := range n {
		queries = append(queries, prefixes(fmt.Sprintf(format, i+1))...)
	}
	return queries
}

// shape lists what is asked and for how many, as text.
func shape(watches []Watch) string {
	var lines []string
	for _, w := range watches {
		what := "turns"
		if w.Query.Kind != "" {
			what = string(w.Query.Kind) + " " + w.Query.Path
		}
		lines = append(lines, fmt.Sprintf("%s: %d", what, len(w.Parts)))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestCover(t *testing.T) {
	for name, test := range map[string]struct {
		queries []Query
		apart   int // of the first ones
		budget  int
		want    string
	}{
		"no limit": {prefixes("service/a/", "service/b/"), 0, 0, "prefix service/a/: 1\nprefix service/b/: 1"},
		"room":     {prefixes("service/a/", "service/b/"), 0, 2, "prefix service/a/: 1\nprefix service/b/: 1"},
		"one wide": {prefixes("service/a/", "service/b/", "service/c/"), 0, 2, "prefix service/: 3"},
		"a prefix need not end at a slash": {
			prefixes("service/pg-1/", "service/pg-2/", "service/pg-3/", "service/web/"), 0, 3, "prefix service/pg-: 3\nprefix service/web/: 1",
		},
		"the largest is narrowed first": {
			slices.Concat(numbered("service/a%d/", 3), numbered("service/b%d/", 9)), 0, 10,
			"prefix service/a: 3\n" + shape(singly(numbered("service/b%d/", 9)[:9])),
		},
		"keys and prefixes together": {
			append(prefixes("app/one/"), Query{Kind: Key, Path: "app/one/leader"}, Query{Kind: Key, Path: "/app/one"}, Query{Kind: Key, Path: "app/two"}), 0, 3,
			"key /app/one: 1\nkey app/two: 1\nprefix app/one/: 2",
		},
		"a prefix that has the others below it is asked as it is": {prefixes("app/one/", "app/one/x/", "app/one/y/"), 0, 2, "prefix app/one/: 3"},
		"never wider than a top-level folder":                     {prefixes("a/one", "a/two", "b/one", "b/two", "c/one"), 0, 3, "prefix a/: 2\nprefix b/: 2\nprefix c/one: 1"},
		"too many folders take turns":                             {prefixes("a/1", "b/1", "c/1", "d/1"), 0, 3, "prefix a/1: 1\nprefix b/1: 1\nturns: 2"},
		"what is apart stays so":                                  {prefixes("service/a/", "service/b/", "service/c/", "service/d/"), 1, 3, "prefix service/: 3\nprefix service/a/: 1"},
		"services leave keys half of the room": {
			append(prefixes("service/a/", "service/b/"), Query{Kind: Service, Path: "1"}, Query{Kind: Service, Path: "2"}, Query{Kind: Service, Path: "3"}, Query{Kind: Service, Path: "4"}), 0, 4,
			"prefix service/: 2\nservice 1: 1\nservice 2: 1\nturns: 2",
		},
		"no budget to speak of": {prefixes("a/1", "b/1"), 0, 1, "turns: 2"},
	} {
		t.Run(name, func(t *testing.T) {
			apart := map[Query]bool{}
			for _, q := range test.queries[:test.apart] {
				apart[q] = true
			}
			if have := shape(Cover(test.queries, apart, test.budget)); have != test.want {
				t.Errorf("it is\n%s\nwant\n%s", have, test.want)
			}
		})
	}
}

// TestCoverOfAFleet says what a change costs: how many clusters are read at it.
func TestCoverOfAFleet(t *testing.T) {
	for n, most := range map[int]int{300: 10, 1000: 100} {
		watches := Cover(numbered("service/c%04d/", n), nil, 90)
		largest := 0
		for _, w := range watches {
			largest = max(largest, len(w.Parts))
		}
		t.Logf("%d clusters: %d watches, the largest of %d", n, len(watches), largest)
		if largest > most {
			t.Errorf("of %d clusters %d are read at one change, want %d at most", n, largest, most)
		}
	}
}

// FuzzCover holds whatever is watched to what Cover promises.
func FuzzCover(f *testing.F) {
	f.Add(uint64(1), uint8(20), uint8(4))
	f.Fuzz(func(t *testing.T, seed uint64, n, budget uint8) {
		random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test
		unique := map[Query]bool{}
		apart := map[Query]bool{}
		for range n {
			var path strings.Builder
			for range 1 + random.IntN(6) {
				path.WriteByte("ab/"[random.IntN(3)])
			}
			q := Query{Kind: []Kind{Key, Prefix, Prefix, Service}[random.IntN(4)], Path: path.String()}
			if random.IntN(5) == 0 {
				q.Options.Datacenter = "dc2"
			}
			unique[q] = true
			apart[q] = random.IntN(5) == 0
		}
		var queries []Query
		for q := range unique {
			queries = append(queries, q)
		}
		slices.SortFunc(queries, compareQueries)
		watches := Cover(queries, apart, int(budget))
		if budget > 0 && len(watches) > int(budget) {
			t.Errorf("%d watches, the budget is %d", len(watches), budget)
		}
		asked := map[Query]bool{}
		for _, w := range watches {
			if asked[w.Query] {
				t.Errorf("%s is asked twice", w.Query)
			}
			asked[w.Query] = true
			for _, q := range w.Parts {
				if !unique[q] {
					t.Errorf("%s is watched twice, or nobody wants it", q)
				}
				delete(unique, q)
				switch {
				case w.Query == q, w.Query == Query{}:
				case w.Query.Kind != Prefix || w.Query.Options != q.Options || q.Kind == Service || (apart[q] && below(q) != below(w.Query)):
					t.Errorf("%s is watched through %s", q, w.Query)
				case !strings.HasPrefix(below(q), below(w.Query)) || !strings.Contains(below(w.Query), "/"):
					t.Errorf("%s is watched through %s", q, w.Query)
				}
			}
		}
		if len(unique) > 0 {
			t.Errorf("%d queries are not watched", len(unique))
		}
	})
}

func TestPart(t *testing.T) {
	wide := []Pair{{Path: "s/a", Value: "1"}, {Path: "s/a/leader", Value: "2"}, {Path: "s/a/members/x", Value: "3"}, {Path: "s/ab", Value: "4"}}
	for q, want := range map[Query]string{
		{Kind: Key, Path: "s/a"}:            "present s/a=1",
		{Kind: Key, Path: "/s/a/leader"}:    "present s/a/leader=2",
		{Kind: Key, Path: "s/a/lead"}:       "absent",
		{Kind: Key, Path: "s/b"}:            "absent",
		{Kind: Prefix, Path: "s/a/"}:        "present leader=2 members/x=3",
		{Kind: Prefix, Path: "s/a"}:         "present =1 leader=2 members/x=3 b=4",
		{Kind: Prefix, Path: "s/a/nothing"}: "present",
		{Kind: Prefix, Path: "t/"}:          "present",
	} {
		presence, value := q.part(wide)
		have := presence.String()
		switch v := value.(type) {
		case Pair:
			have += " " + v.Key + "=" + v.Value
		case []Pair:
			for _, p := range v {
				have += " " + p.Key + "=" + p.Value
			}
		}
		if have != want {
			t.Errorf("%s is %q, want %q", q, have, want)
		}
	}
}
