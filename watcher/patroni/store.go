package patroni

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/poll"
)

// Store answers queries from the members of one cluster.
type Store struct {
	configured   []string // scheme://host:port of each
	user         string
	passwordFile string
	verifies     bool // certificates are verified
	client       *http.Client
	poller       *poll.Poller[contents]

	// The rest belongs to the round that is under way.
	known  known
	config time.Time // when the config was asked for last
}

// contents is what there is below a scope.
type contents struct {
	scope string
	pairs []watcher.Pair // their paths begin below the scope
}

func same(a, b contents) bool { return a.scope == b.scope && slices.Equal(a.pairs, b.pairs) }

// How often, and for how long.
const (
	configEvery = 10 * time.Second       // the config is asked for
	stirs       = 5 * time.Second        // a change of leader goes on after the key: the promotion, and who follows
	stragglers  = 100 * time.Millisecond // those who hang are waited for, once most of all agree
	doubters    = 300 * time.Millisecond // once half of all agree
)

// Fetch implements watcher.Store.
func (s *Store) Fetch(ctx context.Context, q watcher.Query, after uint64) (watcher.Answer, error) {
	if q.Kind != watcher.Key && q.Kind != watcher.Prefix {
		return watcher.Answer{}, hint.Wrap(fmt.Errorf("patroni's REST servers have no %s queries", q.Kind), "they know the keys of one cluster alone: a catalog of services is Consul's")
	}
	there, rev, err := s.poller.Next(ctx, after)
	if err != nil {
		if errors.Is(err, context.Cause(ctx)) {
			return watcher.Answer{}, err
		}
		return watcher.Answer{}, fmt.Errorf("read %s: %w", q, err)
	}
	pairs, err := there.below(q)
	if err != nil {
		return watcher.Answer{}, err
	}
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

// below are the pairs that a query asks for.
func (c contents) below(q watcher.Query) ([]watcher.Pair, error) {
	base, found := c.base(q.Path)
	if !found {
		if c.scope == "" {
			return nil, hint.Wrap(fmt.Errorf("read %s: no member tells of which scope it is", q), "GET /patroni of the members has to tell it: see Patroni's log")
		}
		return nil, hint.Wrap(fmt.Errorf("read %s: these members are of scope %q, and have nothing there", q, c.scope), "set scope = %q in the cluster block, or members in the patroni block", c.scope)
	}
	pairs := []watcher.Pair{}
	for _, p := range c.pairs {
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
	return pairs, nil
}

// base is what the paths begin with that a query means: NAMESPACE/SCOPE/, whatever the
// namespace is, and with a group after it, in Citus.
func (c contents) base(path string) (base string, found bool) {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if part != c.scope || c.scope == "" || i == len(parts)-1 {
			continue
		}
		end := i + 1
		if _, err := strconv.ParseUint(parts[end], 10, 32); err == nil && end < len(parts)-1 {
			end++
		}
		if slices.Contains([]string{"", "leader", "members", "initialize", "config", "failover", "sync", "status", "history", "optime", "failsafe"}, parts[end]) {
			return strings.Join(parts[:end], "/") + "/", true
		}
		base, found = strings.Join(parts[:i+1], "/")+"/", true // a key that Patroni has not
	}
	return base, found
}

// round asks all members, and those whom they name.
func (s *Store) round(ctx context.Context) (poll.Outcome[contents], error) {
	config := s.known.config == "" || time.Since(s.config) >= configEvery
	var answers []answer
	var asked []string
	for range 2 { // those who are named for the first time are asked in the same round
		var next []string
		for _, base := range append(slices.Clone(s.configured), named(answers, s.known.others)...) {
			if !slices.Contains(asked, base) && !slices.Contains(next, base) && len(asked)+len(next) < 2*maxMembers {
				next = append(next, base)
			}
		}
		if len(next) == 0 {
			break
		}
		answers = append(answers, s.askAll(ctx, next, config)...)
		asked = append(asked, next...)
	}
	c, err := tally(answers, s.known.ttl)
	if err != nil {
		return poll.Outcome[contents]{}, fmt.Errorf("ask the members: %w", err)
	}
	now := time.Now()
	if config {
		s.config = now
	}
	s.known.learn(c, now)
	restless := c.view.leader == "" || now.Sub(s.known.moved) < stirs || !s.known.writes && !c.view.standby
	return poll.Outcome[contents]{Value: contents{c.scope, s.known.keys(c.view)}, Restless: restless}, nil
}

// named are the addresses that answers name, and the others that are known: as long as
// nobody answers, those are.
func named(answers []answer, others []string) []string {
	if len(answers) == 0 {
		return others
	}
	var bases []string
	c, err := tally(answers, 0)
	if err != nil && c.view == nil {
		return others
	}
	for _, m := range c.view.members {
		if base, ok := baseOf(m.API); ok {
			bases = append(bases, base)
		}
	}
	return bases
}

// askAll asks at several addresses at the same time. Once enough of them agree, it does
// not wait for long for who hangs: the machine that hangs may be why the leader changes.
func (s *Store) askAll(ctx context.Context, bases []string, config bool) []answer {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	came := make(chan answer)
	for _, base := range bases {
		go func() { came <- s.ask(ctx, base, config) }()
	}
	var answers []answer
	votes := map[string]int{}
	for range bases {
		a := <-came
		answers = append(answers, a)
		if a.view == nil {
			continue
		}
		votes[a.view.leader]++
		switch n, all := 2*votes[a.view.leader], max(len(bases), len(a.view.members)); {
		case n > all:
			defer time.AfterFunc(stragglers, cancel).Stop()
		case n == all:
			defer time.AfterFunc(doubters, cancel).Stop()
		}
	}
	slices.SortFunc(answers, func(a, b answer) int { return slices.Index(bases, a.base) - slices.Index(bases, b.base) })
	return answers
}
