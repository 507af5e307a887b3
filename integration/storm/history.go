package storm

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Kind says what an Event tells.
type Kind string

// The kinds, and which fields of an Event they set beside Begun and At.
const (
	Led      Kind = "led"      // Member got the leader key, as the next term
	Promoted Kind = "promoted" // Member takes writes from now on
	Stopped  Kind = "stopped"  // Member takes none from now on
	Row      Kind = "row"      // a client's row was acknowledged by Member
	Found    Kind = "found"    // File had Content and Mode; By says that the test wrote it
	Checked  Kind = "checked"  // the check of Target said yes to Content
	Loaded   Kind = "loaded"   // the daemon of Target loaded Content
	Claimed  Kind = "claimed"  // pgbaton said that Target follows
	Paused   Kind = "paused"   // one look at the pooler: whether database Name is paused is in Is
	Operator Kind = "operator" // the operator paused (Is), or resumed, database Name
	Frozen   Kind = "frozen"   // the operator froze (Is), or thawed, Target
	Source   Kind = "source"   // the template of File has been one that yields Wants since
	Settled  Kind = "settled"  // after all was mended: whether everything was as it should be is in Is; else Note
	Died     Kind = "died"     // pgbaton ended, and nobody had ended it
	Did      Kind = "did"      // what the schedule did, for whoever reads it: Note
)

// Event is one thing that was seen. Times are since the start of the run.
type Event struct {
	Kind    Kind          `json:"kind"`
	Begun   time.Duration `json:"begun"` // not before this
	At      time.Duration `json:"at"`    // not after this
	Member  string        `json:"member,omitempty"`
	Target  string        `json:"target,omitempty"`
	Name    string        `json:"name,omitempty"`
	File    string        `json:"file,omitempty"`
	Content string        `json:"content,omitempty"`
	Mode    string        `json:"mode,omitempty"`
	By      string        `json:"by,omitempty"`
	Is      bool          `json:"is,omitempty"`
	Wants   string        `json:"wants,omitempty"` // with PORT in the place of that of whoever leads; "" if it yields nothing
	Note    string        `json:"note,omitempty"`
}

// History is everything that was seen in a run, by At.
type History struct {
	Seed   uint64
	Hold   time.Duration     // hold_timeout
	Ports  map[string]string // by member: what files call it
	Files  map[string]File
	Events []Event
}

// File is one destination.
type File struct {
	Target string
	Mode   string // asked for
	// Leader reads from a content which member it leads to; "" if none.
	Leader func(content string) string
}

// Write writes the events as lines of JSON.
func (h *History) Write(w io.Writer) error {
	enc := json.NewEncoder(w)
	for _, e := range h.Events {
		if err := enc.Encode(e); err != nil {
			return fmt.Errorf("write the history of seed %d: %w", h.Seed, err)
		}
	}
	return nil
}

// Violation is a promise that a history breaks.
type Violation struct {
	Rule string
	At   time.Duration
	What string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: at %v: %s", v.Rule, v.At.Round(time.Millisecond), v.What)
}
