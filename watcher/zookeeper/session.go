package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// session is one with one server, over one connection. It ends with that, and another
// one is begun: nothing hangs on it but watches, and what is watched is read again then.
// The library would go on with it at another server, in silence; and for ever try to, at
// one that has less than it has seen, as after a restore from a backup.
type session struct {
	host   string
	client *zk.Conn
	wire   *wire
	ready  chan struct{} // closed once it has begun
	lost   chan struct{} // closed once it has ended
	slots  chan struct{} // as many as calls may be under way

	begun sync.Once
	mu    sync.Mutex
	err   error                         // why it ended
	feeds map[string]map[*feed]struct{} // by the znode that each begins at
	// Watches fire once, and for all. The library keeps a channel for each that it is
	// asked for, until that one fires: so what is watched already is not asked for again.
	watches map[spot]*watch
	logins  map[string]struct{}
}

// spot is what a watch is on.
type spot struct {
	path string
	kids bool // the names below it; else its data, or that it is there
}

// watch is one that was asked for.
type watch struct{ set bool } // set: the server has it; it may have fired since

const (
	underWay  = 64              // calls at a time: a thousand feeds that begin at once are no reason to doubt the server
	timeout   = 6 * time.Second // of the session; a server that says nothing for two thirds of it is given up
	pulse     = 2 * time.Second // how often it is seen that the server still hears its leader
	pulseWait = 3 * time.Second
	politely  = 500 * time.Millisecond // the time to say goodbye
)

// newSession begins a session over a connection.
func newSession(host string, conn net.Conn) (*session, error) {
	s := &session{
		host: host, wire: &wire{Conn: conn}, ready: make(chan struct{}), lost: make(chan struct{}), slots: make(chan struct{}, underWay),
		feeds: map[string]map[*feed]struct{}{}, watches: map[spot]*watch{}, logins: map[string]struct{}{},
	}
	first := make(chan net.Conn, 1)
	first <- s.wire
	var err error
	s.client, _, err = zk.Connect([]string{host}, timeout,
		zk.WithHostProvider(&only{host: host}), zk.WithLogger(silent{}), zk.WithLogInfo(false), zk.WithMaxBufferSize(largest), zk.WithMaxConnBufferSize(64<<10),
		zk.WithEventCallback(s.event),
		zk.WithDialer(func(string, string, time.Duration) (net.Conn, error) {
			select {
			case conn := <-first:
				return conn, nil
			default:
				return nil, net.ErrClosed
			}
		}))
	return s, err
}

// only is a zk.HostProvider of one host. When that is wanted again the library is to take a
// rest, in which it hears that it is over.
type only struct {
	host  string
	asked bool
}

func (o *only) Init([]string) error { return nil }
func (o *only) Len() int            { return 1 }
func (o *only) Connected()          {}

func (o *only) Next() (host string, again bool) {
	again = o.asked
	o.asked = true
	return o.host, again
}

// silent logs nothing: what the library has to say comes as errors too.
type silent struct{}

func (silent) Printf(string, ...any) {}

// keep looks after the session until it ends, or ctx does.
func (s *session) keep(ctx context.Context) {
	beat := time.NewTicker(pulse)
	defer beat.Stop()
	for s.why() == nil {
		select {
		case <-ctx.Done():
			s.end(errClosed)
			bye := time.AfterFunc(politely, func() { _ = s.wire.Close() })
			s.client.Close()
			bye.Stop()
		case <-s.lost:
		case <-beat.C:
			// A server that has lost the others goes on to answer what it is asked.
			limited, cancel := context.WithTimeoutCause(ctx, pulseWait, fmt.Errorf("%s: its leader does not answer it", s.host))
			_, err := callNow(limited, s, func() (string, error) { return s.client.Sync("/") })
			cancel()
			if err != nil && ctx.Err() == nil {
				s.end(err)
			}
		}
	}
	_ = s.wire.Close()
	s.client.Close()
}

// end ends the session, unless it has ended.
func (s *session) end(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = why
		close(s.lost)
	}
}

// why is why it ended; nil if it has not.
func (s *session) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// event is called by the library, in the order in which things came over the connection:
// a watch that has fired is told before the answer to any later read.
func (s *session) event(e zk.Event) {
	switch e.Type {
	case zk.EventSession:
		switch e.State {
		case zk.StateHasSession:
			s.begun.Do(func() { close(s.ready) })
		case zk.StateDisconnected, zk.StateExpired:
			s.disconnected()
		}
	case zk.EventNodeCreated, zk.EventNodeDataChanged:
		s.fired(spot{path: e.Path})
	case zk.EventNodeChildrenChanged:
		s.fired(spot{e.Path, true})
	case zk.EventNodeDeleted:
		s.fired(spot{path: e.Path}, spot{e.Path, true})
	}
}

func (s *session) disconnected() {
	select {
	case <-s.ready:
		s.end(fmt.Errorf("%s: %w", s.host, s.wire.ended()))
	default:
		s.end(fmt.Errorf("no session: %w: it has no quorum, or enough clients (maxClientCnxns)", s.wire.ended()))
	}
}

// fired tells all feeds whose it is that something has changed.
func (s *session) fired(spots ...spot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range spots {
		delete(s.watches, at)
	}
	for at := spots[0].path; ; at = path.Dir(at) {
		for f := range s.feeds[at] {
			f.stir(spots...)
		}
		if at == "/" || at == "." {
			return
		}
	}
}

// join has a feed told what changes at its znode, and below.
func (s *session) join(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.feeds[f.root] == nil {
		s.feeds[f.root] = map[*feed]struct{}{}
	}
	s.feeds[f.root][f] = struct{}{}
}

func (s *session) leave(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.feeds[f.root], f)
	if len(s.feeds[f.root]) == 0 {
		delete(s.feeds, f.root)
	}
}

// read reads a spot, by with if the read has to set a watch, else by without. A watch
// that is set by now will tell of what changes after the read as well. One that is still
// being set may be behind this read.
func read[T any](ctx context.Context, s *session, at spot, with, without func() (T, error)) (T, error) {
	return call(ctx, s, func() (T, error) {
		s.mu.Lock()
		if w := s.watches[at]; w != nil && w.set {
			s.mu.Unlock()
			return without()
		}
		w := &watch{}
		s.watches[at] = w
		s.mu.Unlock()
		value, err := with()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.watches[at] == w { // it has not fired
			if w.set = err == nil; !w.set {
				delete(s.watches, at)
			}
		}
		return value, err
	})
}

// content is what a znode holds.
type content struct {
	data []byte
	stat *zk.Stat
}

func (s *session) get(ctx context.Context, path string) (content, error) {
	return read(ctx, s, spot{path: path}, func() (content, error) {
		data, stat, _, err := s.client.GetW(path)
		return content{data, stat}, err
	}, func() (content, error) {
		data, stat, err := s.client.Get(path)
		return content{data, stat}, err
	})
}

// exists is for a znode that is not there: its watch tells when it is.
func (s *session) exists(ctx context.Context, path string) (bool, error) {
	return read(ctx, s, spot{path: path}, func() (bool, error) {
		there, _, _, err := s.client.ExistsW(path)
		return there, err
	}, func() (bool, error) {
		there, _, err := s.client.Exists(path)
		return there, err
	})
}

// listing is what is below a znode.
type listing struct {
	names []string
	stat  *zk.Stat
}

func (s *session) children(ctx context.Context, path string) (listing, error) {
	return read(ctx, s, spot{path, true}, func() (listing, error) {
		names, stat, _, err := s.client.ChildrenW(path)
		return listing{names, stat}, err
	}, func() (listing, error) {
		names, stat, err := s.client.Children(path)
		return listing{names, stat}, err
	})
}

// sync returns once the server has all that its leader had when it was asked.
func (s *session) sync(ctx context.Context, path string) error {
	_, err := call(ctx, s, func() (string, error) { return s.client.Sync(path) })
	return err
}

func (s *session) login(ctx context.Context, who string) error {
	s.mu.Lock()
	_, known := s.logins[who]
	s.mu.Unlock()
	if known {
		return nil
	}
	_, err := call(ctx, s, func() (struct{}, error) { return struct{}{}, s.client.AddAuth("digest", []byte(who)) })
	if err == nil {
		s.mu.Lock()
		s.logins[who] = struct{}{}
		s.mu.Unlock()
	}
	return err
}

// call asks the server something, once it is its turn.
func call[T any](ctx context.Context, s *session, do func() (T, error)) (T, error) {
	var none T
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
		return callNow(ctx, s, do)
	case <-s.lost:
		return none, s.why()
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// callNow asks the server something. The library's calls know no context; one that is
// given up ends with the session at the latest.
func callNow[T any](ctx context.Context, s *session, do func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := do()
		done <- outcome{value, err}
	}()
	limit := time.NewTimer(prompt)
	defer limit.Stop()
	var none T
	select {
	case o := <-done:
		if errors.Is(o.err, zk.ErrConnectionClosed) || errors.Is(o.err, zk.ErrNoServer) || errors.Is(o.err, zk.ErrClosing) || errors.Is(o.err, zk.ErrSessionExpired) {
			s.end(fmt.Errorf("%s: %w", s.host, s.wire.ended()))
			return none, s.why()
		}
		return o.value, o.err
	case <-s.lost:
		return none, s.why()
	case <-limit.C:
		s.end(fmt.Errorf("%s: no answer within %v", s.host, prompt))
		return none, s.why()
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}
