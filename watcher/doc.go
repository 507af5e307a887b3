// Package watcher keeps answers to queries up to date.
//
// A Query names one thing in one store: a key, a prefix, the instances of a
// service, a file, a cluster. A Store knows how to fetch its Answer and how to
// wait until it changes. A Watcher runs one retry loop for each query that
// somebody wants and hands out immutable snapshots.
//
// What it promises:
//
//   - Unknown, absent and empty stay three different things. An error never
//     becomes a value: while a store is away its last answers stay, with the
//     error and the time they were last confirmed beside them.
//   - A subscription's channel is a level trigger with one slot: it says "look
//     again", and nothing depends on seeing each event.
//   - An answer whose parsed value did not change is no change, whatever the
//     store's index did.
//   - A store that comes back is asked again within MaxBackoff.
//
// What the caller owes: values reached through a Snapshot are shared and must
// not be changed.
package watcher
