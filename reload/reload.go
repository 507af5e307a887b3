// Package reload holds the vocabulary of the daemons that pgbaton serves. Each
// folder below it knows one daemon, or one way to tell any daemon: how its
// files are proved valid, how it is made to follow them, and how one sees that
// it did.
//
// A daemon's package promises: Check changes nothing that the daemon reads, and
// runs nothing with more rights than the daemon has; Follow is safe to repeat;
// both return soon after ctx ends and leave no process behind.
//
// Its caller owes: files are checked before they are committed, Follow is
// called only with committed files, and the two never run at once for the same
// daemon.
package reload

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// File is one file of a target as its daemon will read it.
type File struct {
	Path    string      // where the daemon reads it: the destination
	Staged  string      // where its content lies now: beside Path before the commit, Path after it
	Content []byte      // the same bytes as in Staged
	Mode    fs.FileMode // the permission bits that Path will have
	UID     int         // the owner that Path will have
	GID     int
}

// Proof says how far a daemon was seen to follow.
type Proof uint8

// The proofs, from weakest to strongest.
const (
	Unproved Proof = iota
	Sent           // it was told, and there is nobody to ask
	Followed       // it was asked, and answered that it follows
)

func (p Proof) String() string {
	return [...]string{"unproved", "sent", "followed"}[p]
}

// Mark is what is remembered of a daemon that followed: kept in the target's
// record, and handed to the next Follow. The zero Mark means that nothing is
// known, as at the first start or after the record was lost.
type Mark struct {
	Proof Proof  `json:"proof"`
	How   string `json:"how"`             // for a person: "RELOAD over /run/postgresql:6432"
	State string `json:"state,omitempty"` // the daemon's own note to its next Follow; opaque to everyone else

	Told time.Time `json:"-"` // when it had been told what to do, and one began to look whether it did; zero if that can't be told apart
}

// ErrRefused is in the chain of a Check's error if the check ran and said that
// the files are bad. Any other error means that nothing was learned.
var ErrRefused = errors.New("check refused the files")

// A Daemon is a program that reads a target's files.
type Daemon interface {
	// Check proves the staged files valid, all of them as one set. The first
	// file is the daemon's main one.
	Check(ctx context.Context, staged []File) error

	// Follow makes the daemon follow the committed files and looks whether it
	// did. A nil error means: as seen as this daemon allows.
	Follow(ctx context.Context, want []File, last Mark) (Mark, error)
}
