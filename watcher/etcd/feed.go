package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/pgbaton/pgbaton/watcher"
)

// feed reads a key, or all below a prefix, and then what changes from that revision
// on.
//
// The changes come over a stream of its own and not through the client's Watcher,
// which resumes a broken one by itself: at a server whose data was restored from a
// backup it would wait in silence for a revision that is still to come.
type feed struct {
	store  *Store
	client *clientv3.Client
	query  watcher.Query
	ctx    context.Context //nolint:containedctx // the stream's, which outlives one Next
	cancel context.CancelFunc

	pairs   []watcher.Pair // sorted by path; never changed, but replaced
	changes chan change    // nil until the first answer
}

// change is what a stream brought.
type change struct {
	events []*mvccpb.Event
	rev    int64
	err    error
}

// largest is how many bytes one message may have.
const largest = 64 << 20

// Next implements watcher.Feed.
func (f *feed) Next(ctx context.Context) (watcher.Answer, error) {
	if f.changes == nil {
		rev, err := f.read(ctx)
		if err == nil {
			err = f.follow(rev + 1)
		}
		if err != nil {
			return watcher.Answer{}, f.failed(err)
		}
		return f.answer(rev), nil
	}
	for {
		select {
		case <-ctx.Done():
			return watcher.Answer{}, context.Cause(ctx)
		case c := <-f.changes:
			if c.err != nil {
				return watcher.Answer{}, f.failed(c.err)
			}
			if len(c.events) > 0 {
				f.apply(c.events)
				return f.answer(c.rev), nil
			}
		}
	}
}

// Close implements watcher.Feed.
func (f *feed) Close() { f.cancel() }

// failed names the query, and drops the login if it may be at fault.
func (f *feed) failed(err error) error {
	if slices.ContainsFunc(ofLogin, func(target error) bool { return errors.Is(err, target) }) {
		f.store.forget(f.client)
	}
	return explain(fmt.Errorf("read %s: %w", f.query, err))
}

// ofLogin are what another login may mend: another password, other rights.
var ofLogin = []error{rpctypes.ErrAuthFailed, rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision, rpctypes.ErrPermissionDenied}

// read reads all of it, as the cluster has it now. Not through the client's KV, which
// waits for a connection and then does not say why there is none.
func (f *feed) read(ctx context.Context) (rev int64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, prompt, fmt.Errorf("no answer within %v", prompt))
	defer cancel()
	key, end := f.span()
	resp, err := etcdserverpb.NewKVClient(f.client.ActiveConnection()).Range(ctx, &etcdserverpb.RangeRequest{Key: key, RangeEnd: end}, grpc.MaxCallRecvMsgSize(largest))
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return 0, rpctypes.Error(err)
	}
	f.pairs = make([]watcher.Pair, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		f.pairs = append(f.pairs, f.pair(kv))
	}
	return resp.Header.Revision, nil
}

// span is the range of keys that is asked for.
func (f *feed) span() (key, end []byte) {
	if f.query.Kind == watcher.Key {
		return []byte(f.query.Path), nil
	}
	op := clientv3.OpGet(f.query.Path, clientv3.WithPrefix()) // of the empty one, all there is
	return op.KeyBytes(), op.RangeBytes()
}

// follow begins to watch for what changes from rev on.
func (f *feed) follow(rev int64) error {
	// A server that has lost the others is not to be believed that nothing changes.
	ctx := clientv3.WithRequireLeader(f.ctx)
	stream, err := etcdserverpb.NewWatchClient(f.client.ActiveConnection()).Watch(ctx, grpc.MaxCallRecvMsgSize(largest))
	if err != nil {
		return rpctypes.Error(err)
	}
	key, end := f.span()
	err = stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
		CreateRequest: &etcdserverpb.WatchCreateRequest{Key: key, RangeEnd: end, StartRevision: rev},
	}})
	if err != nil {
		return rpctypes.Error(err)
	}
	f.changes = make(chan change)
	go f.receive(stream)
	return nil
}

// receive hands on what a stream brings, until it breaks or the feed is closed.
func (f *feed) receive(stream etcdserverpb.Watch_WatchClient) {
	for {
		resp, err := stream.Recv()
		c := change{}
		switch {
		case err != nil:
			c.err = rpctypes.Error(err)
		case resp.CompactRevision > 0:
			c.err = rpctypes.ErrCompacted
		case resp.Canceled:
			c.err = fmt.Errorf("etcd ends the watch: %s", resp.CancelReason)
			if strings.Contains(resp.CancelReason, "permission denied") {
				c.err = rpctypes.ErrPermissionDenied
			}
		default:
			c.events, c.rev = resp.Events, resp.Header.Revision
		}
		select {
		case f.changes <- c:
		case <-f.ctx.Done():
			return
		}
		if c.err != nil {
			return
		}
	}
}

// apply takes changes up.
func (f *feed) apply(events []*mvccpb.Event) {
	f.pairs = slices.Clone(f.pairs)
	for _, e := range events {
		at, there := slices.BinarySearchFunc(f.pairs, string(e.Kv.Key), func(p watcher.Pair, path string) int { return strings.Compare(p.Path, path) })
		switch {
		case e.Type == mvccpb.DELETE && there:
			f.pairs = slices.Delete(f.pairs, at, at+1)
		case e.Type == mvccpb.DELETE:
		case there:
			f.pairs[at] = f.pair(e.Kv)
		default:
			f.pairs = slices.Insert(f.pairs, at, f.pair(e.Kv))
		}
	}
}

// answer is what is there at a revision.
func (f *feed) answer(rev int64) watcher.Answer {
	a := watcher.Answer{Presence: watcher.Present, Rev: uint64(max(rev, 1))} //nolint:gosec // it is positive
	switch {
	case f.query.Kind == watcher.Prefix:
		a.Value = f.pairs
	case len(f.pairs) == 0:
		a.Presence = watcher.Absent
	default:
		a.Value = f.pairs[0]
	}
	return a
}

func (f *feed) pair(kv *mvccpb.KeyValue) watcher.Pair {
	p := watcher.Pair{
		Path: string(kv.Key), Key: string(kv.Key), Value: string(kv.Value),
		CreateIndex: uint64(kv.CreateRevision), ModifyIndex: uint64(kv.ModRevision), //nolint:gosec // they are positive
	}
	if f.query.Kind == watcher.Prefix {
		p.Key = strings.TrimLeft(strings.TrimPrefix(p.Path, f.query.Path), "/")
	}
	if kv.Lease != 0 {
		p.Session = strconv.FormatInt(kv.Lease, 16)
	}
	return p
}
