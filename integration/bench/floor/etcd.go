package main

import (
	"context"
	"path/filepath"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// inEtcd watches each key with the client's own watch.
func inEtcd(at string, scopes []string, dir string, pid int) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{at}, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(context.Background())
	for _, scope := range scopes {
		g.Go(func() error {
			key, destination := "/service/"+scope+"/leader", filepath.Join(dir, scope)
			now, err := client.Get(ctx, key)
			if err != nil {
				return err
			}
			last := ""
			seen := func(value []byte) error {
				if string(value) == last {
					return nil
				}
				last = string(value)
				return swap(destination, last, pid)
			}
			for _, kv := range now.Kvs {
				if err := seen(kv.Value); err != nil {
					return err
				}
			}
			for changes := range client.Watch(ctx, key, clientv3.WithRev(now.Header.Revision+1)) {
				for _, e := range changes.Events {
					if e.Type != mvccpb.PUT {
						continue
					}
					if err := seen(e.Kv.Value); err != nil {
						return err
					}
				}
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}
