package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pgbaton/pgbaton/internal/status"
)

// Metric is one of those that are shown.
type Metric struct {
	Name   string
	Type   string // gauge, counter or histogram
	Labels []string
	Help   string
}

// All are the metrics of pgbaton itself. Those of Go and of the process are beside them.
func All() []Metric {
	var list []Metric
	for _, g := range gauges() {
		list = append(list, Metric{g.name, "gauge", g.labels, g.help})
	}
	return append(list, counted...)
}

// Metrics are those of a daemon. Its methods may be called at once.
type Metrics struct {
	registry *prometheus.Registry
	*events
}

// New makes the metrics of the daemon that stands as now says. kind says what of a target
// failed, as in its status.
func New(now func() status.Status, kind func(err error, committed bool) string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), events: newEvents(kind)}
	m.registry.MustRegister(
		newStanding(now), m.applied, m.failures, m.applying, m.steps, m.held,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// inFlight is how many may ask at once.
const inFlight = 4

// Handler answers whoever scrapes. A metric that can't be shown does not hide the others.
// The page is not compressed: it is small, and a compressor costs 2 MB that stay.
func (m *Metrics) Handler() http.Handler {
	h := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry: m.registry, ErrorHandling: promhttp.ContinueOnError, DisableCompression: true, MaxRequestsInFlight: inFlight,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}
