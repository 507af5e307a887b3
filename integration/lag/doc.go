// Package lag measures how long readers are still served by a replica whose lag has passed
// its limit, through pgbaton and through HAProxy with Patroni's REST checks side by side,
// and what it costs to ask a hundred members every second. `make bench-lag` runs it.
package lag
