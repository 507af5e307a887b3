package failover

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The names that RUN may pick, in the order in which they are run and shown.
var (
	eventNames = []string{"switchover", "crash", "hang", "restart", "patroni-killed", "patroni-gone"}
	// modeNames run only when RUN names them.
	modeNames       = []string{"twenty", "pgbench"}
	contestantNames = []string{
		"floor", "ct-pgbouncer", "ct-pgbouncer-tuned", "haproxy-patroni", "multihost", "pgbaton-pgbouncer", "pgbaton-haproxy",
	}
	pooled = []string{"ct-pgbouncer", "ct-pgbouncer-tuned", "pgbaton-pgbouncer"}
)

// unpooled is how many writers a contestant without a pool may have: each is a
// connection to the server.
const unpooled = 32

// paceOfFew is what a writer waits between two writes where there are few: seven
// contestants at once must leave the machine time for the servers.
const paceOfFew = 25 * time.Millisecond

// plan is what a run measures.
type plan struct {
	rounds      int
	events      []string // in order; modes come last
	contestants []string // in order; the floor is always there

	// From FAILOVER, "name=value" between commas:
	load  int           // load=8: writers of each contestant
	pool  string        // pool=transaction, or session
	multi bool          // tx=multi: two inserts in a transaction; tx=single: one without BEGIN
	sync  bool          // sync=on: synchronous_mode
	store string        // store=consul, or etcd: where Patroni keeps its keys
	ttl   int           // ttl=20: with loop_wait 1, retry_timeout 3; ttl=30: with Patroni's own 10 and 10
	pace  time.Duration // pace=25ms: what a writer waits between two writes

	whole bool // nothing was left out and nothing changed
}

// parsePlan reads ROUNDS, RUN, ONLY and FAILOVER.
func parsePlan(getenv func(string) string) (plan, error) {
	p := plan{rounds: 3, load: 8, pool: "transaction", store: "consul", ttl: 20, pace: paceOfFew}
	if text := getenv("ROUNDS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return plan{}, fmt.Errorf("read ROUNDS: %q is no number of rounds", text)
		}
		p.rounds = n
	}
	events, contestants, _ := strings.Cut(getenv("RUN"), "/")
	if only := getenv("ONLY"); only != "" {
		contestants = only
	}
	p.whole = events == "" && contestants == "" && getenv("FAILOVER") == ""

	var err error
	if p.events, err = pick(events, eventNames, modeNames); err != nil {
		return plan{}, fmt.Errorf("read RUN: %w", err)
	}
	if p.contestants, err = pick(contestants, contestantNames, nil); err != nil {
		return plan{}, fmt.Errorf("read RUN and ONLY: %w", err)
	}
	if !slices.Contains(p.contestants, "floor") {
		p.contestants = append([]string{"floor"}, p.contestants...)
	}
	if err := p.options(getenv("FAILOVER")); err != nil {
		return plan{}, fmt.Errorf("read FAILOVER: %w", err)
	}
	if p.store != "consul" { // which is the only store that consul-template knows
		p.contestants = slices.DeleteFunc(p.contestants, func(c string) bool { return strings.HasPrefix(c, "ct-") })
	}
	if p.load > unpooled {
		// The servers would need as many connections from those without a pool.
		p.contestants = slices.DeleteFunc(p.contestants, func(c string) bool { return c != "floor" && !slices.Contains(pooled, c) })
	}
	return p, nil
}

// pick finds the names that begin with one of those wanted. Wanting none is
// wanting all of names, and none of more.
func pick(wanted string, names, more []string) ([]string, error) {
	if wanted == "" {
		return slices.Clone(names), nil
	}
	var all []string
	for _, w := range strings.Split(wanted, ",") {
		found := false
		for _, name := range slices.Concat(names, more) {
			if strings.HasPrefix(name, w) && w != "" {
				all, found = append(all, name), true
			}
		}
		if !found {
			return nil, fmt.Errorf("%q is none of %s", w, strings.Join(slices.Concat(names, more), ", "))
		}
	}
	return slices.DeleteFunc(slices.Concat(names, more), func(n string) bool { return !slices.Contains(all, n) }), nil
}

func (p *plan) options(text string) error {
	paced := false
	for _, option := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		name, value, _ := strings.Cut(option, "=")
		var err error
		var ok bool
		switch name {
		case "load":
			p.load, err = strconv.Atoi(value)
			ok = p.load > 0
		case "pool":
			p.pool, ok = value, value == "transaction" || value == "session"
		case "tx":
			p.multi, ok = value == "multi", value == "multi" || value == "single"
		case "sync":
			p.sync, ok = value == "on", value == "on" || value == "off"
		case "store":
			p.store, ok = value, value == "consul" || value == "etcd"
		case "ttl":
			p.ttl, err = strconv.Atoi(value)
			ok = p.ttl == 20 || p.ttl == 30
		case "pace":
			p.pace, err = time.ParseDuration(value)
			ok, paced = p.pace > 0, true
		default:
			return fmt.Errorf("%q is no option: load=N, pool=transaction|session, tx=single|multi, sync=on|off, store=consul|etcd, ttl=20|30, pace=DURATION", name)
		}
		if err != nil || !ok {
			return fmt.Errorf("%s: %q does not fit", name, value)
		}
	}
	if p.load > unpooled && !paced {
		// About 500 writes a second, however many clients there are.
		p.pace = time.Duration(p.load) * 2 * time.Millisecond
	}
	return nil
}

// poolSize is enough for every writer of a session pool, and 20 else.
func (p *plan) poolSize() int {
	if p.pool == "session" {
		return p.load + 2
	}
	return 20
}

// String says what the load is, for the caption.
func (p *plan) String() string {
	tx, sync, pace := "a row at a time", "asynchronous", "ttl 20, loop_wait 1, retry_timeout 3"
	if p.multi {
		tx = "two inserts in a transaction"
	}
	if p.sync {
		sync = "synchronous"
	}
	if p.ttl == 30 {
		pace = "Patroni's defaults (ttl 30, loop_wait 10, retry_timeout 10)"
	}
	return fmt.Sprintf("%d writers for each contestant, %s, %v between two writes; %s pooling, pools of %d; %s replication; %s",
		p.load, tx, p.pace, p.pool, p.poolSize(), sync, pace)
}
