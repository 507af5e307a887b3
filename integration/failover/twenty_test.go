//go:build bench

package failover

import (
	"fmt"
	"testing"
	"time"
)

// switchovers is how many follow one another in the mode "twenty".
const switchovers = 20

// twenty moves the leader on and on while the same processes and the same
// writers stay.
func (s *stage) twenty(t *testing.T) string {
	s.cluster.AwaitReady(s.t)
	s.run++
	all := s.enterAll(t)
	r := &result{
		title:    fmt.Sprintf("%d switchovers in a row", switchovers),
		outcomes: map[string][]outcome{},
	}
	e := events["switchover"]
	for n := range switchovers {
		progress("switchover %d of %d", n+1, switchovers)
		old := s.cluster.Leader(t)
		candidate := s.candidate(n)
		w := window{begin: time.Now()}
		s.cluster.Switchover(s.t, candidate)
		leader := s.finish(t, e, old, &w)
		s.settle(t, all, w)
		w.end, w.port = time.Now(), leader.Port
		for _, c := range all {
			o := measure(c.bench.diaries, w)
			o.beside(c.second.journal(), c.other.journal(), w)
			r.outcomes[c.name] = append(r.outcomes[c.name], o)
			progress("    %-20s stall %s, key → write %s, errors %s", c.name, seconds(o.fleet.length),
				firstWrites([]outcome{o}, true), errorKinds([]outcome{o}))
		}
		r.recovery = append(r.recovery, w.took.Sub(w.key))
		s.cluster.AwaitReady(s.t)
	}
	for _, c := range all {
		for _, f := range c.fleets() {
			f.stop()
		}
	}
	there, err := s.rowsOf(s.cluster.Leader(t), s.run)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		r.outcomes[c.name][switchovers-1].missing = lost(c.bench.diaries, there[c.name])
	}
	return r.table(contestantNames, titles)
}
