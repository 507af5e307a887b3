// Package failover measures what clients see when a PostgreSQL cluster changes
// its leader. Three real Patroni nodes on a real Consul go through one event
// after another, under load, and every contestant watches the same event: each
// has its own pooler or balancer, its own writers and its own table.
//
// `make bench-failover` runs it. RUN=EVENTS/CONTESTANTS, names or beginnings of
// names between commas, picks some; ROUNDS and FAILOVER change how (see plan). The
// modes "twenty" (switchovers in a row, with the same processes) and "pgbench"
// (real pgbench clients on a pool of 20) run only when RUN names them. PGBATON
// names another pgbaton to measure than that of this checkout. A run that leaves
// nothing out writes its report into docs/benchmarks.md, between the marks there.
//
// What the columns say, for one event:
//
//   - longest stall: the longest time in which no writer of the contestant had
//     a write acknowledged; beside it, the longest time of any single writer.
//     An idle moment before the event or after the last write counts too.
//   - above the floor: how much longer that was than for the floor in the same
//     round, which saw the same event.
//   - key → write: from the moment at which a blocking query of the benchmark
//     saw the leader key name the new leader, to the first write after it that
//     was acknowledged by the new leader.
//   - errors: writes and logins that failed, from the event until the writers
//     were stopped, by kind. Every error makes its writer reconnect.
//   - stuck: writers without an acknowledged write in the last three seconds,
//     when the cluster had been whole for twenty.
//   - missing: acknowledged rows that the final leader does not have.
//   - on the old: rows that only the old leader has, acknowledged after the new
//     one took writes or never. A hung server is let go on for a second before
//     its Patroni is, and then asked: it answers what it was sent before, even to
//     clients that have left, so the floor is one for each writer in flight.
//   - 2nd database, 2nd cluster: errors of writers whose database is another one
//     on the same cluster, or one on a cluster to which nothing happens, behind
//     the same pooler or balancer; for the latter its longest stall too if a client
//     would notice.
//
// The floor is a client that is told: it connects to the new leader directly,
// as soon as that has left recovery, which is asked every 5 ms.
//
// What is pure (plan, diary, outcome, class, report) has no build tag and is
// tested without a server.
package failover
