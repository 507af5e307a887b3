// Package signal makes any daemon follow by a signal to the process that its
// PID file names.
//
// It checks nothing: add a check command for that. A signal is not answered, so
// a mark never says more than that it was sent.
//
// Follow signals nobody whom it does not take for the daemon: not process 1, not
// pgbaton itself, not a process of another name than the one in process. Without
// that setting, a PID file that is much older than its process counts as left
// behind by one that is gone. The process is held while it is looked at, so that
// the signal cannot reach another one that got its number.
package signal
