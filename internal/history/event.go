package history

import (
	"io/fs"
	"time"
)

// Event is something that was done about a target: Held, Applied, Failed or Released.
type Event interface{ of() string }

// Held says that traffic of a target was held.
type Held struct {
	Target  string
	Cluster string
	At      time.Time
	Began   time.Time // when it was known that it had to be
	Took    time.Duration
}

// Released says that it goes on.
type Released struct {
	Target  string
	Cluster string
	At      time.Time
	Held    time.Duration // from Began to the order to release
	Took    time.Duration // from then until those who waited were served
	Reason  string
}

// Applied says that a target's daemon was made to follow its files.
type Applied struct {
	Attempt
	Proof string
	How   string
	Cut   string // "" if nothing was
	Files []File // that changed
}

// Failed says that it was not.
type Failed struct {
	Attempt
	Error     error
	Committed bool // its files are on disk
}

// Attempt is what Applied and Failed have in common.
type Attempt struct {
	Target string
	At     time.Time // when it was over
	Why    string
	Hash   string
	Signs  []Sign    // of leaders that are others than before
	Seen   time.Time // when pgbaton saw the first change that led to it

	Render, Check, Reload, Verify time.Duration
}

// Sign is a Move, and when it was seen to come.
type Sign struct {
	Move
	Stirred   time.Time // when leadership was in doubt first; zero is unknown
	Named     time.Time // when the leader key named it
	Confirmed time.Time // when it was seen to take writes
}

// Detect is how long the cluster took until the leader key named it; 0 is unknown.
func (s Sign) Detect() time.Duration { return between(s.Stirred, s.Named) }

// Confirm is how long it took from then until it was seen to take writes; 0 is unknown.
func (s Sign) Confirm() time.Duration { return between(s.Named, s.Confirmed) }

// Late is how long it took from what pgbaton saw until it was over; 0 is unknown.
func (a Attempt) Late() time.Duration { return between(a.Seen, a.At) }

// between is from one time to another; 0 if one of them is unknown, or if they are the
// other way round.
func between(from, to time.Time) time.Duration {
	if from.IsZero() || to.IsZero() {
		return 0
	}
	return max(0, to.Sub(from))
}

// File is one that was swapped in.
type File struct {
	Path          string
	Mode          fs.FileMode
	Before, After []byte
	Large         bool // too large to be compared: Before and After are left out
}

func (e Held) of() string     { return e.Target }
func (e Released) of() string { return e.Target }
func (a Attempt) of() string  { return a.Target }
