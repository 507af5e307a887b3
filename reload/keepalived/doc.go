// Package keepalived makes keepalived follow its config.
//
// Check is `keepalived -t` on the staged main file. keepalived finds nothing to
// say about a file that it does not read, and to it an empty file is a config
// without addresses: a reload then drops the virtual ones. So Check refuses by
// itself a file without a word of config, and one with an exec bit in its mode,
// which keepalived takes for no config at all. An include that matches nothing
// is refused too, though keepalived tests it with success.
//
// The test opens the interfaces that the config names, so pgbaton has to run in
// keepalived's network namespace.
//
// Follow sends SIGHUP to the process of the PID file and looks for a moment
// whether it lives on: some configs, such as a virtual_router_id out of range,
// make keepalived end and leave its addresses behind. There is nobody to ask
// whether it follows, so the mark says that it was sent. Where an address only
// has to move, a track_file whose content changes does so without a reload.
//
// The caller's files: the first is keepalived's main file. Files that it
// includes are read where the config says, which is what is in place, not what
// is staged.
package keepalived
