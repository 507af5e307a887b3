package metrics

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgbaton/pgbaton/internal/status"
)

// gauge is a metric that is made from a status.
type gauge struct {
	name, help string
	labels     []string
	show       func(status.Status, put)
}

// put takes up a value, with a value for each label.
type put func(value float64, labels ...string)

// gauges are all of them.
func gauges() []gauge {
	return slices.Concat(ofTheWhole, ofTargets, ofClusters, ofStores)
}

// standing collects the gauges. It has no state of its own.
type standing struct {
	now    func() status.Status
	gauges []gauge
	descs  []*prometheus.Desc
}

func newStanding(now func() status.Status) *standing {
	s := &standing{now: now, gauges: gauges()}
	for _, g := range s.gauges {
		s.descs = append(s.descs, prometheus.NewDesc(g.name, g.help, g.labels, nil))
	}
	return s
}

// Describe implements prometheus.Collector.
func (s *standing) Describe(to chan<- *prometheus.Desc) {
	for _, d := range s.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (s *standing) Collect(to chan<- prometheus.Metric) {
	now := s.now().Public()
	for i, g := range s.gauges {
		seen := map[string]bool{}
		g.show(now, func(value float64, labels ...string) {
			for j := range labels {
				labels[j] = strings.ToValidUTF8(labels[j], "�") // a member may be called anything
			}
			if key := strings.Join(labels, "\x00"); !seen[key] {
				seen[key] = true
				to <- prometheus.MustNewConstMetric(s.descs[i], prometheus.GaugeValue, value, labels...)
			}
		})
	}
}

// flag is 1 if something is so.
func flag(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// oneOf puts a series for each word that something may be: 1 for the one that it is.
func oneOf(put put, is string, words []string, labels ...string) {
	if !slices.Contains(words, is) && is != "" {
		words = append(slices.Clip(words), is)
	}
	for _, word := range words {
		put(flag(word == is), append(slices.Clip(labels), word)...)
	}
}

// unix is a time as Prometheus has it, and nothing if it is not known.
func unix(put put, t time.Time, labels ...string) {
	if !t.IsZero() {
		put(float64(t.UnixMicro())/1e6, labels...)
	}
}

// staleness is for how long something could not be confirmed, in seconds; 0 if it is.
func staleness(s status.Status, stale *status.Stale) float64 {
	if stale == nil {
		return 0
	}
	since := stale.Since
	if since.IsZero() {
		since = s.Process.Started // it never was
	}
	return max(0, s.At.Sub(since).Seconds())
}
