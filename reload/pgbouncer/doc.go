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
// The caller gives the file that pgbouncer was started with as the first of the
// set, or names it in config_file if the set is only included from it. Relative
// paths in it count from its own directory: pgbouncer has to run there too.
package pgbouncer
