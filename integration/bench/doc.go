// Package bench measures the time from a leader key to the reload signal, side
// by side for its contestants against one real Consul: a bare blocking query
// (the floor), consul-template as its users run it, and pgbaton. `make bench`
// runs it.
package bench
