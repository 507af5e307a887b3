package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
)

// Store answers queries from one Consul agent.
type Store struct {
	client *api.Client
	budget int           // how many queries may wait at the same time; 0 is no limit
	wait   time.Duration // how long a query that sees no change may be held
	prompt time.Duration // how long an answer that need not wait may take
	token  *tokenFile    // nil if the token is another one
	idle   func()        // closes idle connections
}

// Close lets go of idle connections: the agent counts them.
func (s *Store) Close() error {
	s.idle()
	return nil
}

// Budget implements watcher.Limited.
func (s *Store) Budget() int { return s.budget }

// Fetch implements watcher.Store.
func (s *Store) Fetch(ctx context.Context, q watcher.Query, after uint64) (watcher.Answer, error) {
	fetch := map[watcher.Kind]func(watcher.Query, *api.QueryOptions) (any, *api.QueryMeta, error){
		watcher.Key:         s.key,
		watcher.Prefix:      s.prefix,
		watcher.Service:     s.service,
		watcher.Services:    s.services,
		watcher.Node:        s.node,
		watcher.Nodes:       s.nodes,
		watcher.Datacenters: s.datacenters,
		watcher.Connect:     s.connect,
		watcher.Partitions:  s.partitions,
		watcher.Peerings:    s.peerings,
		watcher.Exported:    s.exported,
		watcher.Imported:    s.imported,
		watcher.CARoots:     s.caRoots,
		watcher.CALeaf:      s.caLeaf,
	}[q.Kind]
	if fetch == nil {
		return watcher.Answer{}, fmt.Errorf("consul has no %s queries", q.Kind)
	}
	opts := &api.QueryOptions{
		Datacenter: q.Options.Datacenter,
		Namespace:  q.Options.Namespace,
		Partition:  q.Options.Partition,
		Peer:       q.Options.Peer,

		SamenessGroup: q.Options.Sameness,
		Near:          q.Options.Near,
		Filter:        q.Options.Filter,
		WaitIndex:     after,
		WaitTime:      s.wait,
	}
	if s.token != nil {
		opts.Token = s.token.current()
	}
	// A peer may accept and never answer: an agent that is stopped, a proxy
	// whose backend is gone.
	patience := s.prompt
	if after != 0 {
		patience += s.wait + s.wait/16
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer within %v", patience))
	defer cancel()
	value, meta, err := fetch(q, opts.WithContext(ctx))
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = context.Cause(ctx)
	}
	if err != nil {
		return watcher.Answer{}, explain(q, err)
	}
	answer := watcher.Answer{Presence: watcher.Present, Value: value, Rev: 1}
	if meta != nil {
		if err := believed(q, after, meta); err != nil {
			return watcher.Answer{}, fmt.Errorf("read %s: %w", q, err)
		}
		// A prefix that never held a key has index 0, on which nothing blocks.
		answer.Rev = max(meta.LastIndex, 1)
		answer.Partial = meta.ResultsFilteredByACLs
		if answer.Partial && empty(value) {
			return watcher.Answer{}, hint.Wrap(fmt.Errorf("read %s: everything was filtered by ACLs", q),
				"give the token read rights for it")
		}
	}
	if value == nil {
		answer.Presence = watcher.Absent
	}
	return answer, nil
}

func empty(value any) bool {
	v := reflect.ValueOf(value)
	return !v.IsValid() || (v.Kind() == reflect.Slice && v.Len() == 0)
}

// explain names the query and says what the usual failures mean.
func explain(q watcher.Query, err error) error {
	err = fmt.Errorf("read %s: %w", q, err)
	var status api.StatusError
	if !errors.As(err, &status) {
		return err
	}
	switch status.Code {
	case http.StatusForbidden:
		return hint.Wrap(denied{err}, "the ACL token may not read it")
	case http.StatusTooManyRequests:
		return hint.Wrap(err, "lower max_connections in the consul block, or raise limits.http_max_conns_per_client of the Consul agent")
	}
	return err
}

// denied is an error that is watcher.ErrDenied too, and says nothing more.
type denied struct{ error }

func (d denied) Unwrap() error        { return d.error }
func (d denied) Is(target error) bool { return target == watcher.ErrDenied }

func (s *Store) key(q watcher.Query, opts *api.QueryOptions) (any, *api.QueryMeta, error) {
	pair, meta, err := s.client.KV().Get(strings.TrimPrefix(q.Path, "/"), opts)
	if err != nil || pair == nil {
		return nil, meta, err
	}
	return toPair(pair, ""), meta, nil
}

func (s *Store) prefix(q watcher.Query, opts *api.QueryOptions) (any, *api.QueryMeta, error) {
	prefix := strings.TrimPrefix(q.Path, "/")
	list, meta, err := s.client.KV().List(prefix, opts)
	if err = errors.Join(err, whole(list)); err != nil {
		return nil, meta, err
	}
	pairs := make([]watcher.Pair, 0, len(list))
	for _, p := range list {
		pairs = append(pairs, toPair(p, prefix))
	}
	return pairs, meta, nil
}

func toPair(p *api.KVPair, prefix string) watcher.Pair {
	return watcher.Pair{
		Path: p.Key, Key: strings.TrimLeft(strings.TrimPrefix(p.Key, prefix), "/"), Value: string(p.Value),
		CreateIndex: p.CreateIndex, ModifyIndex: p.ModifyIndex, LockIndex: p.LockIndex,
		Flags: p.Flags, Session: p.Session,
	}
}

func (s *Store) datacenters(_ watcher.Query, opts *api.QueryOptions) (any, *api.QueryMeta, error) {
	if err := unhurried(opts); err != nil {
		return nil, nil, err
	}
	names, err := s.client.Catalog().Datacenters()
	if err != nil {
		return nil, nil, err
	}
	slices.Sort(names)
	return names, nil, nil
}

const defaultPrompt = 10 * time.Second
