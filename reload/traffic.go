package reload

import (
	"context"
	"errors"
	"net"
	"strconv"
)

// Address is where a server listens: a host as a config names it, and its port.
type Address struct {
	Host string // a name, an IP address without brackets, or a socket's folder
	Port int
}

func (a Address) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// Traffic is what of a daemon's clients leads to one server.
type Traffic struct {
	// Flowing names what leads there, is held by nobody, and may be held by this
	// process. The names are the daemon's own; Hold and Release of the same kind
	// understand them, in this process and in the next.
	Flowing []string
	Clients int // connected now, whatever they lead to
	Limit   int // how many the daemon takes; 0 is unknown
}

// A Claimer is a Holder that tells other pgbatons who holds its traffic. What
// goes by the same name is one and the same: a daemon, and an operator's hold
// beside it.
type Claimer interface{ Claim(name string) }

// ErrTaken is in the chain of Traffic's error if another pgbaton holds traffic
// of the same daemon, which is none of this one's then: one that resumes would
// undo what the other holds.
var ErrTaken = errors.New("another pgbaton holds its traffic")

// ErrUnasked is in the chain of an error if a daemon could not be asked at all, so that
// nothing is known of it.
var ErrUnasked = errors.New("it could not be asked")

// A Holder is a Daemon that can keep clients waiting instead of failing. What an
// operator holds is never among Flowing, and so never released.
type Holder interface {
	// Traffic looks at what leads to the server at any of the addresses. It is
	// asked all the time while traffic is held: a daemon that was restarted
	// forgets, and what it lets through is Flowing again.
	Traffic(ctx context.Context, leader []Address) (Traffic, error)

	// Hold makes the clients of names wait, and returns as soon as no new
	// transaction is let through. Those under way may go on; a Hold does not
	// wait for them. Names that could be held are held even if others could not.
	Hold(ctx context.Context, names []string) error

	// Release lets the clients of names, in the order in which they were held, go on.
	// A name that is not held, or not there any more, is no error.
	Release(ctx context.Context, names []string) error
}

// A Readier is a Holder that can tell without a trace whether it could hold: Traffic may
// leave one in the daemon's log each time.
type Readier interface {
	Ready(ctx context.Context, leader []Address) error
}

// An Evictor is a Holder that cannot hold sessions which are open already: they
// write on wherever they are. It is called while traffic is held, once the leader
// key names another server: what the one before still takes from then on is lost.
type Evictor interface {
	// Evict ends the sessions that are open to the server at any of the addresses,
	// and says for a person how: "" if there were none.
	Evict(ctx context.Context, leader []Address) (how string, err error)
}

// A Cutter is a Daemon that can end what still hangs on a server that leads no
// more. It is called after a Follow that moved the traffic away from there.
type Cutter interface {
	// Cut ends connections to the servers at the addresses left, and no others.
	// It says for a person how: "" if there was nothing to cut.
	Cut(ctx context.Context, left []Address) (how string, err error)
}

// A Verifier is a Daemon that can be asked what it serves, without being told anything.
type Verifier interface {
	// Verify looks whether the daemon serves what the committed files say, and changes
	// nothing. last is the mark of the Follow that made it; the zero Mark is unknown. Its
	// mark says how far the daemon could be asked. An error says what differs, or why nothing
	// could be learned.
	Verify(ctx context.Context, committed []File, last Mark) (Mark, error)
}

// As finds what a daemon can do beside, through the checks that were added to
// it.
func As[T any](d Daemon) (T, bool) {
	for {
		if t, ok := d.(T); ok {
			return t, true
		}
		u, ok := d.(interface{ Unwrap() Daemon })
		if !ok {
			var none T
			return none, false
		}
		d = u.Unwrap()
	}
}
