// Package render turns templates and snapshots into files, and puts files on
// disk so that each destination holds a complete one at every instant.
//
// Executing is pure: a template and a snapshot give a Result, which holds
// either content or what is still missing. Writing has three steps, so that a
// daemon's check can stand before the second, and its reload before the third:
// Stage writes beside the destination, durably, with the final mode and owner;
// Rename swaps it in; Sync makes that durable. A set that is not renamed is
// discarded and leaves nothing behind.
//
// What the caller owes: one execution of a template at a time, one set for a
// destination at a time, and Sync before anybody is told that the files are
// in place for good.
package render
