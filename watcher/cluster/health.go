package cluster

import (
	"fmt"
	"slices"
	"time"
)

// Health is what the probes of one member come to. Templates, status and metrics see it;
// who leads never depends on it.
type Health struct {
	Checks []Check // in the order of the probes
	Behind Behind  // moves like a heartbeat
}

// Healthy says whether every check passes.
func (h Health) Healthy() bool {
	return !slices.ContainsFunc(h.Checks, func(c Check) bool { return !c.Healthy })
}

// same leaves out what moves like a heartbeat.
func (h Health) same(o Health) bool {
	return slices.EqualFunc(h.Checks, o.Checks, func(a, b Check) bool { return a.Name == b.Name && a.Healthy == b.Healthy })
}

// Check is what one probe of a member comes to, judged: flapping answers do not make it
// flap.
type Check struct {
	Name    string
	Kind    ProbeKind
	Healthy bool
	Limit   LagLimit  // of a lag probe
	Why     string    // what it fails for, or failed for last; "" if its newest answer is good
	Since   time.Time // when Healthy became what it is; zero before the first answer

	against int // answers in a row that say otherwise
}

// Limited says whether it can fail a member for its lag.
func (c Check) Limited() bool { return c.Limit != LagLimit{} }

// ProbeKind is what a probe asks.
type ProbeKind string

// The kinds.
const (
	ProbeTCP   ProbeKind = "tcp"   // does the port take a connection
	ProbeSQL   ProbeKind = "sql"   // does it run SELECT 1
	ProbeLag   ProbeKind = "lag"   // how far it is behind the leader
	ProbeQuery ProbeKind = "query" // does a query answer what it should
)

// Patience says when an answer that is another one is believed.
type Patience struct {
	Rise  int           // good answers in a row until a check passes again
	Fall  int           // bad ones in a row until it fails
	Dwell time.Duration // how long it fails at least: a member that comes and goes is out, not in and out
}

// Next is the check after an answer: why is what is wrong, "" if nothing is. The first
// answer counts at once, for nothing is known before.
func (c Check) Next(why string, p Patience, now time.Time) Check {
	good := why == ""
	if c.Why = why; c.Since.IsZero() {
		c.Healthy, c.Since, c.against = good, now, 0
		return c
	}
	if good == c.Healthy {
		c.against = 0
		return c
	}
	c.against++
	if good && (c.against < p.Rise || now.Sub(c.Since) < p.Dwell) || !good && c.against < p.Fall {
		return c
	}
	c.Healthy, c.Since, c.against = good, now, 0
	return c
}

// Behind is how far a member is behind the leader.
type Behind struct {
	Bytes uint64        // of WAL that it has not replayed
	Delay time.Duration // it shows all that was committed longer ago than this: never less than the truth
	Known bool          // Bytes is known
	Timed bool          // Delay is known
}

// Trail is what is known of a leader's way through its WAL: where it was, and when. It
// makes of a place in the WAL a time, without any server's clock. The zero value knows
// nothing.
type Trail struct {
	marks []mark // rising
}

type mark struct {
	lsn uint64
	at  time.Time
}

// marksAtMost bounds what is remembered. Older marks get sparser, so that a delay is told
// to within a part of itself.
const marksAtMost = 512

// Note notes that the leader was at lsn. Another leader may be at less than the one
// before: then what came before is forgotten.
func (w *Trail) Note(lsn uint64, at time.Time) {
	if n := len(w.marks); n > 0 {
		switch last := &w.marks[n-1]; {
		case lsn < last.lsn:
			w.marks = w.marks[:0]
		case lsn == last.lsn && n > 1 && w.marks[n-2].lsn == lsn:
			if at.After(last.at) {
				last.at = at // it rests: when it came here, and when it was here last
			}
			return
		case at.Before(last.at):
			return
		}
	}
	w.marks = append(w.marks, mark{lsn, at})
	if len(w.marks) > marksAtMost {
		sparse := w.marks[:0]
		for i, m := range w.marks {
			if i%2 == 0 || i > marksAtMost/2 {
				sparse = append(sparse, m)
			}
		}
		w.marks = sparse
	}
}

// Since notes that the one that leads now was at lsn before it did: until then nobody wrote
// more, so that the time without a leader makes nobody late.
func (w *Trail) Since(lsn uint64, at time.Time) {
	if n := len(w.marks); n > 0 && lsn >= w.marks[n-1].lsn {
		w.Note(lsn, at)
	}
}

// Last is where the leader was seen last; 0 if it was not.
func (w *Trail) Last() uint64 {
	if len(w.marks) == 0 {
		return 0
	}
	return w.marks[len(w.marks)-1].lsn
}

// Known says whether the leader was seen at all.
func (w *Trail) Known() bool { return len(w.marks) > 0 }

// Behind is how far a server is that has replayed up to lsn, at now. What is not there
// to be replayed can't be missing: while the leader rests, nobody falls behind.
func (w *Trail) Behind(lsn uint64, now time.Time) Behind {
	if !w.Known() {
		return Behind{}
	}
	b := Behind{Known: true}
	last := w.marks[len(w.marks)-1]
	if lsn >= last.lsn {
		b.Timed = true
		return b
	}
	b.Bytes = last.lsn - lsn
	for _, m := range slices.Backward(w.marks) {
		if m.lsn <= lsn {
			b.Delay, b.Timed = max(0, now.Sub(m.at)), true
			break
		}
	}
	return b
}

// Within is b, if something else tells that no more than d is missing.
func (b Behind) Within(d time.Duration) Behind {
	if b.Known && b.Bytes > 0 && (!b.Timed || d < b.Delay) {
		b.Delay, b.Timed = max(0, d), true
	}
	return b
}

// LagLimit is how far behind a member may be.
type LagLimit struct {
	Delay time.Duration // 0 is any
	Bytes uint64        // of WAL; 0 is any
}

// Why says why a member is too far behind, "" if it is not. What nobody can tell is too
// far.
func (l LagLimit) Why(b Behind) string {
	switch {
	case l == LagLimit{}:
		return "" // it measures alone
	case !b.Known:
		return "how far behind it is can't be told"
	case l.Bytes > 0 && b.Bytes > l.Bytes:
		return fmt.Sprintf("%d bytes of WAL behind, more than %d", b.Bytes, l.Bytes)
	case l.Delay > 0 && !b.Timed:
		return fmt.Sprintf("%d bytes of WAL behind, for an unknown time", b.Bytes)
	case l.Delay > 0 && b.Delay > l.Delay:
		return fmt.Sprintf("%v behind, more than %v", b.Delay.Round(10*time.Millisecond), l.Delay)
	}
	return ""
}
