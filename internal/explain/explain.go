// Package explain gives each thing that can go wrong a code that never changes, as
// PGB012: for alerts, for searches, and for pgbaton explain, which says what it means.
//
// An error gets its code where it is born, with Mark; types of errors that always mean
// one thing have a method Code instead. A code that was given out is never used for
// anything else: new ones go at the end of their group.
package explain

import (
	"errors"
	"strings"
)

// Entry is what there is to know of a code.
type Entry struct {
	Code    string // PGB012
	Slug    string // the same in words, for people and links
	Title   string
	Meaning string // what has happened
	Doing   string // what pgbaton does meanwhile
	Remedy  string // what to do
}

// Find returns the entry of a code, or of a slug; false if there is none.
func Find(text string) (Entry, bool) {
	for _, e := range Entries {
		if strings.EqualFold(e.Code, text) || e.Slug == text {
			return e, true
		}
	}
	return Entry{}, false
}

type marked struct {
	error
	code string
}

func (m *marked) Unwrap() error { return m.error }
func (m *marked) Code() string  { return m.code }

// Mark returns err with a code; a nil err stays nil.
func Mark(err error, code string) error {
	if err == nil {
		return nil
	}
	return &marked{err, code}
}

// Of returns the outermost code in err's chain, or "".
func Of(err error) string {
	var c interface {
		error
		Code() string
	}
	if errors.As(err, &c) {
		return c.Code()
	}
	return ""
}
