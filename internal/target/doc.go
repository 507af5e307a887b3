// Package target keeps one daemon's files as they are wanted, and the daemon
// following them.
//
// A Source turns snapshots into Wanted: files, or what they wait for. Decide
// compares that with the Record of what was done and says what to do next; it
// is pure. The Loop is the shell around both: it runs one action at a time,
// and a newer decision cancels a running one.
//
// The loop knows no daemon by name, and one target never waits for another.
package target
