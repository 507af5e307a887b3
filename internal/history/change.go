package history

import "time"

// Why a target was changed.
const (
	Leader  = "leader"  // a cluster has another leader
	Content = "content" // what its templates look at, or they themselves, changed
	Start   = "start"   // pgbaton started, and did not know that the daemon follows
	Repair  = "repair"  // somebody else changed its files
	Forced  = "forced"  // an operator asked for it
	Hold    = "hold"    // leadership was in doubt, and nothing came of it
)

// What came of a change.
const (
	Open     = "open"     // it is under way
	Done     = "applied"  // the daemon follows, as far as that can be seen
	Failing  = "failed"   // it did not work; it is tried again
	Canceled = "released" // clients were held, and released without a change
)

// Version is raised when a reader of the one before would be misled.
const Version = 1

// List is a history as others get it.
type List struct {
	Version int      `json:"version"`
	Changes []Change `json:"changes"` // the newest first
}

// Change is one change of a target, from the first sign of it to the last thing that was
// done about it.
type Change struct {
	ID      uint64    `json:"id"` // rises by one with each change, across restarts
	Target  string    `json:"target"`
	Why     string    `json:"why"`
	Outcome string    `json:"outcome"`
	Moves   []Move    `json:"moves"`          // leaders that are others than before, by cluster
	Began   time.Time `json:"began"`          // the first sign of it
	Ended   time.Time `json:"ended,omitzero"` // when clients went on, or the daemon was seen to follow
	Steps   Steps     `json:"steps"`
	Tries   int       `json:"tries,omitempty"` // that failed
	Hash    string    `json:"hash,omitempty"`  // of all files
	Proof   string    `json:"proof,omitempty"` // "sent" or "followed"
	How     string    `json:"how,omitempty"`   // the daemon was made to follow
	Cut     string    `json:"cut,omitempty"`   // how what hung on the leader of before was ended
	Reason  string    `json:"reason,omitempty"`
	Error   *Error    `json:"error,omitempty"` // of the last try that failed
	Files   []Diff    `json:"files"`           // what differs from before
}

// Move is a leader that is another than before.
type Move struct {
	Cluster  string `json:"cluster"`
	From     string `json:"from,omitempty"` // its name; none is the first that is known
	To       string `json:"to"`
	Address  string `json:"address"` // of To
	Timeline uint64 `json:"timeline,omitempty"`
}

// Steps are how long each step took.
type Steps struct {
	Detect  Millis `json:"detect_ms,omitempty"`  // from the first sign until the leader key named another: the cluster's own time
	Confirm Millis `json:"confirm_ms,omitempty"` // from then until that one was seen to take writes
	Hold    Millis `json:"hold_ms,omitempty"`    // until the daemon let no new transaction through
	Render  Millis `json:"render_ms,omitempty"`  // to execute the templates
	Check   Millis `json:"check_ms,omitempty"`   // until the check said yes; left out if a rehearsal had proved the files
	Reload  Millis `json:"reload_ms,omitempty"`  // to swap the files in and tell the daemon
	Verify  Millis `json:"verify_ms,omitempty"`  // until it was seen to follow
	Release Millis `json:"release_ms,omitempty"` // until those who had waited were served
	Held    Millis `json:"held_ms,omitempty"`    // how long they waited at most
	Applied Millis `json:"applied_ms,omitempty"` // from the change that pgbaton saw until the daemon followed
	Total   Millis `json:"total_ms,omitempty"`   // from Began to Ended
}

// Millis is a duration in milliseconds.
type Millis float64

// millis is d, to a microsecond; what is less is one.
func millis(d time.Duration) Millis {
	if d <= 0 {
		return 0
	}
	return Millis(float64(max(d.Round(time.Microsecond), time.Microsecond)) / float64(time.Millisecond))
}

// Duration is the same as a time.Duration.
func (m Millis) Duration() time.Duration {
	return time.Duration(float64(m) * float64(time.Millisecond))
}

// Error is why a change did not work.
type Error struct {
	Kind  string `json:"kind"`            // as a target's error in the status
	Words string `json:"words,omitempty"` // in the words of whoever said it
}

// Diff is a file that was changed.
type Diff struct {
	Path string `json:"path"`
	Open bool   `json:"open,omitempty"` // every user of this machine may read the file
	Text string `json:"diff,omitempty"` // unified, with secrets hidden; left out of a file that is too large to be compared
}

// Public is the change for whoever is no more than somebody who can connect: without the
// words of others, and of files that not everybody may read, their names alone, unless all is
// said to be for everybody.
func (c Change) Public(all bool) Change {
	c.How, c.Cut = "", ""
	if c.Error != nil {
		c.Error = &Error{Kind: c.Error.Kind}
	}
	files := make([]Diff, len(c.Files))
	for i, f := range c.Files {
		if files[i] = f; !f.Open && !all {
			files[i].Text = ""
		}
	}
	c.Files = files
	return c
}
