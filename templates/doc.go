// Package templates holds the built-in templates, which a config names as
// "builtin:pgbouncer.ini".
//
// Each template promises: its result is complete and accepted by the daemon
// for any cluster that has a leader, with or without replicas, also for one
// that follows another cluster; names of databases, servers and proxies stay
// the same whoever leads; no text from the store can begin a directive of its
// own; members come in the order of their names, so that an unchanged cluster
// is an unchanged file.
//
// Each var is declared once, at the top, under a comment of the form
//
//	{{- /* NAME (KIND, DEFAULT): what it means. */ -}}
//
// from which the documentation is made. A text or list that holds a line break
// is refused, as it could begin a directive by accident; only what is there to
// hold whole lines may (extra of the two for HAProxy and of keepalived.conf).
package templates
