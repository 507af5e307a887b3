// Package chaos breaks pgbaton and what it depends on in every way that it has to
// survive, on purpose.
//
// Its tests run each fault as often as takes seconds. `make chaos` runs them all
// at length, together with the faults that are injected in other packages, and
// writes what held into docs/reliability.md.
package chaos
