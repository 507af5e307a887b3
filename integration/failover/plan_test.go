package failover

import (
	"slices"
	"testing"
	"time"
)

func env(pairs ...string) func(string) string {
	return func(name string) string {
		if i := slices.Index(pairs, name); i >= 0 {
			return pairs[i+1]
		}
		return ""
	}
}

func TestParsePlan(t *testing.T) {
	p, err := parsePlan(env())
	if err != nil {
		t.Fatal(err)
	}
	if !p.whole || p.rounds != 3 || p.load != 8 || !slices.Equal(p.events, eventNames) || !slices.Equal(p.contestants, contestantNames) {
		t.Errorf("without settings: %+v", p)
	}

	p, err = parsePlan(env("RUN", "twenty,switch/pgbaton", "ROUNDS", "1"))
	if err != nil {
		t.Fatal(err)
	}
	if p.whole || p.rounds != 1 || !slices.Equal(p.events, []string{"switchover", "twenty"}) ||
		!slices.Equal(p.contestants, []string{"floor", "pgbaton-pgbouncer", "pgbaton-haproxy"}) {
		t.Errorf("some: %+v", p)
	}

	p, err = parsePlan(env("FAILOVER", "load=500,pool=session,tx=multi,sync=on,ttl=30"))
	if err != nil {
		t.Fatal(err)
	}
	if p.whole || p.load != 500 || p.pool != "session" || !p.multi || !p.sync || p.ttl != 30 || p.pace != time.Second ||
		!slices.Equal(p.contestants, append([]string{"floor"}, pooled...)) {
		t.Errorf("changed: %+v", p)
	}

	for name, value := range map[string]string{
		"ROUNDS": "0", "RUN": "nothing", "ONLY": "nobody", "FAILOVER": "speed=9",
	} {
		if p, err := parsePlan(env(name, value)); err == nil {
			t.Errorf("%s=%s: %+v", name, value, p)
		}
	}
	for _, option := range []string{"load=0", "load=x", "store=raft", "pool=", "tx=no", "sync=yes", "ttl=5", "pace=1"} {
		if p, err := parsePlan(env("FAILOVER", option)); err == nil {
			t.Errorf("%s: %+v", option, p)
		}
	}
}
