// Package faulttest breaks a program at a place that a test names: it follows
// the system calls by which the program changes anything outside itself, and
// kills it as it enters one of them, or lets one of them fail.
//
// It makes disks that fill up and lines that lose what goes over them, too.
//
// Run reads and writes registers, so it knows amd64 alone.
package faulttest
