// Package exec makes a daemon follow by running a command.
//
// The command's exit code is its word: 0 means that the daemon follows. Whatever
// it leaves running after that is its own affair, but one that fails or takes
// longer than its time limit is killed with all that it started. It is run again
// after a failure, and after a restart of pgbaton whose record was lost, so it
// has to be safe to repeat.
//
// It checks nothing: add a check command for that.
package exec
