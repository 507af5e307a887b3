// Package integration proves the main job end to end: the pgbaton that users
// run, beside real Consul, Patroni, PgBouncer and HAProxy. Nothing here is
// simulated; `make test` installs what it needs.
package integration
