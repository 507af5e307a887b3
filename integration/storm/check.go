package storm

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The slack that a busy machine gets.
const (
	late      = 3 * time.Second        // a hold may end so long after its deadline
	look      = 300 * time.Millisecond // two looks at the pooler further apart say nothing of the time between
	underWay  = 3 * time.Second        // an action under way when its target is frozen is finished
	glimpse   = 100 * time.Millisecond // a file may have been there so long before it was found
	belated   = 50 * time.Millisecond  // a word of one program may be written down after what another did next
	undecided = -1
)

// Check lists every promise that a history breaks.
func Check(h History) []Violation {
	slices.SortStableFunc(h.Events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	c := checker{history: h}
	for _, e := range h.Events {
		if e.Kind == Led {
			c.terms = append(c.terms, e)
		}
	}
	c.files()
	c.rows()
	c.loads()
	c.holds()
	c.operator()
	c.freezes()
	c.ends()
	return c.found
}

type checker struct {
	history History
	terms   []Event // who led, in turn
	shown   []showing
	found   []Violation
}

// showing is the term that a file showed from a time on.
type showing struct {
	file string
	at   time.Duration
	term int
}

func (c *checker) breaks(rule string, at time.Duration, what string, args ...any) {
	c.found = append(c.found, Violation{rule, at, fmt.Sprintf(what, args...)})
}

// term is the first term from one on that member had begun by a time; undecided
// if there is none.
func (c *checker) term(member string, from int, by time.Duration) int {
	for i := max(from, 0); i < len(c.terms); i++ {
		if c.terms[i].Member == member && c.terms[i].Begun <= by {
			return i
		}
	}
	return undecided
}

// files: what lies at a destination is whole, of its mode, and wanted; the leader
// that it shows takes writes, and never goes back to a term before.
func (c *checker) files() {
	last, sources := map[string]int{}, map[string]int{} // by file: the term and the source that it showed
	for _, e := range c.history.Events {
		if e.Kind != Found || e.By != "" {
			continue
		}
		file := c.history.Files[e.File]
		if e.Mode != file.Mode {
			c.breaks("its mode is as asked", e.At, "%s has mode %s, not %s", e.File, e.Mode, file.Mode)
		}
		member := file.Leader(e.Content)
		if member == "" {
			c.breaks("a file is whole", e.At, "%s leads nowhere: %q", e.File, e.Content)
			continue
		}
		if c.templated(e.File) {
			switch source := c.wanted(e, member, sources[e.File]); {
			case source != undecided:
				sources[e.File] = source
			case c.wanted(e, member, 0) != undecided:
				c.breaks("no change of a template is lost", e.At, "%s is %q again", e.File, e.Content)
			default:
				c.breaks("a file is what its template yields", e.At, "%s is %q", e.File, e.Content)
			}
		}
		term := c.term(member, last[e.File], e.At)
		if term == undecided {
			c.breaks("the leader never goes back", e.At, "%s shows %s after term %d, of %s", e.File, member, last[e.File]+1, c.terms[last[e.File]].Member)
			continue
		}
		if !c.tookWrites(member, c.terms[term].Begun, e.At) {
			c.breaks("a leader is shown once it takes writes", e.At, "%s shows %s, which takes none", e.File, member)
		}
		last[e.File] = term
		c.shown = append(c.shown, showing{e.File, e.At, term})
	}
}

// wanted says which source of its file yields a content, from one on and by the time
// that it was found; undecided if none does.
func (c *checker) wanted(found Event, member string, from int) int {
	sources := 0
	for _, e := range c.history.Events {
		if e.Kind != Source || e.File != found.File {
			continue
		}
		sources++
		if sources > from && e.Begun <= found.At && strings.ReplaceAll(e.Wants, "PORT", c.history.Ports[member]) == found.Content {
			return sources - 1
		}
	}
	return undecided
}

// templated says whether it is known what a file's template yields.
func (c *checker) templated(file string) bool {
	return slices.ContainsFunc(c.history.Events, func(e Event) bool { return e.Kind == Source && e.File == file })
}

// tookWrites says whether member did at some moment between two times.
func (c *checker) tookWrites(member string, from, to time.Duration) bool {
	does := false
	for _, e := range c.history.Events {
		if e.Member != member || e.Kind != Promoted && e.Kind != Stopped {
			continue
		}
		if e.Kind == Promoted && e.Begun <= to {
			does = true
		}
		if e.Kind == Stopped && e.At < from {
			does = false
		}
	}
	return does
}

// rows: once a client's row has gone to the leader of a term, or pgbaton has said
// that its daemon follows the file that shows it, no row that is begun later goes
// to one of a term before.
func (c *checker) rows() {
	type moment struct {
		at   time.Duration
		what int // 0: a claim, 1: the end of a row, 2: the beginning of one; in this order
		row  int
		term int
	}
	var moments []moment
	for i, e := range c.history.Events {
		switch e.Kind {
		case Row:
			moments = append(moments, moment{e.At, 1, i, 0}, moment{e.Begun, 2, i, 0})
		case Claimed:
			if term := c.shows(e.Target, e.At); term != undecided {
				moments = append(moments, moment{e.At + belated, 0, 0, term})
			}
		}
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return cmp.Or(cmp.Compare(a.at, b.at), a.what-b.what) })
	known, from := 0, map[int]int{} // from: by row, what was known when it was begun
	for _, m := range moments {
		switch m.what {
		case 0:
			known = max(known, m.term)
		case 2:
			from[m.row] = known
		default:
			e := c.history.Events[m.row]
			term := c.term(e.Member, from[m.row], e.At)
			if term == undecided {
				c.breaks("no row goes to a leader of before", e.At, "one that began at %v went to %s, though term %d, of %s, was followed",
					e.Begun.Round(time.Millisecond), e.Member, from[m.row]+1, c.terms[from[m.row]].Member)
				continue
			}
			known = max(known, term)
		}
	}
}

// shows is the term that a target's pooler file showed at a time; undecided if it
// has none, or none was seen.
func (c *checker) shows(target string, at time.Duration) int {
	term := undecided
	for _, s := range c.shown {
		if s.at <= at && c.history.Files[s.file].Target == target && target == pooler {
			term = s.term
		}
	}
	return term
}

// pooler is the target that the clients go through.
const pooler = "pgbouncer.edge"

// loads: a daemon loads what its check said yes to, as it is, or what somebody else
// wrote; and what lies at a destination was checked.
func (c *checker) loads() {
	checked, hands := map[string]bool{}, []string{}
	for _, e := range c.history.Events {
		if e.Kind == Checked {
			checked[e.Target+"\x00"+e.Content] = true
		}
		if e.Kind == Found && e.By != "" {
			hands = append(hands, e.Content)
		}
	}
	for _, e := range c.history.Events {
		if e.Kind != Loaded || checked[e.Target+"\x00"+e.Content] {
			continue
		}
		if slices.ContainsFunc(hands, func(content string) bool { return strings.Contains(e.Content, content) }) {
			continue
		}
		c.breaks("what is loaded was checked", e.At, "%s loaded %q", e.Target, e.Content)
	}
}

// holds: whatever is paused, and not by the operator, goes on in time. The time
// counts in which two looks in a row found it paused: a pooler that is gone or
// frozen holds nobody that could be let go.
func (c *checker) holds() {
	held, last := map[string]time.Duration{}, map[string]Event{}
	own := map[string]bool{}
	for _, e := range c.history.Events {
		switch e.Kind {
		case Operator:
			own[e.Name] = own[e.Name] || e.Is
		case Paused:
			before, seen := last[e.Name]
			last[e.Name] = e
			if !e.Is || own[e.Name] {
				held[e.Name] = 0
				continue
			}
			if seen && before.Is && e.At-before.At <= look {
				held[e.Name] += e.At - before.At
			}
			if limit := c.history.Hold + late; held[e.Name] > limit {
				c.breaks("a hold ends by its deadline", e.At, "%s has been paused for %v", e.Name, held[e.Name].Round(time.Millisecond))
				held[e.Name] = 0
			}
		}
	}
}

// meets is how soon after an operator's pause another database is held if both are part
// of one hold: between a look at what flows and its pause.
const meets = 100 * time.Millisecond

// operator: what an operator paused stays so until he resumes it; unless it was held
// already, or in the same moment, when nobody can tell his pause from pgbaton's.
func (c *checker) operator() {
	paused := map[string]time.Duration{} // since when, by database
	last := map[string]bool{}            // what the last look at each found
	for _, e := range c.history.Events {
		if e.Kind == Paused {
			last[e.Name] = e.Is
		}
		for name, since := range paused {
			if e.Kind == Paused && e.Is && e.Name != name && e.At-since < meets {
				delete(paused, name)
			}
		}
		switch {
		case e.Kind == Operator && e.Is && !last[e.Name]:
			paused[e.Name] = e.At
		case e.Kind == Operator:
			delete(paused, e.Name)
		case e.Kind == Paused && !e.Is:
			if since, is := paused[e.Name]; is && e.Begun > since {
				c.breaks("what an operator paused stays paused", e.At, "%s goes on", e.Name)
				delete(paused, e.Name)
			}
		}
	}
}

// freezes: nothing of a frozen target changes.
func (c *checker) freezes() {
	since := map[string]time.Duration{}
	for _, e := range c.history.Events {
		switch {
		case e.Kind == Frozen && e.Is:
			since[e.Target] = e.At
		case e.Kind == Frozen:
			delete(since, e.Target)
		case e.Kind == Found && e.By == "", e.Kind == Loaded:
			target := cmp.Or(e.Target, c.history.Files[e.File].Target)
			if at, frozen := since[target]; frozen && e.Begun > at+underWay {
				c.breaks("a frozen target does not change", e.At, "%s %s, frozen since %v", e.Kind, cmp.Or(e.File, target), at.Round(time.Millisecond))
			}
		}
	}
}

// ends: once all is mended everything is as it should be, and pgbaton never ends by
// itself.
func (c *checker) ends() {
	for _, e := range c.history.Events {
		switch {
		case e.Kind == Settled && !e.Is:
			c.breaks("everything settles in the end", e.At, "%s", e.Note)
		case e.Kind == Died:
			c.breaks("it never ends by itself", e.At, "%s", e.Note)
		}
	}
}
