package zookeeper

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgbaton/pgbaton/internal/dial"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
)

// Store answers queries from one ensemble. All of them share one session.
type Store struct {
	hosts    []string // host:port
	chroot   string   // "" is the root
	user     string
	password func() (string, error)
	tls      *tls.Config // nil is plain

	ctx     context.Context //nolint:containedctx // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu   sync.Mutex
	turn int      // of which host it is
	last *attempt // nil until a session is needed
}

// attempt is one to begin a session, with any of the hosts.
type attempt struct {
	done chan struct{} // closed once the rest is set

	session *session // nil if there is none
	err     error
	ended   time.Time
}

// How long things may take.
const (
	connect = 2 * time.Second // a connection to one host, and a session over it
	prompt  = 5 * time.Second // an answer
	pause   = 100 * time.Millisecond
)

// Root is what the keys of those begin with who think of them as paths, as Patroni.
func (s *Store) Root() string { return "/" }

// Close ends the session.
func (s *Store) Close() error {
	s.cancel()
	s.mu.Lock()
	s.mu.Unlock() //nolint:staticcheck // a barrier: nothing is begun after it
	s.running.Wait()
	return nil
}

// Fetch implements watcher.Store.
func (s *Store) Fetch(ctx context.Context, q watcher.Query, after uint64) (watcher.Answer, error) {
	return watcher.FetchOnce(ctx, s, q, after)
}

// Open implements watcher.Feeder.
func (s *Store) Open(_ context.Context, q watcher.Query) (watcher.Feed, error) {
	if q.Kind != watcher.Key && q.Kind != watcher.Prefix {
		return nil, hint.Wrap(fmt.Errorf("zookeeper has no %s queries", q.Kind), "zookeeper holds keys alone: a catalog of services is Consul's")
	}
	return newFeed(s, q), nil
}

// session returns the one that there is, or begins one. Whoever else needs one meanwhile
// waits for the same.
func (s *Store) session(ctx context.Context) (*session, error) {
	s.mu.Lock()
	if s.ctx.Err() != nil {
		s.mu.Unlock()
		return nil, errClosed
	}
	if s.last == nil || s.last.over() {
		s.last = &attempt{done: make(chan struct{})}
		a := s.last
		s.running.Go(func() { s.try(a) })
	}
	a := s.last
	s.mu.Unlock()
	select {
	case <-a.done:
		return a.session, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

var errClosed = errors.New("zookeeper: the store is closed")

// over says whether it is time for another one. Of hundreds who were let down, not each
// tries it at once.
func (a *attempt) over() bool {
	select {
	case <-a.done:
	default:
		return false
	}
	if a.err != nil {
		return time.Since(a.ended) > pause
	}
	return a.session.why() != nil
}

// try asks one host after the other. The one that the last session was with comes last.
func (s *Store) try(a *attempt) {
	defer close(a.done)
	failed := map[string]string{}
	for range s.hosts {
		s.turn = (s.turn + 1) % len(s.hosts)
		host := s.hosts[s.turn]
		session, err := s.begin(host)
		if err == nil {
			a.session = session
			return
		}
		failed[host] = fmt.Sprintf("%s: %v", host, err)
	}
	var all []string // in the order of the config: the same text each time
	for _, host := range s.hosts {
		all = append(all, failed[host])
	}
	a.err = hint.Wrap(fmt.Errorf("no session: %s", strings.Join(slices.Compact(all), "; ")), "`echo srvr | nc HOST PORT` says whether a server serves; hosts are in the zookeeper block")
	a.ended = time.Now()
}

// begin begins a session with one host.
func (s *Store) begin(host string) (*session, error) {
	ctx, cancel := context.WithTimeoutCause(s.ctx, connect, fmt.Errorf("no session within %v", connect))
	defer cancel()
	conn, err := s.dial(ctx, host)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, plain(err)
	}
	session, err := newSession(host, conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	s.running.Go(func() { session.keep(s.ctx) })
	select {
	case <-session.ready:
		return session, nil
	case <-session.lost:
	case <-ctx.Done():
		session.end(context.Cause(ctx))
	}
	return nil, session.why()
}

func (s *Store) dial(ctx context.Context, host string) (net.Conn, error) {
	if s.tls == nil {
		return dial.Prompt().DialContext(ctx, "tcp", host)
	}
	return (&tls.Dialer{NetDialer: dial.Prompt(), Config: s.tls}).DialContext(ctx, "tcp", host)
}

// login tells the session who we are. Passwords add up: one that is new counts beside
// those of before.
func (s *Store) login(ctx context.Context, session *session) error {
	if s.user == "" {
		return nil
	}
	password, err := s.password()
	if err != nil {
		return err
	}
	return session.login(ctx, s.user+":"+password)
}

// explain says what the usual failures mean.
func (s *Store) explain(err error) error {
	switch {
	case errors.Is(err, zk.ErrNoAuth) && s.user == "":
		return hint.Wrap(denied{err}, "its ACL wants somebody: for an entry of digest set user and password_file in the zookeeper block, for one of x509 a certificate in its ssl")
	case errors.Is(err, zk.ErrNoAuth):
		return hint.Wrap(denied{err}, "give the user a digest entry with r in its ACL, or correct the password: ZooKeeper does not say that one is wrong; getAcl of zkCli shows the ACL")
	case errors.Is(err, zk.ErrInvalidPath):
		return hint.Wrap(err, "a znode's path is names with one slash between them, none of them . or .., and none at the end")
	}
	return err
}

// denied is an error that is watcher.ErrDenied too, and says nothing more.
type denied struct{ error }

func (d denied) Unwrap() error        { return d.error }
func (d denied) Is(target error) bool { return target == watcher.ErrDenied }

// plain is an error without the addresses of its connection: the same for all that it
// is the cause of.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
