// Package render turns templates and snapshots into files, and puts files on
// disk so that each destination holds a complete one at every instant.
//
// Executing is pure: a template and a snapshot give a Result, which holds
// either content or what is still missing. Writing has three steps, so that a
// daemon's check can stand between them: Stage writes beside the destination,
// with the final mode and owner; Sync makes that durable; Rename swaps it in.
// A set that is not renamed is discarded and leaves nothing behind.
//
// What the caller owes: one execution of a template at a time, one set for a
// destination at a time, and Sync before Rename.
package render
