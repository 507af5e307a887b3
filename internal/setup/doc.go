// Package setup makes a first config of what a machine has already: Patroni's own
// config, those of pgbouncer, HAProxy and keepalived, and the programs that run.
//
// Every setting that it writes says where it comes from: it was asked for, found, or
// guessed. Passwords and tokens are never copied: the config names files that are to
// hold them, and Config.Todo says which are still to be written. It reads, and writes
// nothing.
package setup
