package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pgbaton/pgbaton/internal/dial"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
)

// Store answers queries from one etcd cluster.
type Store struct {
	endpoints []string
	user      string
	password  func() (string, error)
	tls       *tls.Config // nil is plain

	mu     sync.Mutex
	client *clientv3.Client // nil until it is needed
}

// How long things may take.
const (
	connect = 2 * time.Second // a connection, and the login over it
	prompt  = 5 * time.Second // an answer that need not wait
	// A server that is there and says nothing is given up after the sum of both. gRPC asks
	// no more often; one that is gone is found by its connection, long before.
	askAfter, answersWithin = 10 * time.Second, 2 * time.Second
)

// Root is what the keys of those begin with who think of them as paths, as Patroni.
func (s *Store) Root() string { return "/" }

// Close ends the connections.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil
	}
	err := s.client.Close()
	s.client = nil
	return err
}

// connected returns the client. With a user it logs in first, which takes a server.
func (s *Store) connected(ctx context.Context) (*clientv3.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	password, err := s.password()
	if err != nil {
		return nil, err
	}
	s.client, err = clientv3.New(clientv3.Config{
		Endpoints: s.endpoints, TLS: s.tls, Username: s.user, Password: password,
		// Not without a stream: a server takes that for an attack, and ends the connection.
		DialTimeout: connect, DialKeepAliveTime: askAfter, DialKeepAliveTimeout: answersWithin,
		Logger: zap.NewNop(), // what it has to say comes as errors too
		// One more, for a token that has expired. Else it is the watcher that tries again.
		MaxUnaryRetries: 2,
		DialOptions: []grpc.DialOption{
			grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
				return dial.Prompt().DialContext(ctx, "tcp", address)
			}),
			// gRPC's own would wait for two minutes before it tries a server again.
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
				MinConnectTimeout: connect,
			}),
		},
	})
	if err != nil {
		s.client = nil
		if errors.Is(err, context.DeadlineExceeded) {
			err = errors.Join(err, s.reach(ctx))
		}
		return nil, explain(fmt.Errorf("log in to etcd: %w", err))
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return s.client, nil
}

// reach says why no server can be connected to, which a login that took too long does not;
// nil if one can.
func (s *Store) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connect)
	defer cancel()
	var errs []error
	for _, e := range s.endpoints {
		_, address, named := strings.Cut(e, "://")
		if !named {
			address = e
		}
		conn, err := dial.Prompt().DialContext(ctx, "tcp", address)
		if err == nil && s.tls != nil {
			conf := s.tls.Clone()
			if conf.ServerName == "" {
				conf.ServerName, _, _ = net.SplitHostPort(address)
			}
			err = tls.Client(conn, conf).HandshakeContext(ctx)
		}
		if conn != nil {
			_ = conn.Close()
		}
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", address, err))
	}
	return errors.Join(errs...)
}

// forget has the next query log in anew: a user's password or rights may be others by then.
func (s *Store) forget(client *clientv3.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == client && s.user != "" {
		_ = client.Close()
		s.client = nil
	}
}

// Fetch implements watcher.Store.
func (s *Store) Fetch(ctx context.Context, q watcher.Query, after uint64) (watcher.Answer, error) {
	return watcher.FetchOnce(ctx, s, q, after)
}

// Open implements watcher.Feeder.
func (s *Store) Open(ctx context.Context, q watcher.Query) (watcher.Feed, error) {
	if q.Kind != watcher.Key && q.Kind != watcher.Prefix {
		return nil, hint.Wrap(fmt.Errorf("etcd has no %s queries", q.Kind), "etcd holds keys alone: a catalog of services is Consul's")
	}
	client, err := s.connected(ctx)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", q, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	return &feed{store: s, client: client, query: q, ctx: ctx, cancel: cancel}, nil
}

// explain says what the usual failures mean.
func explain(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrGRPCPermissionDenied), status.Code(err) == codes.PermissionDenied:
		return hint.Wrap(denied{err}, "grant the user's role read rights for it: etcdctl role grant-permission ROLE read --prefix KEY")
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return hint.Wrap(err, "correct user and password in the etcd block")
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return hint.Wrap(err, "this etcd wants a user: set user and password_file in the etcd block")
	}
	return err
}

// denied is an error that is watcher.ErrDenied too, and says nothing more.
type denied struct{ error }

func (d denied) Unwrap() error        { return d.error }
func (d denied) Is(target error) bool { return target == watcher.ErrDenied }
