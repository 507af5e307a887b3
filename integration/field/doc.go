// Package field plays what breaks clusters in the field, by name: a full disk, too
// many connections, slow lines, partitions, failovers that fail. Consul, three
// Patroni members and the edge, which is a pgbouncer with a pgbaton beside it,
// each have a machine of their own, a network namespace; clients write through
// the edge all the time.
//
// Replication is synchronous, so PostgreSQL promises that no acknowledged row is
// lost, whoever leads next: what is missing in the end is a failure.
package field
