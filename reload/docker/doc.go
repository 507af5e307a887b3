// Package docker makes a daemon in a container follow by a signal to it, sent
// through the Docker engine.
//
// The engine answers that it sent the signal, and nobody is asked whether the
// daemon follows; so the mark says no more. It checks nothing: add a check
// command for that.
//
// Whoever may write to the engine's socket is as good as root on its host.
// Where pgbaton shares a directory with the daemon, its admin console or its
// master socket is the safer way.
//
// The caller mounts the directory of the files into the container, not the
// files: a mounted file goes on showing the old content after a rename.
package docker
