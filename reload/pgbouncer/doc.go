// Package pgbouncer makes PgBouncer follow its config.
//
// PgBouncer can check no config, and its RELOAD answers that all is well when
// it is not: a file that fails to parse is applied up to the bad line. So Check
// starts a second pgbouncer on private copies of the files, with the rights of
// the real one, no TCP port and a socket directory of its own, and takes its
// getting ready as the proof. On top Check refuses what that dry run lets
// pass: no entry in [databases], and an auth_file that does not exist.
//
// What a dry run cannot see: hosts that do not resolve, servers that refuse
// logins, and a setting that is missing where its default does harm. A file cut
// off before auth_type is valid and means md5, so Check warns, and no more, if
// the file now in place sets auth_type and the next one does not.
//
// Follow sends RELOAD to each console and then asks SHOW DATABASES, whose rows
// have to say what [databases] says, and SHOW CONFIG, for a changed listen_port
// is ignored without a word. Entries that PgBouncer makes up from `*` are not
// compared. That a database points to the new server does not mean that no
// connection to the old one is left: PgBouncer drops those as their
// transactions end.
//
// Hold pauses databases by name; all at once, on top, only if every database
// leads to the leader and the entry `*` of the config does too, for a database
// that is first met under `*` would otherwise reach the old server. What an
// operator paused is left to him, both ways. But PAUSE and RESUME do not count:
// his RESUME lets go what is held here, until the caller looks again. While one
// pgbaton holds at a console it keeps a session there, "pgbaton hold HOST:PID"
// in SHOW CLIENTS, and no other does (before 1.18 it cannot be seen).
//
// What a hold cannot do: open sessions of a session pool go on. Logins that need
// auth_query wait with the database that it asks. A PAUSE closes the pool, so
// Release begins with logins at the server. A pgbouncer that restarts forgets.
//
// Release sets server_login_retry to 0 before each RESUME, or clients would wait
// up to 15 s where a server failed before, and puts it back when they have
// servers. It sends RELOAD for that only if it finds a 0 that somebody left:
// RELOAD reads the config as it lies on the disk, whatever it is worth.
//
// Cut ends what a client waits for at a server that leads no more, in the
// mildest way that works: the kernel destroys the sockets (CAP_NET_ADMIN, and
// the network namespace of pgbouncer); KILL_CLIENT (1.24); query_timeout, if all
// databases lead to one place; KILL, which drops every client of a database. The
// last two also hurt clients that wait, so they are left to Release while
// traffic is held.
//
// A daemon of this package keeps a session per console open. It is an io.Closer
// for those who are done with it before their process ends; they release first.
//
// The caller gives the file that pgbouncer was started with as the first of the
// set, or names it in config_file if the set is only included from it. Relative
// paths in it count from its own directory: pgbouncer has to run there too.
package pgbouncer
