//go:build bench

package failover

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

func TestFailover(t *testing.T) {
	p, err := parsePlan(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	progress("three Patroni nodes on %s; %s", stores[p.store].title, p.String())
	s := newStage(t, p)
	var report strings.Builder
	begin := time.Now()
	for _, name := range p.events {
		var text string
		switch name {
		case "twenty":
			t.Run(name, func(t *testing.T) { text = s.twenty(t) })
		case "pgbench":
			t.Run(name, func(t *testing.T) { text = s.pgbench(t) })
		default:
			text = s.rounds(t, name)
		}
		fmt.Printf("\n%s", text)
		fmt.Fprintf(&report, "\n%s", text)
	}
	progress("done after %v", time.Since(begin).Round(time.Second))
	caption := s.caption()
	fmt.Printf("\n%s", caption)
	if p.whole && !t.Failed() {
		document(t, caption+report.String())
	}
}

// rounds lets one kind of event happen as often as planned.
func (s *stage) rounds(t *testing.T, name string) string {
	e := events[name]
	r := &result{title: e.title, outcomes: map[string][]outcome{}}
	for n := range s.plan.rounds {
		t.Run(fmt.Sprintf("%s/%d", name, n+1), func(t *testing.T) {
			progress("%s, round %d of %d", name, n+1, s.plan.rounds)
			s.play(t, e, r)
		})
	}
	return r.table(contestantNames, titles)
}

// caption says how the figures came about.
func (s *stage) caption() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Three Patroni nodes on %s and all clients on loopback of one machine: %s.\n%s. `make bench-failover`; rounds of each event: %d;\n",
		stores[s.plan.store].title, machine(), strings.Join(versions(s), ", "), s.plan.rounds)
	fmt.Fprintf(&b, "a time is the median (least–most), errors are those of each round, other counts the sum of all rounds.\n%s.\n", s.plan.String())
	if slices.ContainsFunc(s.plan.contestants, func(c string) bool { return strings.HasPrefix(c, "pgbaton") }) {
		b.WriteString("pgbaton runs as the user postgres, with CAP_NET_ADMIN to destroy sockets that hang; its two contestants reach the servers\n" +
			"at one address, so a socket that one of them destroys may be the other's. ")
		if s.holds {
			b.WriteString("It has `hold = true`.\n")
		} else {
			b.WriteString("This pgbaton does not know `hold` yet: it runs without.\n")
		}
	}
	return b.String()
}

// document puts the report where the documentation wants it, if it does.
func document(t *testing.T, report string) {
	t.Helper()
	path := filepath.Join(servertest.ModuleRoot(t), "docs", "benchmarks.md")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text, found := between(string(b), "\n"+report+"\n")
	if !found {
		return
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	progress("written to %s", path)
}
