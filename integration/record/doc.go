// Package record writes down what a real Patroni keeps in a real Consul, state
// by state, as test data for the decoders. `make record` runs it; its files are
// committed, so that the decoders' tests need no server. To look at one scene
// before it replaces anything:
//
//	go test -tags record -v ./integration/record -run '/^flap$' -into DIR
package record
