package servertest

import (
	"fmt"
	"testing"

	"github.com/hashicorp/consul/api"
)

// DCS is a store that a Patroni can keep its keys in. Paths of keys begin with a
// slash where the store has one.
type DCS interface {
	Put(t testing.TB, key, value string)
	Delete(t testing.TB, key string)
	Lookup(key string) (value string, found bool, err error)
	Root() string            // what paths begin with
	Patroni() map[string]any // its section of Patroni's config
	Block() string           // its block of pgbaton's
}

// Lookup reads a key.
func (s *ConsulServer) Lookup(key string) (value string, found bool, err error) {
	pair, _, err := s.Client.KV().Get(key, &api.QueryOptions{})
	if err != nil || pair == nil {
		return "", false, err
	}
	return string(pair.Value), true, nil
}

// Root implements DCS.
func (s *ConsulServer) Root() string { return "" }

// Patroni implements DCS.
func (s *ConsulServer) Patroni() map[string]any {
	return map[string]any{"consul": map[string]any{"host": s.Addr}}
}

// Block implements DCS.
func (s *ConsulServer) Block() string { return fmt.Sprintf("consul {\n  address = %q\n}\n", s.Addr) }
