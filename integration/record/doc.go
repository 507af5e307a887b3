// Package record writes down what a real Patroni keeps in a real Consul, state
// by state, as test data for the decoders. `make record` runs it; its files are
// committed, so that the decoders' tests need no server.
package record
