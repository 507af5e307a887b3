package config

import (
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/probe"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// probeBlock is one question that is put to every member. tcp, sql and lag are known by
// their names; any other one brings its query.
type probeBlock struct {
	Name     string    `hcl:"name,label"`
	Interval string    `hcl:"interval,optional" default:"\"1s\""`
	Timeout  string    `hcl:"timeout,optional" default:"\"1s\""`
	Rise     *int      `hcl:"rise,optional" default:"2"`                 // nil is the default
	Fall     *int      `hcl:"fall,optional" default:"3; 1 of probe lag"` // nil is the default
	Dwell    *string   `hcl:"dwell,optional" default:"\"10s\""`          // nil is the default
	MaxDelay string    `hcl:"max_delay,optional" default:"any; of probe lag alone"`
	MaxBytes string    `hcl:"max_bytes,optional" default:"any; of probe lag alone"`
	Query    string    `hcl:"query,optional" default:"none; required unless tcp, sql or lag"`
	Expect   string    `hcl:"expect,optional" default:"any answer; beside query alone"`
	Body     hcl.Body  `hcl:",body"`
	Range    hcl.Range `hcl:",def_range"`
}

// What goes for every probe that says nothing else.
const (
	probeInterval = time.Second
	probeTimeout  = time.Second
	probeRise     = 2
	probeFall     = 3
	lagFall       = 1 // how far behind a server is has been measured, not guessed from silence
	probeDwell    = 10 * time.Second
	tooOften      = 50 * time.Millisecond
)

// probes reads the probe blocks of a cluster.
func (l *loader) probes(cluster string, blocks []probeBlock) []probe.Probe {
	var all []probe.Probe
	seen := map[string]bool{}
	for _, b := range blocks {
		if seen[b.Name] {
			l.fault(explain.ConfigConflict, b.Range, "give one of them another name", "cluster %s: there are two probes named %q", cluster, b.Name)
		}
		seen[b.Name] = true
		all = append(all, l.probe(cluster, b))
	}
	return all
}

func (l *loader) probe(name string, b probeBlock) probe.Probe {
	p := probe.Probe{Name: b.Name, Kind: cluster.ProbeQuery, Interval: probeInterval, Timeout: probeTimeout, Query: b.Query}
	p.Patience = cluster.Patience{Rise: probeRise, Fall: probeFall, Dwell: probeDwell}
	what := "cluster " + name + ": probe " + b.Name
	if notName(b.Name) {
		l.errorf(b.Range, "letters, digits, - and _", "cluster %s: probe name %q", name, b.Name)
	}
	switch kind := cluster.ProbeKind(b.Name); kind {
	case cluster.ProbeTCP, cluster.ProbeSQL:
		p.Kind = kind
	case cluster.ProbeLag:
		p.Kind, p.Patience.Fall = kind, lagFall
	}
	at := func(setting string) hcl.Range { return where(b.Body, setting, b.Range) }
	positive := func(setting, text string, d *time.Duration) {
		if text == "" {
			return
		}
		before := len(l.problems)
		if *d = l.duration(at(setting), setting, text); *d < tooOften && len(l.problems) == before {
			l.errorf(at(setting), "50ms is the least", "%s: %s %q is too short", what, setting, text)
			*d = tooOften
		}
	}
	positive("interval", b.Interval, &p.Interval)
	positive("timeout", b.Timeout, &p.Timeout)
	for _, count := range []struct {
		setting string
		is      *int
		to      *int
	}{{"rise", b.Rise, &p.Patience.Rise}, {"fall", b.Fall, &p.Patience.Fall}} {
		if count.is == nil {
			continue
		}
		if *count.to = *count.is; *count.is < 1 {
			l.errorf(at(count.setting), "1 believes the first answer", "%s: %s is %d", what, count.setting, *count.is)
		}
	}
	if b.Dwell != nil {
		p.Patience.Dwell = l.duration(at("dwell"), "dwell", *b.Dwell)
	}
	l.probeLimit(what, b, &p, at)
	l.probeQuery(what, b, &p, at)
	return p
}

// probeLimit reads how far behind a member may be.
func (l *loader) probeLimit(what string, b probeBlock, p *probe.Probe, at func(string) hcl.Range) {
	if p.Kind != cluster.ProbeLag {
		for setting, text := range map[string]string{"max_delay": b.MaxDelay, "max_bytes": b.MaxBytes} {
			if text != "" {
				l.fault(explain.ConfigConflict, at(setting), `how far behind a member may be belongs into probe "lag"`, "%s: it has no %s", what, setting)
			}
		}
		return
	}
	p.Limit.Delay = l.duration(at("max_delay"), "max_delay", b.MaxDelay)
	if b.MaxBytes != "" {
		n, ok := bytesOf(b.MaxBytes)
		if p.Limit.Bytes = n; !ok {
			l.errorf(at("max_bytes"), `write it as "16MB": a number of bytes, or with kB, MB, GB`, "%s: max_bytes %q is no size", what, b.MaxBytes)
		}
	}
}

// probeQuery reads what an operator's own probe asks.
func (l *loader) probeQuery(what string, b probeBlock, p *probe.Probe, at func(string) hcl.Range) {
	if p.Kind != cluster.ProbeQuery {
		for setting, text := range map[string]string{"query": b.Query, "expect": b.Expect} {
			if text != "" {
				l.fault(explain.ConfigConflict, at(setting), "give the probe a name of its own: tcp, sql and lag know what to ask", "%s: it has no %s", what, setting)
			}
		}
		return
	}
	if strings.TrimSpace(b.Query) == "" {
		l.fault(explain.ConfigMissing, b.Range, `add query = "SELECT …", or call it tcp, sql or lag, which know what to ask`, "%s has no query", what)
	}
	if b.Expect == "" {
		return
	}
	op, value, _ := strings.Cut(strings.TrimSpace(b.Expect), " ")
	p.Want = probe.Comparison{Op: op, Value: strings.TrimSpace(value)}
	if err := p.Want.Valid(); err != nil {
		l.errorf(at("expect"), `write it as "< 5": `+hint.Of(err), "%s: expect: %v", what, err)
	}
}

// bytesOf reads a size as PostgreSQL writes it: each unit is 1024 of the one before.
func bytesOf(text string) (uint64, bool) {
	digits := strings.TrimRight(text, "kMGTB ")
	n, err := strconv.ParseUint(digits, 10, 64)
	shift, known := map[string]uint{"": 0, "B": 0, "kB": 10, "MB": 20, "GB": 30, "TB": 40}[strings.TrimSpace(text[len(digits):])]
	if err != nil || !known || n > 1<<(63-shift) {
		return 0, false
	}
	return n << shift, true
}
