package target

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// Hold is traffic that is held while a cluster changes its leader. It is in the
// state folder before anything is held.
type Hold struct {
	Cluster string           `json:"cluster"`
	Leader  []reload.Address `json:"leader"` // whose traffic it is
	Names   []string         `json:"names"`  // what is held, in the daemon's own words, in the order of holding
	Began   time.Time        `json:"began"`
	Until   time.Time        `json:"until"` // then it is released, whatever happened
}

// HoldsVersion is raised when older holds can't be understood any more.
const HoldsVersion = 1

// Holds are all holds of a target, as the state folder has them. They are
// enough for another process to release them.
type Holds struct {
	Version int    `json:"version"`
	Target  string `json:"target"`
	Recipe  Recipe `json:"recipe"`
	Holds   []Hold `json:"holds"`
}

// Names of the holds in the state folder: those of the daemon, and those that an
// operator asked for.
const (
	HeldPrefix      = "held."
	ByHandPrefix    = "by-hand."
	ReleasingPrefix = "releasing." // before one of the others, while somebody releases it
)

// Claim makes this target's holds known to others as its own: those of a daemon
// and of an operator beside it are one's, another state folder is another's.
func (s Spec) Claim(folder state.Folder) {
	if c, can := reload.As[reload.Claimer](s.Daemon); can {
		sum := sha256.Sum256([]byte(folder.Dir + "\x00" + s.ID()))
		c.Claim(hex.EncodeToString(sum[:4]))
	}
}

// order is a hold that is wanted.
type order struct {
	leader  []reload.Address
	timeout time.Duration
	why     cluster.Phase
}

// orders says whose traffic is to be held now. held are the holds there are, and
// spent the clusters whose hold ended before their leadership was steady again:
// they are not held twice.
//
// What is held stays so until the daemon follows files that show whoever is
// confirmed; if that is who led before, it does already.
func (s Spec) orders(w Wanted, inSync bool, held map[string]Hold, spent map[string]bool) map[string]order {
	out := map[string]order{}
	for name, h := range held {
		b, known := w.Batons[name]
		if s.Knows != nil && !s.Knows(name) {
			continue // it is in the config no more
		}
		if spent[name] || (known && !b.Hold() && inSync && w.Led[name].Leader == b.Term.Leader) {
			continue
		}
		out[name] = order{leader: h.Leader, timeout: h.Until.Sub(h.Began), why: b.Phase}
	}
	for name, b := range w.Batons {
		if !b.Hold() || spent[name] {
			continue
		}
		o := out[name]
		o.leader, o.why = addresses(o.leader, *b.Confirmed), b.Phase
		if o.timeout == 0 && s.HoldTimeout != nil {
			o.timeout = s.HoldTimeout(name)
		}
		if o.timeout == 0 {
			o.timeout = b.HoldTimeout()
		}
		out[name] = o
	}
	return out
}

// addresses adds those of a member to a list.
func addresses(list []reload.Address, m cluster.Member) []reload.Address {
	out := append([]reload.Address{}, list...)
	for _, e := range m.Endpoints {
		if a := (reload.Address{Host: e.Host, Port: e.Port}); !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}
