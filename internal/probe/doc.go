// Package probe asks the members of a cluster themselves whether they take
// writes: Patroni's REST server, PostgreSQL, or, where it may not log in, only
// whether the port is alive.
//
// It is gentle. Patroni's REST server takes five connections at a time, and a
// hundred poolers ask at the same moment: the pauses grow and are jittered, and
// its word is asked for less often while SQL answers.
//
// Its caller owes: what is learned is passed to cluster.Next, which decides; a
// probe never does.
package probe
