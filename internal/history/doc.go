// Package history is what was done to each target, change by change, and how long each
// step of it took. A Journal folds the Events that the targets tell it into Changes, and
// keeps the last of them across restarts. It knows no other package of pgbaton's but
// where state is kept.
//
// A Change is a stable format, as JSON: fields are only added, none changes its meaning.
// Times are UTC, in RFC 3339; durations are milliseconds, and one that is left out was
// not measured: there was no such step.
package history
