package target

import (
	"time"

	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/render"
)

// Spec is a target as the config describes it.
type Spec struct {
	Kind      string
	Name      string
	Templates []Template
	Vars      map[string]any
	Minimum   func(service string) int // nil is none
	Settle    Settle
	Daemon    reload.Daemon
}

// ID names the target in logs and records.
func (s Spec) ID() string { return s.Kind + "." + s.Name }

// Template is one file of a target.
type Template struct {
	Source      string // the file to follow; "" if Text is the template
	Name        string // what errors call it
	Text        string
	Delims      render.Delims
	Destination render.Destination
}

// Settle holds a change back until things are quiet: for Min since the last
// change, for Max since the first. A change of leader does not wait.
type Settle struct{ Min, Max time.Duration }
