// Package compat holds pgbaton's templates against consul-template itself: one
// corpus, one real Consul, the same bytes. Where consul-template fails, pgbaton
// fails; where it waits, pgbaton waits.
//
// A case is a file in an archive of testdata. The differences that are meant
// stand in the table `meant`, by name, each with its reason.
package compat
