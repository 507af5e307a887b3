// Package metrics shows a running pgbaton to Prometheus. Gauges are made from one
// status.Status, at the moment somebody asks; counters and histograms from the events
// of its history. It knows nothing else of pgbaton's.
//
// Labels are what the config names, names of members, and words of status and history:
// no words of others, and no more series than there are targets, clusters, members and
// stores. What All lists is a promise: a metric keeps its name, its type and its labels.
package metrics
