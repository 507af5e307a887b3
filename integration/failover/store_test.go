//go:build bench

package failover

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// store is where the Patroni nodes keep their keys.
type store interface {
	servertest.DCS
	version() []string // the command that tells it
	// watch tells what a key holds, "" for nothing, each time that it may be another,
	// until ctx ends.
	watch(ctx context.Context, key string, tell func(value string, at time.Time))
}

// stores are those that FAILOVER's store names, by what they are called.
var stores = map[string]struct {
	title string
	start func(t *testing.T) store
}{
	"consul": {"Consul", func(t *testing.T) store { return inConsul{servertest.Consul(t)} }},
	"etcd":   {"etcd", func(t *testing.T) store { return inEtcd{servertest.Etcd(t, 3)} }},
}

type inConsul struct{ *servertest.ConsulServer }

func (s inConsul) version() []string { return []string{s.Program(), "version"} }

func (s inConsul) watch(ctx context.Context, key string, tell func(string, time.Time)) {
	var index uint64
	for ctx.Err() == nil {
		pair, meta, err := s.Client.KV().Get(key, (&api.QueryOptions{WaitIndex: index, WaitTime: time.Minute}).WithContext(ctx))
		if err != nil {
			pause(ctx, askEvery)
			continue
		}
		at := time.Now()
		index = meta.LastIndex
		if pair == nil {
			pair = &api.KVPair{}
		}
		tell(string(pair.Value), at)
	}
}

type inEtcd struct{ *servertest.EtcdCluster }

func (s inEtcd) version() []string { return []string{"etcd", "--version"} }

func (s inEtcd) watch(ctx context.Context, key string, tell func(string, time.Time)) {
	for now, found, err := s.Lookup(key); ; now, found, err = s.Lookup(key) {
		if err == nil && found {
			tell(now, time.Now())
		}
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	for changes := range s.Client.Watch(clientv3.WithRequireLeader(ctx), key) {
		at := time.Now()
		for _, e := range changes.Events {
			tell(string(e.Kv.Value), at) // of one that is deleted it is empty
		}
	}
}
