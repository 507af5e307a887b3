package haproxy

import (
	"encoding/json"
	"time"

	"github.com/pgbaton/pgbaton/reload"
)

// note is the State of a mark: which worker was seen to run which structure.
// Without one that fits, nothing is known of a worker but its servers.
type note struct {
	Rest     string   `json:"structure"`
	Master   int      `json:"master"`
	Worker   int      `json:"worker"`
	Started  int64    `json:"started"`            // the worker, in seconds since 1970
	Disabled []string `json:"disabled,omitempty"` // servers that the config disables

	Servers map[string]string `json:"servers,omitempty"` // BACKEND/SERVER → HOST:PORT, as the config has it
}

// clockBlur is how much the start of a worker may seem to change: it is told in
// whole seconds of age. In a container each start has the same process IDs.
const clockBlur = 2

// noteOf is the note for a structure that a worker runs.
func noteOf(p processes, s structure) note {
	n := note{Rest: s.rest, Master: p.master, Servers: map[string]string{}}
	n.Worker, n.Started, _ = p.current()
	for _, srv := range s.servers {
		n.Servers[srv.name] = srv.at()
		if srv.disabled {
			n.Disabled = append(n.Disabled, srv.name)
		}
	}
	return n
}

// String is what a mark keeps of it.
func (n note) String() string {
	text, err := json.Marshal(n)
	if err != nil {
		return ""
	}
	return string(text)
}

// recall reads the note of a mark; it runs if it is of the worker that runs now.
// Of another one, no more than the servers is worth to know.
func recall(m reload.Mark, p processes) (n note, runs bool) {
	if json.Unmarshal([]byte(m.State), &n) != nil {
		return note{}, false
	}
	worker, started, ok := p.current()
	if !ok || n.Master != p.master || n.Worker != worker || max(n.Started-started, started-n.Started) > clockBlur {
		return note{Servers: n.Servers}, false
	}
	return n, true
}

// keeps says whether a server is held, and its config leads where it led when it
// was: then whoever holds it is about to move it back.
func (n note) keeps(s server, l liveServer) bool {
	return l.held() && n.Servers[s.name] == s.at()
}

// current is the one worker that takes new sessions, and when it began.
func (p processes) current() (pid int, started int64, ok bool) {
	for pid := range p.workers {
		if at, told := p.started[pid]; told && len(p.workers) == 1 {
			return pid, at.Round(time.Second).Unix(), true
		}
	}
	return 0, 0, false
}
