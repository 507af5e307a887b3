package target

import (
	"encoding/json"
	"time"

	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/render"
)

// Spec is a target as the config describes it.
type Spec struct {
	Kind       string
	Name       string
	Templates  []Template
	Vars       map[string]any
	Minimum    func(service string) int // nil is none
	Settle     Settle
	MaxRemoval float64 // share of a file's lines that one change may remove; 0 is no limit
	LeaveDrift bool    // files that somebody else changed stay until the next change; else they are put right
	Daemon     reload.Daemon

	// Hold keeps clients waiting while a leader changes. Its daemon is a
	// reload.Holder then, and Recipe is how a process without the config makes
	// the same daemon.
	Hold        bool
	HoldTimeout func(cluster string) time.Duration // nil, or 0: as Patroni's settings suggest
	Recipe      Recipe
	Guard       func() Guard              // watches over holds from outside; nil is nobody, and so is what it returns if it can't
	Knows       func(cluster string) bool // whether there is such a cluster; nil is always

	Note func(history.Event) // is told what was done; nil is nobody. It waits for nothing

	Env      []string // NAME=VALUE, for templates: over pgbaton's own environment
	OnChange []string // a command to run after a leader changed; nil is none
}

// Recipe is a kind with its settings.
type Recipe struct {
	Kind     string          `json:"kind"`
	Settings json.RawMessage `json:"settings"`
}

// ID names the target in logs and records.
func (s Spec) ID() string { return s.Kind + "." + s.Name }

// Template is one file of a target.
type Template struct {
	Source      string // the file to follow; "" if Text is the template
	Name        string // what errors call it
	Text        string
	Rules       render.Rules
	Destination render.Destination
}

// Settle holds a change back until things are quiet: for Min since the last
// change, for Max since the first. A change of leader does not wait.
type Settle struct{ Min, Max time.Duration }
