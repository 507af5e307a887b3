// Package pgpool makes pgpool-II follow its files and the leader.
//
// pgpool takes what it is told in two ways. A reload follows most settings, but no
// changed address of a backend, and says nothing of who is primary. Who is primary
// and who is attached it decides itself, with what it last saw, unless pcp tells it. So
// the main file says it in comments, one for each backend, which the built-in
// template writes:
//
//	# pgbaton: backend 0 is primary
//	# pgbaton: backend 1 is standby
//	# pgbaton: backend 2 is detached
//
// A file without such lines is reloaded, and nothing is moved.
//
// Follow: pcp_reload_config; then, as long as pcp_node_info shows something else than
// the file wants, one of these:
//
//   - pcp_promote_node for the primary. It asks no server anything, so it works
//     whatever hangs: the main process of pgpool waits without end for a server that
//     accepts connections and does not answer, also for the one that led before. It
//     ends every session, those that hang too, and detaches all other backends.
//   - pcp_attach_node for each standby. pgpool then asks all attached backends who is
//     primary. So one that does not answer now is not attached, and is detached
//     before another is attached.
//   - pcp_detach_node for what is neither.
//
// Backends are matched by address, not by number: if a member that vanished has
// renumbered the others, pgpool knows them by the old numbers until it is restarted. The
// leader is moved all the same; then it is told that pgpool needs a restart, or
// pgpool is restarted.
//
// What pcp_pool_status and pcp_node_info show is compared with the file before
// anything is called followed.
package pgpool
