package failover

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// result is what the contestants made of one kind of event, round by round.
type result struct {
	title    string
	recovery []time.Duration      // from the key to the new leader taking writes, for each round
	outcomes map[string][]outcome // by contestant, for each round
}

// table is the result in Markdown, with a row for each contestant.
func (r *result) table(contestants []string, titles map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**", r.title)
	if len(r.recovery) > 0 {
		fmt.Fprintf(&b, ": the new leader left recovery %s after the key", spread(r.recovery))
	}
	b.WriteString("\n\n| | longest stall | above the floor | of one writer | key → write | errors | stuck | missing | on the old | 2nd database | 2nd cluster |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, name := range contestants {
		all := r.outcomes[name]
		if len(all) == 0 {
			continue
		}
		cells := []string{
			titles[name],
			stalls(all, func(o outcome) stall { return o.fleet }),
			above(all, r.outcomes["floor"]),
			stalls(all, func(o outcome) stall { return o.writer }),
			firstWrites(all, len(r.recovery) > 0),
			errorKinds(all),
			stuckWriters(all),
			total(all, func(o outcome) int { return o.missing }),
			total(all, func(o outcome) int { return o.onOld }),
			total(all, func(o outcome) int { return o.second }),
			total(all, func(o outcome) int { return o.other }) + noticed(all),
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String()
}

// spread is the median, and the least and the most if they differ.
func spread(d []time.Duration) string {
	d = slices.Sorted(slices.Values(d))
	text := seconds(d[len(d)/2])
	if low, high := seconds(d[0]), seconds(d[len(d)-1]); low != high {
		text += fmt.Sprintf(" (%s–%s)", strings.TrimSuffix(low, " s"), high)
	}
	return text
}

// seconds has three digits below a tenth of a second, two above.
func seconds(d time.Duration) string {
	d = d.Round(time.Millisecond) // there is no -0.000
	if d.Abs() < 100*time.Millisecond {
		return fmt.Sprintf("%.3f s", d.Seconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// stalls is the spread of a stall; one that never ended is said to be longer.
func stalls(all []outcome, of func(outcome) stall) string {
	lengths, open := make([]time.Duration, len(all)), 0
	for i, o := range all {
		lengths[i] = of(o).length
		if of(o).open {
			open++
		}
	}
	switch open {
	case 0:
		return spread(lengths)
	case len(all):
		return "never ended"
	}
	return fmt.Sprintf("%s, %d never ended", spread(lengths), open)
}

// above is how much longer the stalls were than the floor's in the same rounds.
func above(all, floor []outcome) string {
	if len(floor) != len(all) {
		return "–"
	}
	more := make([]time.Duration, len(all))
	for i, o := range all {
		if o.fleet.open {
			return "–"
		}
		more[i] = o.fleet.length - floor[i].fleet.length
	}
	return spread(more)
}

func firstWrites(all []outcome, moved bool) string {
	if !moved {
		return "–"
	}
	var seen []time.Duration
	for _, o := range all {
		if o.toKey >= 0 {
			seen = append(seen, o.toKey)
		}
	}
	never := len(all) - len(seen)
	switch {
	case len(seen) == 0:
		return "never"
	case never > 0:
		return fmt.Sprintf("%s, %d never", spread(seen), never)
	}
	return spread(seen)
}

// errorKinds is the errors of all rounds, each round's sum, and the kinds.
func errorKinds(all []outcome) string {
	var rounds []string
	kinds, sum := map[string]int{}, 0
	for _, o := range all {
		n := 0
		for class, k := range o.errors {
			kinds[class] += k
			n += k
		}
		sum += n
		rounds = append(rounds, fmt.Sprint(n))
	}
	if sum == 0 {
		return "**0**"
	}
	var names []string
	for _, class := range slices.SortedFunc(maps.Keys(kinds), func(a, b string) int {
		return cmp.Or(kinds[b]-kinds[a], strings.Compare(a, b))
	}) {
		names = append(names, fmt.Sprintf("%d %s", kinds[class], strings.ReplaceAll(class, "|", "/")))
	}
	counts := strings.Join(rounds, " + ")
	if len(rounds) > 5 {
		counts = fmt.Sprint(sum)
	}
	return fmt.Sprintf("%s: %s", counts, strings.Join(names, ", "))
}

func stuckWriters(all []outcome) string {
	stuck, of := 0, 0
	for _, o := range all {
		stuck, of = max(stuck, o.stuck), o.of
	}
	if stuck == 0 {
		return "0"
	}
	return fmt.Sprintf("%d of %d", stuck, of)
}

// total sums what is counted; what does not apply is a dash.
func total(all []outcome, of func(outcome) int) string {
	sum := 0
	for _, o := range all {
		if of(o) < 0 {
			return "–"
		}
		sum += of(o)
	}
	return fmt.Sprint(sum)
}

// noticed is the longest stall on the second cluster, if a client would notice.
func noticed(all []outcome) string {
	var longest time.Duration
	for _, o := range all {
		longest = max(longest, o.otherStall)
	}
	if longest < 500*time.Millisecond {
		return ""
	}
	return ", but a stall of " + seconds(longest)
}

// The marks in a document between which the report stands.
const (
	markBegin = "<!-- bench-failover -->\n"
	markEnd   = "<!-- /bench-failover -->"
)

// between replaces what stands between the marks. It is false if the document
// has none.
func between(document, report string) (string, bool) {
	head, rest, found := strings.Cut(document, markBegin)
	if !found {
		return document, false
	}
	_, tail, found := strings.Cut(rest, markEnd)
	if !found {
		return document, false
	}
	return head + markBegin + report + markEnd + tail, true
}
