package history

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits of what is remembered.
const (
	most  = 200 // changes
	diffs = 50  // of which so many with what changed in their files
	queue = 16  // changes whose files wait to be compared
)

// Journal is the history of all targets. Its methods may be called at once.
type Journal struct {
	veil func(...string) []string               // hides secrets in texts that are compared
	kind func(err error, committed bool) string // of what failed

	mu      sync.Mutex
	last    uint64   // ID
	entries []*entry // the oldest first
	turns   uint64   // rises with each change of entries
	changed chan struct{}
	told    []func(Event)

	compare chan comparison
	keeper
}

// entry is a change that may go on.
type entry struct {
	Change
	hold map[string]bool // clusters for which traffic is held
}

// New makes a journal. veil hides what is secret in texts that are compared: the same
// secret is the same word in all of them. kind says what of a target failed.
func New(veil func(...string) []string, kind func(err error, committed bool) string) *Journal {
	return &Journal{veil: veil, kind: kind, changed: make(chan struct{}), compare: make(chan comparison, queue)}
}

// Tell has f told of each event from now on, in their order. f must not wait for anything.
func (j *Journal) Tell(f func(Event)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.told = append(j.told, f)
}

// Note takes an event up.
func (j *Journal) Note(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch e := e.(type) {
	case Held:
		j.held(e)
	case Released:
		j.released(e)
	case Applied:
		j.applied(e)
	case Failed:
		j.failed(e)
	}
	for _, f := range j.told {
		f(e)
	}
	j.turn()
}

// turn wakes those who look. It is called with mu.
func (j *Journal) turn() {
	close(j.changed)
	j.changed = make(chan struct{})
	j.turns++
}

// Changes are the last changes, the newest first, and a channel that is closed when they
// are others.
func (j *Journal) Changes() ([]Change, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := make([]Change, len(j.entries))
	for i, e := range j.entries {
		list[len(list)-1-i] = e.copy()
	}
	return list, j.changed
}

// copy is the change without what may still be written. Its lists are never null.
func (e *entry) copy() Change {
	c := e.Change
	c.Moves, c.Files = append([]Move{}, c.Moves...), append([]Diff{}, c.Files...)
	return c
}

func (j *Journal) held(e Held) {
	c := j.find(e.Target, func(c *entry) bool { return c.hold != nil && c.Ended.IsZero() })
	if c == nil {
		c = j.add(Change{Target: e.Target, Why: Hold, Outcome: Open, Began: e.Began})
		c.hold = map[string]bool{}
	}
	if !c.hold[e.Cluster] {
		c.hold[e.Cluster] = true
		c.Steps.Hold = max(c.Steps.Hold, millis(e.Took))
	}
}

func (j *Journal) released(e Released) {
	c := j.find(e.Target, func(c *entry) bool { return c.hold[e.Cluster] })
	if c == nil {
		return
	}
	delete(c.hold, e.Cluster)
	c.Steps.Release = max(c.Steps.Release, millis(e.Took))
	c.Steps.Held = max(c.Steps.Held, millis(e.Held))
	c.Reason = e.Reason
	if len(c.hold) == 0 {
		if c.Outcome == Open {
			c.Outcome = Canceled
		}
		c.end(e.At)
	}
}

func (j *Journal) applied(e Applied) {
	c := j.attempt(e.Attempt)
	c.Outcome, c.Error, c.Proof, c.How, c.Cut = Done, nil, e.Proof, e.How, e.Cut
	for _, f := range e.Files {
		c.Files = append(c.Files, Diff{Path: f.Path, Open: f.Mode&0o004 != 0})
	}
	if len(c.hold) == 0 {
		c.end(e.At)
	}
	select {
	case j.compare <- comparison{c.ID, e.Files}:
	default: // changes come faster than they can be compared
	}
}

func (j *Journal) failed(e Failed) {
	c := j.attempt(e.Attempt)
	c.Outcome, c.Error = Failing, &Error{Kind: j.kind(e.Error, e.Committed), Words: j.veil(e.Error.Error())[0]}
	c.Tries++
	if len(c.hold) == 0 {
		c.end(e.At)
	}
}

// attempt finds the change that was tried: clients are held for it, or it was tried
// before. It may be new.
func (j *Journal) attempt(a Attempt) *entry {
	c := j.find(a.Target, func(c *entry) bool {
		return c.hold != nil && c.Outcome == Open || c.Outcome == Failing && c.Hash == a.Hash
	})
	if c == nil {
		c = j.add(Change{Target: a.Target, Began: a.Seen})
	}
	c.Why, c.Hash, c.Moves = a.Why, a.Hash, nil
	for _, s := range a.Signs {
		c.Moves = append(c.Moves, s.Move)
		c.Steps.Detect = max(c.Steps.Detect, millis(s.Detect()))
		c.Steps.Confirm = max(c.Steps.Confirm, millis(s.Confirm()))
		for _, t := range []time.Time{s.Stirred, s.Named} {
			if !t.IsZero() && t.Before(c.Began) {
				c.Began = t.UTC()
			}
		}
	}
	c.Steps.Render, c.Steps.Check, c.Steps.Reload, c.Steps.Verify = millis(a.Render), millis(a.Check), millis(a.Reload), millis(a.Verify)
	c.Steps.Applied = millis(a.Late())
	return c
}

// end ends a change, for now: what failed is tried again.
func (e *entry) end(at time.Time) {
	e.hold = nil
	e.Ended = at.UTC()
	e.Steps.Total = millis(between(e.Began, at))
}

// find looks for the newest change of a target that is as asked.
func (j *Journal) find(target string, is func(*entry) bool) *entry {
	for _, e := range slices.Backward(j.entries) {
		if e.Target == target && is(e) {
			return e
		}
	}
	return nil
}

func (j *Journal) add(c Change) *entry {
	j.last++
	c.ID, c.Began = j.last, c.Began.UTC()
	e := &entry{Change: c}
	j.entries = append(j.entries, e)
	if n := len(j.entries); n > most {
		j.entries = slices.Delete(j.entries, 0, n-most)
	}
	if n := len(j.entries); n > diffs {
		old := j.entries[n-diffs-1].Files
		for i := range old {
			old[i].Text = ""
		}
	}
	return e
}

// Led says for a person whom it led from and to: "" if it moved no leader.
func (c Change) Led() string {
	texts := make([]string, len(c.Moves))
	for i, m := range c.Moves {
		from := m.From
		if from == "" {
			from = "nobody"
		}
		texts[i] = m.Cluster + ": " + from + " to " + m.To
	}
	return strings.Join(texts, ", ")
}
