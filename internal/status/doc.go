// Package status is what a running pgbaton is doing, as one value: what the verb
// status, the status listener and systemd's status line show is made from it, and
// from nothing else. It knows no other package of pgbaton's: whoever runs one fills it.
//
// It is a stable format, as JSON. Within one Version fields are only added, and no
// field changes its meaning; words (of State, Phase, Kind and so on) may be added,
// and whoever reads them treats an unknown one as one that is not well. A field that
// is left out says nothing: there is no such thing, or it is not known. Lists are
// never null. Times are UTC, in RFC 3339; sizes are bytes.
//
// The value holds no token, no password and no content of a file. The words of
// others (a check, a daemon, a store, a template's error) may quote such a thing:
// they are in Words alone, and Public has none of them.
package status
