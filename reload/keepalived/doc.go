// Package keepalived makes keepalived follow its config.
//
// Check is `keepalived -t` on the staged main file. keepalived finds nothing to
// say about a file that it does not read, and to it an empty file is a config
// without addresses: a reload then drops the virtual ones. So Check refuses by
// itself a set without any instance or virtual server, a file with an exec bit,
// which keepalived takes for no config at all, and a tracked file that holds no
// number. An include of an executable, or of nothing, is refused too, though
// keepalived tests it with success.
//
// The test opens the interfaces that the config names, so pgbaton has to run in
// keepalived's network namespace.
//
// Follow sends SIGHUP to the process of the PID file and looks for a moment
// whether it lives on: some configs, such as a virtual_router_id out of range,
// make keepalived end and leave its addresses behind. So the files are checked
// once more right before the signal, as they lie there: an interface may have
// gone since. There is nobody to ask whether keepalived follows, so the mark
// says that it was sent.
//
// A file that a track_file of the config names is watched by keepalived, which
// sees it replaced. Where nothing else changed since the same process was told
// to read the rest, which the mark's State knows, there is no reload.
//
// The caller's files: the first is keepalived's main file. Files that it
// includes are read where the config says, which is what is in place, not what
// is staged.
package keepalived
