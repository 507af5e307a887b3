package reload

import (
	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/proc"
)

// Keeps is what a target's settings leave to the programs that check its files.
// The zero value is what suits the kind.
type Keeps struct {
	Network *bool        // whether they have pgbaton's network; nil: if the kind needs it
	Env     []string     // names, with * for anything, that they get of pgbaton's environment
	Log     hclog.Logger // nil is none
}

// Confinement is what a check keeps whose kind needs the network, or does not.
func (k Keeps) Confinement(network bool) proc.Confinement {
	c := proc.Confinement{Network: network, Env: k.Env}
	if k.Network != nil {
		c.Network = *k.Network
	}
	if k.Log != nil {
		c.Debug = k.Log.Debug
	}
	return c
}

// A Confiner is a Daemon whose own check runs a program. It is told what that
// program keeps before its first check, and an error says that it can't do
// with that.
type Confiner interface{ Confine(k Keeps) error }
