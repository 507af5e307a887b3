package metrics

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/status"
)

// counted are the metrics that are made from events.
var counted = []Metric{
	{"pgbaton_target_applied_total", "counter", []string{"target", "why"}, "how often the target's daemon was made to follow its files"},
	{"pgbaton_target_failures_total", "counter", []string{"target", "kind"}, "how often a try to apply the target's files failed"},
	{"pgbaton_target_change_to_applied_seconds", "histogram", []string{"target", "why"}, "from the change that pgbaton saw until the daemon followed"},
	{"pgbaton_target_step_seconds", "histogram", []string{"target", "step"}, "how long each step of what was applied took"},
	{"pgbaton_target_held_seconds", "histogram", []string{"target"}, "how long traffic was held, once it was released"},
}

// What labels of events may be: counters are there from the start, as 0.
var (
	whys  = []string{history.Leader, history.Content, history.Start, history.Repair, history.Forced}
	tried = []string{status.KindCheck, status.KindGuard, status.KindApply, status.KindReload}
)

// buckets are the upper bounds of durations, in seconds.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// events counts what is done about the targets that run.
type events struct {
	kind func(err error, committed bool) string

	applied, failures     *prometheus.CounterVec
	applying, steps, held *prometheus.HistogramVec

	mu      sync.Mutex
	targets []string
}

func newEvents(kind func(err error, committed bool) string) *events {
	return &events{
		kind:     kind,
		applied:  counter("pgbaton_target_applied_total"),
		failures: counter("pgbaton_target_failures_total"),
		applying: histogram("pgbaton_target_change_to_applied_seconds"),
		steps:    histogram("pgbaton_target_step_seconds"),
		held:     histogram("pgbaton_target_held_seconds"),
	}
}

func counter(name string) *prometheus.CounterVec {
	m := find(name)
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, m.Labels)
}

func histogram(name string) *prometheus.HistogramVec {
	m := find(name)
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.Name, Help: m.Help, Buckets: buckets}, m.Labels)
}

func find(name string) Metric {
	return counted[slices.IndexFunc(counted, func(m Metric) bool { return m.Name == name })]
}

// Take says which targets run from now on. What was counted of others is forgotten: a
// name that is gone for good must not be shown for ever.
func (e *events) Take(targets []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range e.targets {
		if slices.Contains(targets, id) {
			continue
		}
		gone := prometheus.Labels{"target": id}
		e.applied.DeletePartialMatch(gone)
		e.failures.DeletePartialMatch(gone)
		for _, h := range []*prometheus.HistogramVec{e.applying, e.steps, e.held} {
			h.DeletePartialMatch(gone)
		}
	}
	e.targets = slices.Clone(targets)
	for _, id := range targets {
		for _, why := range whys {
			e.applied.WithLabelValues(id, why)
		}
		for _, kind := range tried {
			e.failures.WithLabelValues(id, kind)
		}
		e.held.WithLabelValues(id)
	}
}

// Note takes up an event. It waits for nothing.
func (e *events) Note(what history.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch what := what.(type) {
	case history.Held:
		if e.runs(what.Target) {
			e.step(what.Target, "hold", what.Took)
		}
	case history.Released:
		if e.runs(what.Target) {
			e.held.WithLabelValues(what.Target).Observe(max(0, what.Held.Seconds()))
			e.step(what.Target, "release", what.Took)
		}
	case history.Applied:
		if e.runs(what.Target) {
			e.applies(what.Attempt)
		}
	case history.Failed:
		if e.runs(what.Target) {
			e.failures.WithLabelValues(what.Target, e.kind(what.Error, what.Committed)).Inc()
		}
	}
}

// runs says whether a target is one that runs: the last of one that ended may be late.
func (e *events) runs(target string) bool { return slices.Contains(e.targets, target) }

func (e *events) applies(a history.Attempt) {
	e.applied.WithLabelValues(a.Target, a.Why).Inc()
	if !a.Seen.IsZero() {
		e.applying.WithLabelValues(a.Target, a.Why).Observe(a.Late().Seconds())
	}
	for _, s := range a.Signs {
		e.step(a.Target, "detect", s.Detect())
		e.step(a.Target, "confirm", s.Confirm())
	}
	e.step(a.Target, "render", a.Render)
	e.step(a.Target, "check", a.Check)
	e.step(a.Target, "reload", a.Reload)
	e.step(a.Target, "verify", a.Verify)
}

// step takes up how long a step took, if it was taken.
func (e *events) step(target, name string, took time.Duration) {
	if took > 0 {
		e.steps.WithLabelValues(target, name).Observe(took.Seconds())
	}
}
