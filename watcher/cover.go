package watcher

import (
	"cmp"
	"slices"
	"strings"
)

// Watch is one thing to ask of a store, for the sake of one query or several.
type Watch struct {
	Query Query   // what is asked: a part itself, or a Prefix that has all parts below it; zero if the parts take turns
	Parts []Query // what it is asked for; never empty
}

// Cover says how to watch queries of one store with at most budget watches; 0 is
// no limit. As long as there is room each query is a watch of its own. Beyond
// that, keys and prefixes are watched through wider prefixes, which need not end
// at a slash: every change below one reads all of it again, so they are kept as
// narrow as the budget allows, and never wider than a top-level folder. What
// finds no room even so takes turns in one watch, which asks and does not wait.
//
// Each query is a part of exactly one watch. Those in apart are not watched
// through a wider prefix.
func Cover(queries []Query, apart map[Query]bool, budget int) []Watch {
	if budget <= 0 || len(queries) <= budget {
		return singly(queries)
	}
	if budget == 1 {
		return []Watch{{Parts: queries}}
	}
	var single []Query
	families := map[Query][]Query{}
	for _, q := range queries {
		if family, ok := familyOf(q); ok && !apart[q] {
			families[family] = append(families[family], q)
		} else {
			single = append(single, q)
		}
	}
	var groups []group
	for family, parts := range families {
		groups = append(groups, gather(family, parts))
	}
	slices.SortFunc(single, compareQueries)
	slices.SortFunc(groups, func(a, b group) int { return cmp.Or(b.size()-a.size(), compareQueries(a.at, b.at)) })

	// Leaders are among the keys: the others leave them half of the room at least.
	var turns []Query
	if room := max(budget/2, budget-len(groups)); len(single) > room {
		single, turns = single[:room-1], single[room-1:]
	}
	room := budget - len(single)
	if len(turns) > 0 {
		room--
	}
	if len(groups) > room {
		if len(turns) == 0 {
			room--
		}
		for _, g := range groups[room:] {
			turns = append(turns, g.parts...)
		}
		groups = groups[:room]
	}
	groups = split(groups, room)

	watches := singly(single)
	for _, g := range groups {
		// What is apart may be just as wide as a group.
		same := slices.IndexFunc(watches, func(w Watch) bool { return w.Query == g.query() })
		if same < 0 {
			watches = append(watches, Watch{Query: g.query()})
			same = len(watches) - 1
		}
		watches[same].Parts = append(watches[same].Parts, g.parts...)
	}
	if len(turns) > 0 {
		watches = append(watches, Watch{Parts: turns})
	}
	return watches
}

func singly(queries []Query) []Watch {
	watches := make([]Watch, len(queries))
	for i, q := range queries {
		watches[i] = Watch{q, []Query{q}}
	}
	return watches
}

// familyOf is the widest prefix through which q may be watched.
func familyOf(q Query) (Query, bool) {
	if q.Kind != Key && q.Kind != Prefix {
		return Query{}, false
	}
	folder, _, deep := strings.Cut(below(q), "/")
	if !deep || folder == "" {
		return Query{}, false
	}
	q.Kind, q.Path = Prefix, folder+"/"
	return q, true
}

// below is where q begins in the tree of keys; a leading slash says nothing.
func below(q Query) string { return strings.TrimPrefix(q.Path, "/") }

// group is what one wide watch is for.
type group struct {
	at    Query   // a Prefix that has all parts below it, and is as long as it can be
	parts []Query // sorted by where they begin
}

func gather(family Query, parts []Query) group {
	slices.SortFunc(parts, func(a, b Query) int { return cmp.Or(strings.Compare(below(a), below(b)), compareQueries(a, b)) })
	family.Path = common(below(parts[0]), below(parts[len(parts)-1]))
	return group{family, parts}
}

func common(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

func (g group) size() int { return len(g.parts) }

// query is what to ask for g: a part alone as it is.
func (g group) query() Query {
	if len(g.parts) == 1 {
		return g.parts[0]
	}
	return g.at
}

// children are the narrower groups that g falls into; nil if there are none: a
// part that is as wide as g would be read for the others anyway.
func (g group) children() []group {
	at := len(g.at.Path)
	from := 0
	for from < g.size() && len(below(g.parts[from])) == at {
		if g.parts[from].Kind == Prefix {
			return nil
		}
		from++
	}
	if from == g.size() {
		return nil
	}
	var out []group
	if from > 0 {
		out = append(out, group{g.at, g.parts[:from]})
	}
	for from < g.size() {
		to := from + 1
		for to < len(g.parts) && below(g.parts[to])[at] == below(g.parts[from])[at] {
			to++
		}
		out = append(out, gather(g.at, g.parts[from:to]))
		from = to
	}
	return out
}

// split narrows groups, the largest first, as long as there are at most room of
// them: what a change costs grows with the square of a group's size.
func split(groups []group, room int) []group {
	var whole []group
	for len(groups) > 0 {
		largest := 0
		for i := range groups {
			if groups[i].size() > groups[largest].size() {
				largest = i
			}
		}
		g := groups[largest]
		groups = slices.Delete(groups, largest, largest+1)
		children := g.children()
		if len(children) == 0 || len(whole)+len(groups)+len(children) > room {
			whole = append(whole, g)
			continue
		}
		groups = append(groups, children...)
	}
	return whole
}

func compareQueries(a, b Query) int {
	return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Path, b.Path), strings.Compare(a.String(), b.String()))
}

// part is what the answer to a wider Prefix says of q, which is below it.
func (q Query) part(wide []Pair) (Presence, any) {
	path := below(q)
	from, found := slices.BinarySearchFunc(wide, path, func(p Pair, path string) int { return strings.Compare(p.Path, path) })
	if q.Kind == Key {
		if !found {
			return Absent, nil
		}
		pair := wide[from]
		pair.Key = pair.Path
		return Present, pair
	}
	pairs := []Pair{}
	for _, pair := range wide[from:] {
		rest, ok := strings.CutPrefix(pair.Path, path)
		if !ok {
			break
		}
		pair.Key = strings.TrimLeft(rest, "/")
		pairs = append(pairs, pair)
	}
	return Present, pairs
}
