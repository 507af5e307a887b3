package pgpool

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// step is one thing that a pgpool is told to do with a backend.
type step struct {
	verb string // of pcp: promote, attach or detach
	id   int    // pgpool's number
}

// done says whether a pgpool shows that it did a step.
func (s step) done(nodes []node) bool {
	if s.id >= len(nodes) {
		return false
	}
	n := nodes[s.id]
	switch s.verb {
	case "promote":
		return n.attached() && n.primary
	case "attach":
		return n.attached()
	}
	return !n.attached()
}

// plan is what is to be told to a pgpool next, and what can't be put right.
type plan struct {
	steps  []step
	left   []string
	stands bool // the primary is the one that the file wants, or it wants none
}

// misplaced says which backends pgpool knows by another number than the file, or not at
// all where a reload can't add them; "" if there are none.
func (s *settings) misplaced(nodes []node) string {
	var differ []string
	for _, id := range slices.Sorted(maps.Keys(s.backends)) {
		b := s.backends[id]
		if id < len(nodes) && !nodes[id].unused() && !nodes[id].is(b) {
			differ = append(differ, fmt.Sprintf("backend %d is %s, and pgpool has %s:%d there", id, b, nodes[id].host, nodes[id].port))
		}
	}
	return strings.Join(differ, "; ")
}

func (n node) is(b *backend) bool { return n.host == b.host && n.port == b.port }

// missing are the backends that a reload is yet to add.
func (s *settings) missing(nodes []node) bool {
	for id := range s.backends {
		if id >= len(nodes) || nodes[id].unused() {
			return true
		}
	}
	return false
}

// wants are the places of pgpool's backends, by its own numbers: those that the file does
// not name are to be detached.
func (s *settings) wants(nodes []node) (places map[int]place, leader int, absent []string) {
	places, leader = map[int]place{}, -1
	for id, n := range nodes {
		if !n.unused() {
			places[id] = detached
		}
	}
	for _, number := range slices.Sorted(maps.Keys(s.backends)) {
		b := s.backends[number]
		id := slices.IndexFunc(nodes, func(n node) bool { return n.is(b) })
		switch {
		case id >= 0:
			places[id] = b.place
			if b.place == primary {
				leader = id
			}
		case b.place == primary || b.place == standby:
			absent = append(absent, fmt.Sprintf("pgpool has no backend %s, which is to be %s", b, b.place))
		}
	}
	return places, leader, absent
}

// plan compares what pgpool has with what the file wants. silent are those of pgpool's
// backends that do not answer; nil if that is not known yet: then what takes it is in the
// steps, and is not to be taken.
//
// Nothing is attached while a backend that does not answer is: pgpool would ask it who is
// primary, and wait.
func (s *settings) plan(nodes []node, silent map[int]bool) plan {
	if !s.moves {
		return plan{}
	}
	places, leader, absent := s.wants(nodes)
	p := plan{left: absent}
	if leader >= 0 && (!nodes[leader].attached() || !nodes[leader].primary) {
		if nodes[leader].attached() {
			p.steps = []step{{"promote", leader}}
			return p
		}
		p.lead(nodes, silent, leader)
		return p
	}
	if leader < 0 && s.leader() >= 0 {
		p.vacate(nodes, places)
		return p
	}
	p.stands = true
	var attach []int
	for id, n := range nodes {
		switch want := places[id]; {
		case id == leader, n.unused(), want == "":
		case want == standby && !n.attached():
			attach = append(attach, id)
		case want == detached && n.attached():
			p.steps = append(p.steps, step{"detach", id})
		}
	}
	p.attach(nodes, silent, attach...)
	return p
}

// lead adds what it takes to attach the one that is to be primary. Whom pgpool has for
// primary meanwhile must not be one that hangs: pgpool would wait for it. And it must not be
// detached where others stay: pgpool would look for a primary among them, for as long as
// search_primary_node_timeout. So one of them is made primary, though it refuses writes.
func (p *plan) lead(nodes []node, silent map[int]bool, leader int) {
	before := slices.IndexFunc(nodes, func(n node) bool { return n.attached() && n.primary })
	if before < 0 || !silent[before] || silent[leader] {
		p.attach(nodes, silent, leader)
		return
	}
	for id, n := range nodes {
		if n.attached() && !silent[id] {
			p.steps = []step{{"promote", id}}
			return
		}
	}
	for id, n := range nodes {
		if n.attached() && id != before {
			p.steps = append(p.steps, step{"detach", id})
		}
	}
	p.steps = append(p.steps, step{"detach", before})
}

// vacate adds what takes the writes from a server that is not to have them, where pgpool
// does not know the one that is. Nothing is attached, and that server not detached, while
// pgpool would look for a primary that it can't find: a standby is made primary, and refuses
// writes itself.
func (p *plan) vacate(nodes []node, places map[int]place) {
	before := slices.IndexFunc(nodes, func(n node) bool { return n.attached() && n.primary })
	if before < 0 || places[before] != detached {
		return
	}
	for id, n := range nodes {
		if n.attached() && places[id] == standby {
			p.steps = []step{{"promote", id}}
			return
		}
	}
	for id, n := range nodes {
		if n.attached() && id != before {
			p.steps = append(p.steps, step{"detach", id})
		}
	}
	p.steps = append(p.steps, step{"detach", before})
}

// attach adds what it takes to attach backends.
func (p *plan) attach(nodes []node, silent map[int]bool, ids ...int) {
	var answer []int
	for _, id := range ids {
		if silent[id] {
			p.left = append(p.left, fmt.Sprintf("backend %s:%d does not answer, and is left detached", nodes[id].host, nodes[id].port))
		} else {
			answer = append(answer, id)
		}
	}
	if len(answer) == 0 {
		return
	}
	for id, n := range nodes {
		// Without it pgpool would look for a primary among those that are none, for minutes.
		if n.primary && n.attached() && silent[id] {
			p.left = append(p.left, fmt.Sprintf("the leader %s:%d does not answer: no backend can be attached now", n.host, n.port))
			return
		}
	}
	hangs := false
	for id, n := range nodes {
		if n.attached() && silent[id] && !slices.Contains(p.steps, step{"detach", id}) {
			p.steps, hangs = append(p.steps, step{"detach", id}), true
		}
	}
	if hangs {
		return // the others once that is done
	}
	for _, id := range answer {
		p.steps = append(p.steps, step{"attach", id})
	}
}

// attaches says whether a plan takes to know who answers.
func (p plan) attaches() bool {
	return slices.ContainsFunc(p.steps, func(s step) bool { return s.verb == "attach" })
}
