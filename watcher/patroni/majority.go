package patroni

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// count is what the answers of one round come to.
type count struct {
	scope   string
	view    *view              // of one of those who agree
	answers []answer           // of those who count, one for each member
	placed  map[string]*answer // by the name of the member; a view that does not count is told of itself all the same
}

// oldest is how old what a member has read may be, if the lifetime of the leader key is
// not known: that is Patroni's default.
const oldest = 30 * time.Second

// tally says what the majority says, or why there is none. ttl is the lifetime of the
// leader key; 0 if it is not known.
func tally(all []answer, ttl time.Duration) (count, error) {
	c := count{placed: map[string]*answer{}}
	believed, reasons := believe(all, cmp.Or(ttl, oldest))
	c.scope = scopeOf(believed)
	votes := map[string]int{}
	for _, a := range believed {
		if scope := a.scope(); scope != "" && scope != c.scope {
			reasons = append(reasons, fmt.Sprintf("%s is of scope %q, and not of %q", a.base, scope, c.scope))
			continue
		}
		c.answers = append(c.answers, a)
		votes[a.view.leader]++
	}
	explained := func(format string, args ...any) error {
		text := fmt.Sprintf(format, args...)
		if len(reasons) > 0 {
			text += ": " + strings.Join(reasons, "; ")
		}
		advice := "let this machine reach the REST server of every member; see docs/config.md, the patroni store"
		for _, a := range all {
			if h := hint.Of(a.err); h != "" {
				advice = h
			}
		}
		return hint.Wrap(fmt.Errorf("%s", text), "%s", advice)
	}
	if len(c.answers) == 0 {
		return c, explained("no member says who leads")
	}
	leader, found := "", false
	for name, n := range votes {
		if 2*n > len(c.answers) {
			leader, found = name, true
		}
	}
	if !found {
		for _, a := range c.answers {
			reasons = append(reasons, fmt.Sprintf("%s says %s", a.base, cmp.Or(a.view.leader, "nobody")))
		}
		return c, explained("the members do not agree on who leads")
	}
	// Whoever leads knows best; else it is the first of those who agree.
	for _, a := range c.answers {
		if a.view.leader == leader && (c.view == nil || len(a.view.members) > len(c.view.members)) {
			c.view = a.view
		}
	}
	c.place(all)
	if a := c.placed[leader]; a != nil && a.view != nil && a.view.leader == leader {
		c.view = a.view
	}
	if 2*len(c.answers) < len(c.view.members) {
		return c, explained("only %d of %d members say who leads, fewer than half", len(c.answers), len(c.view.members))
	}
	return c, nil
}

// scope is the scope that it says it is of; "" if it does not.
func (a answer) scope() string {
	if a.live != nil && a.live.Patroni.Scope != "" {
		return a.live.Patroni.Scope
	}
	if a.view != nil {
		return a.view.scope
	}
	return ""
}

// believe are the answers of members that know of their store, one for each member,
// though it may have been asked at two addresses.
func believe(all []answer, limit time.Duration) (believed []answer, reasons []string) {
	seen := map[string]bool{}
	for _, a := range all {
		switch {
		case a.err != nil:
			reasons = append(reasons, fmt.Sprintf("%s: %v", a.base, a.err))
			continue
		case a.age > limit:
			reasons = append(reasons, fmt.Sprintf("%s has not heard of its store for %v", a.base, a.age.Round(time.Second)))
			continue
		}
		ids := []string{"at " + a.remote}
		if a.live != nil && a.live.Patroni.Name != "" {
			ids = append(ids, "named "+a.live.Patroni.Name)
		}
		if !slices.ContainsFunc(ids, func(id string) bool { return seen[id] }) {
			believed = append(believed, a)
		}
		for _, id := range ids {
			seen[id] = true
		}
	}
	return believed, reasons
}

// scopeOf is the scope that most are of; of two that are as many, the first.
func scopeOf(answers []answer) (scope string) {
	votes := map[string]int{}
	for _, a := range answers {
		if s := a.scope(); s != "" {
			votes[s]++
		}
	}
	for _, a := range answers {
		if s := a.scope(); votes[s] > votes[scope] {
			scope = s
		}
	}
	return scope
}

// place finds out who of the members gave which answer: by the address that the others
// have of it, or by its name.
func (c *count) place(all []answer) {
	for _, m := range c.view.members {
		base, _ := baseOf(m.API)
		_, at, _ := strings.Cut(base, "://")
		var remote string
		for i := range all {
			if all[i].base == base {
				remote = all[i].remote
			}
		}
		for i := range all {
			a := &all[i]
			if a.live == nil && a.view == nil {
				continue
			}
			named := a.live != nil && a.live.Patroni.Name == m.Name
			there := base != "" && (a.base == base || a.remote != "" && (a.remote == at || a.remote == remote))
			if scope := a.scope(); (named || there) && (scope == "" || scope == c.scope) {
				c.placed[m.Name] = a
				if a.base == base {
					break
				}
			}
		}
	}
}
