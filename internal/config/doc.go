// Package config reads pgbaton's config: HCL, native or JSON, into plain
// structs. It is strict, and it reports every mistake at once, each with its
// place, the offending line and a hint.
//
// It knows no store and no daemon: each kind brings a settings struct of its
// own, through Kinds.
package config
