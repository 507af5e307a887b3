package config

import (
	"net"
	"strconv"

	"github.com/hashicorp/hcl/v2"
)

// Status is who may see what pgbaton does, and who may tell it what to do. Without a
// status block it is the zero Status.
type Status struct {
	Listen string // HOST:PORT of the status listener; "" is none
	Diffs  bool   // whoever connects sees what changed in files that not everybody may read
	Group  string // name or number of the group that may use the control socket; "" is none
}

type statusBlock struct {
	Listen *string   `hcl:"listen,optional" default:"\"127.0.0.1:9479\""` // nil is the default
	Diffs  *bool     `hcl:"diffs,optional" default:"false"`               // nil is the default
	Group  string    `hcl:"group,optional" default:"none"`
	Body   hcl.Body  `hcl:",body"`
	Range  hcl.Range `hcl:",def_range"`
}

// defaultListen is where the status listener is if there is a block that says nothing
// of it.
const defaultListen = "127.0.0.1:9479"

func (l *loader) status(blocks []statusBlock) Status {
	b := fold(blocks)
	if b == nil {
		return Status{}
	}
	s := Status{Listen: defaultListen, Diffs: b.Diffs != nil && *b.Diffs, Group: b.Group}
	if b.Listen != nil {
		s.Listen = *b.Listen
	}
	if s.Listen == "" {
		return s
	}
	at := where(b.Body, "listen", b.Range)
	host, port, err := net.SplitHostPort(s.Listen)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 {
		l.errorf(at, `as in "127.0.0.1:9479"; "" is no listener`, "listen %q is no HOST:PORT", s.Listen)
		return s
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		seen := "the names and addresses of all servers"
		if s.Diffs {
			seen += ", and what changes in the files"
		}
		l.add(warning(at, "the status listener can be reached from other machines: whoever connects sees "+seen,
			"listen on 127.0.0.1, or let a firewall say who may connect"))
	}
	return s
}
