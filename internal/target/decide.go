package target

import "time"

// Action is what a target's loop does next.
type Action uint8

// The actions.
const (
	Rest     Action = iota // nothing, until something changes
	Apply                  // stage, check, commit and follow
	Follow                 // the files are committed; make the daemon follow
	Rehearse               // check files that may soon be wanted, and do no more
)

func (a Action) String() string { return [...]string{"rest", "apply", "follow", "rehearse"}[a] }

// Done is what was done so far, as far as it is known.
type Done struct {
	Committed string // hash of what this process saw on disk; "" is unknown
	Followed  string // hash of what the daemon was seen to follow; "" is none
}

// Tries tells of failures with one wanted hash.
type Tries struct {
	Hash     string
	Failures int
	Last     time.Time
	Refused  bool // a check said no: the same content will hardly pass soon
}

// Backoff between two tries of the same content.
const (
	firstTry   = 250 * time.Millisecond
	lastTry    = 15 * time.Second
	afterCheck = time.Minute // cap, if a check refused it
)

// next is when the content may be tried again.
func (t Tries) next() time.Time {
	limit := lastTry
	if t.Refused {
		limit = afterCheck
	}
	d := limit
	if t.Failures < 10 {
		d = min(limit, firstTry<<t.Failures)
	}
	return t.Last.Add(d)
}

// Decide says what to do now and, if that is to rest, when to look again; a
// zero time means at the next change.
func Decide(w Wanted, s Settle, d Done, t Tries, now time.Time) (Action, time.Time) {
	if w.Hash == "" || (d.Committed == w.Hash && d.Followed == w.Hash) {
		return Rest, time.Time{}
	}
	if w.Unsure || w.Frozen {
		return Rest, time.Time{}
	}
	if t.Hash == w.Hash && t.Failures > 0 {
		if at := t.next(); now.Before(at) {
			return Rest, at
		}
	}
	if at := s.until(w); now.Before(at) {
		return Rest, at
	}
	if d.Committed == w.Hash {
		return Follow, time.Time{}
	}
	return Apply, time.Time{}
}

// until is when a change has settled.
func (s Settle) until(w Wanted) time.Time {
	if w.Urgent || s.Min <= 0 {
		return time.Time{}
	}
	at := w.Changed.Add(s.Min)
	if last := w.First.Add(s.Max); s.Max > 0 && last.Before(at) {
		at = last
	}
	return at
}
