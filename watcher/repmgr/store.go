package repmgr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/poll"
)

// Store answers queries from the nodes of one cluster.
type Store struct {
	config     Config
	configured []string // host:port of each
	poller     *poll.Poller[[]watcher.Pair]

	// The rest belongs to the round that is under way.
	nodes   map[string]*node // by address
	others  []string         // addresses that the nodes have of each other
	writers []string         // who was out of recovery
	moved   time.Time        // when that became another
}

func same(a, b []watcher.Pair) bool { return slices.Equal(a, b) }

// stirs is how long a change of leader goes on after it was seen first: its
// repmgr.nodes, and who follows.
const stirs = 5 * time.Second

// Close ends the logins, when nobody waits for an answer any more.
func (s *Store) Close() error {
	for _, n := range s.nodes {
		n.close()
	}
	return nil
}

// Fetch implements watcher.Store.
func (s *Store) Fetch(ctx context.Context, q watcher.Query, after uint64) (watcher.Answer, error) {
	if q.Kind != watcher.Key && q.Kind != watcher.Prefix {
		return watcher.Answer{}, hint.Wrap(fmt.Errorf("repmgr's nodes have no %s queries", q.Kind), "they know of themselves alone: a catalog of services is Consul's")
	}
	there, rev, err := s.poller.Next(ctx, after)
	if err != nil {
		if errors.Is(err, context.Cause(ctx)) {
			return watcher.Answer{}, err
		}
		return watcher.Answer{}, fmt.Errorf("read %s: %w", q, err)
	}
	pairs := below(there, q)
	a := watcher.Answer{Presence: watcher.Present, Rev: rev}
	switch {
	case q.Kind == watcher.Prefix:
		a.Value = pairs
	case len(pairs) == 0:
		a.Presence = watcher.Absent
	default:
		a.Value = pairs[0]
	}
	return a, nil
}

// below are the pairs that a query asks for. The nodes stand below whatever path they are
// looked for: PATH/nodes/ID.
func below(all []watcher.Pair, q watcher.Query) []watcher.Pair {
	base := q.Path
	if at := strings.LastIndex("/"+q.Path, "/"+folder); at >= 0 {
		base = q.Path[:at]
	}
	if base != "" && !strings.HasSuffix(base, "/") {
		if q.Kind == watcher.Key {
			return nil
		}
		base += "/"
	}
	pairs := []watcher.Pair{}
	for _, p := range all {
		p.Path = base + p.Path
		switch {
		case q.Kind == watcher.Key && p.Path == q.Path:
			p.Key = p.Path
			pairs = append(pairs, p)
		case q.Kind == watcher.Prefix && strings.HasPrefix(p.Path, q.Path):
			p.Key = strings.TrimLeft(strings.TrimPrefix(p.Path, q.Path), "/")
			pairs = append(pairs, p)
		}
	}
	return pairs
}

const folder = "nodes/"

// round asks all nodes, and those that they name.
func (s *Store) round(ctx context.Context) (poll.Outcome[[]watcher.Pair], error) {
	var documents []document
	var errs []error
	remote := map[string]string{} // by address
	asked := map[string]bool{}
	for range 2 { // those that are named for the first time are asked in the same round
		var next []*node
		for _, address := range append(slices.Clone(s.configured), s.others...) {
			if asked[address] {
				continue
			}
			asked[address] = true
			if s.nodes[address] == nil {
				s.nodes[address] = &node{address: address}
			}
			next = append(next, s.nodes[address])
		}
		type answer struct {
			document
			err error
		}
		answers := make([]answer, len(next))
		done := make(chan struct{})
		for i, n := range next {
			go func() {
				answers[i].document, answers[i].err = n.ask(ctx, &s.config)
				done <- struct{}{}
			}()
		}
		for range next {
			<-done
		}
		for i, a := range answers {
			documents = append(documents, a.document)
			if a.err != nil {
				errs = append(errs, a.err)
				continue
			}
			remote[a.Address] = next[i].remote
		}
		if found := named(documents); found != nil {
			s.others = found
		}
	}
	if ctx.Err() != nil {
		return poll.Outcome[[]watcher.Pair]{}, context.Cause(ctx)
	}
	if len(remote) == 0 {
		return poll.Outcome[[]watcher.Pair]{}, fmt.Errorf("ask the nodes: no node answers: %w", errors.Join(errs...))
	}
	s.forget(asked)
	pairs, writers := arrange(documents, remote)
	if now := time.Now(); !slices.Equal(writers, s.writers) {
		s.writers, s.moved = writers, now
	}
	return poll.Outcome[[]watcher.Pair]{Value: pairs, Restless: len(writers) == 0 || time.Since(s.moved) < stirs}, nil
}

// forget lets go of nodes that nobody names any more.
func (s *Store) forget(asked map[string]bool) {
	for address, n := range s.nodes {
		if !asked[address] || !slices.Contains(s.configured, address) && !slices.Contains(s.others, address) {
			n.close()
			delete(s.nodes, address)
		}
	}
}

// named are the addresses that nodes have of each other; nil if none of them answers.
func named(documents []document) []string {
	all := map[string]bool{}
	answered := false
	for _, d := range documents {
		answered = answered || d.Nodes != nil
		for _, r := range d.Nodes {
			if r.Type != "witness" && len(all) < maxNodes {
				for _, a := range addresses(r) {
					all[a] = true
				}
			}
		}
	}
	if !answered {
		return nil
	}
	return slices.Sorted(maps.Keys(all))
}

// addresses are those of a row, as host:port; none that can't be asked.
func addresses(r row) (list []string) {
	text := strings.TrimSuffix(strings.TrimPrefix(r.ConnURL, "postgres://"), "/")
	for _, part := range strings.Split(text, ",") {
		host, port, err := net.SplitHostPort(part)
		if err != nil || strings.Contains(part, "%") {
			continue
		}
		if address, err := addressOf(net.JoinHostPort(host, port)); err == nil {
			list = append(list, address)
		}
	}
	return list
}

// arrange makes the keys of what the nodes said, one for each node. writers are those who
// are out of recovery.
func arrange(documents []document, remote map[string]string) (pairs []watcher.Pair, writers []string) {
	ids := map[string]int64{} // by address, or by where that leads to
	for _, d := range documents {
		for _, r := range d.Nodes {
			for _, a := range addresses(r) {
				ids[a] = r.ID
				if at := remote[a]; at != "" {
					ids[at] = r.ID
				}
			}
		}
	}
	seen := map[string]bool{} // servers
	taken := map[string]bool{}
	slices.SortStableFunc(documents, func(a, b document) int { return strings.Compare(a.Reason, b.Reason) }) // those that answered first
	for _, d := range documents {
		if at := remote[d.Address]; at != "" {
			if seen[at] {
				continue // it was asked at two addresses
			}
			seen[at] = true
		}
		if own := ids[d.Address]; own != 0 {
			d.ID = own // where the others find it tells more than what it says
		} else if own := ids[remote[d.Address]]; own != 0 {
			d.ID = own
		}
		name := d.Address
		if d.ID != 0 && !taken[strconv.FormatInt(d.ID, 10)] {
			name = strconv.FormatInt(d.ID, 10)
		}
		if d.Reason != "" && taken[strconv.FormatInt(d.ID, 10)] {
			continue // another of its addresses answers
		}
		taken[name] = true
		if d.Nodes != nil && !d.Recovery {
			writers = append(writers, name)
		}
		value, err := json.Marshal(d)
		if err != nil {
			continue // there is nothing in it that JSON has not
		}
		pairs = append(pairs, watcher.Pair{Path: folder + name, Value: string(value)})
	}
	slices.SortFunc(pairs, func(a, b watcher.Pair) int { return strings.Compare(a.Path, b.Path) })
	slices.Sort(writers)
	return pairs, writers
}
