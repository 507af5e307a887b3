package zookeeper_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/login"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/watchertest"
	"github.com/pgbaton/pgbaton/watcher/zookeeper"
)

// says is a condition for Eventually: the key has this value.
func says(t *testing.T, s watcher.Store, key, value string) func() error {
	return func() error {
		a, err := s.Fetch(t.Context(), watcher.Query{Kind: watcher.Key, Path: key}, 0)
		if err != nil {
			return err
		}
		if p, _ := a.Value.(watcher.Pair); p.Value != value {
			return fmt.Errorf("it is %+v", a)
		}
		return nil
	}
}

// TestServersGo: whoever of three the session is with goes, one after the other. Whoever
// follows the key sees values rise, up to the last one.
func TestServersGo(t *testing.T) {
	t.Parallel()
	c := servertest.ZooKeeper(t, 3)
	byHost := map[string]*servertest.ZooKeeperServer{}
	var hosts []string
	for _, s := range c.Servers {
		byHost[s.Addr], hosts = s, append(hosts, s.Addr)
	}
	store := open(t, &zookeeper.Config{}, hosts...)
	q := watcher.Query{Kind: watcher.Key, Path: "k"}

	c.Put(t, "k", "0")
	var follower sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	values := make(chan string, 1000)
	follower.Go(func() {
		for ctx.Err() == nil {
			f, err := store.Open(ctx, q)
			for err == nil {
				var a watcher.Answer
				if a, err = f.Next(ctx); err == nil {
					values <- a.Value.(watcher.Pair).Value
				}
			}
			f.Close()
		}
	})
	last := 0
	for range 3 {
		servertest.Eventually(t, "there is a session", says(t, store, "k", strconv.Itoa(last)))
		host := store.Host()
		byHost[host].Kill()
		for range 10 {
			last++
			c.Put(t, "k", strconv.Itoa(last))
		}
		servertest.Eventually(t, "another server says it", says(t, store, "k", strconv.Itoa(last)))
		if store.Host() == host {
			t.Errorf("the session is still with %s", host)
		}
		byHost[host].Launch(t)
		c.Await(t)
	}
	for before := -1; before < last; {
		value, err := strconv.Atoi(<-values)
		if err != nil || value < before {
			t.Fatalf("%d follows %d (%v)", value, before, err)
		}
		before = value
	}
	cancel()
	follower.Wait()

	// One of three knows nothing for sure, once it has noticed.
	c.Servers[0].Kill()
	c.Servers[1].Kill()
	servertest.Eventually(t, "it says nothing without a majority", func() error {
		if a, err := store.Fetch(t.Context(), q, 0); err == nil {
			return fmt.Errorf("it says %+v", a)
		}
		return nil
	})
}

// TestLeaderOutOfReach: a server that can't ask its leader is not believed that nothing
// changes, though it goes on to answer.
func TestLeaderOutOfReach(t *testing.T) {
	t.Parallel()
	c := servertest.ZooKeeper(t, 3, "syncLimit=200") // itself it would notice after 50 s
	var ours *servertest.ZooKeeperServer
	for _, s := range c.Servers {
		if !s.Leads() {
			ours = s
		}
	}
	c.Put(t, "k", "one")
	store := open(t, &zookeeper.Config{}, ours.Addr)
	f := watchertest.Feed(t, store, watcher.Query{Kind: watcher.Key, Path: "k"})
	watchertest.Next(t, f)
	for _, s := range c.Servers {
		if s != ours {
			s.Freeze(t)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Deadline)
	defer cancel()
	if a, err := f.Next(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("it says %+v, %v", a, err)
	}
	if text, err := ours.Ask("srvr"); !strings.Contains(text, "Mode: follower") {
		t.Errorf("the server itself does not answer any more: %q, %v", text, err)
	}
	for _, s := range c.Servers {
		if s != ours {
			s.Thaw(t)
		}
	}
	c.Await(t)
	c.Put(t, "k", "two")
	servertest.Eventually(t, "it is believed again", says(t, store, "k", "two"))
}

// TestSessionExpires: the connection stands still until the server has forgotten the
// session.
func TestSessionExpires(t *testing.T) {
	t.Parallel()
	c := servertest.ZooKeeper(t, 1)
	at := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	line := faulttest.NewLine(t, at, c.Servers[0].Addr)
	store := open(t, &zookeeper.Config{}, at)
	c.Put(t, "k", "one")
	f := watchertest.Feed(t, store, watcher.Query{Kind: watcher.Key, Path: "k"})
	watchertest.Next(t, f)
	id := fmt.Sprintf("%#x", store.SessionID())
	known := func() (bool, error) {
		text, err := c.Servers[0].Ask("dump")
		return strings.Contains(text, id), err
	}
	if is, err := known(); !is {
		t.Fatalf("the server does not know session %s: %v", id, err)
	}
	line.Spoil(t, faulttest.NothingCame)
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Deadline)
	defer cancel()
	if a, err := f.Next(ctx); err == nil {
		t.Errorf("it says %+v", a)
	}
	servertest.Eventually(t, "the session has expired", func() error {
		is, err := known()
		if is {
			err = errors.New("the server knows it")
		}
		return err
	})
	c.Put(t, "k", "two")
	line.Mend(t)
	servertest.Eventually(t, "there is another one", says(t, store, "k", "two"))
}

// TestHungServer: whoever waits for a server that stands still need not, and the store is
// closed.
func TestHungServer(t *testing.T) {
	t.Parallel()
	c := servertest.ZooKeeper(t, 1)
	c.Put(t, "k", "one")
	q := watcher.Query{Kind: watcher.Key, Path: "k"}
	with, without := open(t, &zookeeper.Config{}, c.Servers[0].Addr), open(t, &zookeeper.Config{}, c.Servers[0].Addr)
	f := watchertest.Feed(t, with, q)
	watchertest.Next(t, f)
	c.Servers[0].Freeze(t)
	defer c.Servers[0].Thaw(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("it is over")
	ended := make(chan error, 3)
	go func() {
		_, err := f.Next(ctx)
		ended <- err
	}()
	for _, s := range []*zookeeper.Store{with, without} {
		go func() {
			_, err := s.Fetch(ctx, q, 0)
			ended <- err
		}()
	}
	cancel(over)
	for range cap(ended) {
		if err := <-ended; !errors.Is(err, over) {
			t.Errorf("it ended with %v", err)
		}
	}
	for _, s := range []*zookeeper.Store{with, without} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := s.Fetch(t.Context(), q, 0); err == nil {
			t.Error("a closed store answers")
		}
	}
}

// TestDigest: a znode that only one user may read.
func TestDigest(t *testing.T) {
	t.Parallel()
	c := servertest.ZooKeeper(t, 1)
	at := c.Servers[0].Addr
	protect := func(path, password string) {
		c.Do(t, "set an ACL", func(client *zk.Conn) error {
			_, err := client.SetACL(path, append(zk.DigestACL(zk.PermRead, "pgbaton", password), zk.WorldACL(zk.PermWrite|zk.PermCreate|zk.PermDelete|zk.PermAdmin)...), -1)
			return err
		})
	}
	c.Put(t, "service/batman/leader", "pg1")
	c.Put(t, "service/other", "x")
	protect("/service/batman/leader", "first")
	folder := watcher.Query{Kind: watcher.Prefix, Path: "/service/batman/"}
	other := watcher.Query{Kind: watcher.Key, Path: "/service/other"}
	refused := func(s watcher.Store, want string) {
		t.Helper()
		a, err := s.Fetch(t.Context(), folder, 0)
		switch {
		case err == nil:
			t.Errorf("it says %+v", a)
		case !errors.Is(err, watcher.ErrDenied), !strings.Contains(err.Error(), "/service/batman/leader"), !strings.Contains(hint.Of(err), want), strings.Contains(err.Error(), "first"):
			t.Errorf("%v, hint %q", err, hint.Of(err))
		}
		if a, err := s.Fetch(t.Context(), other, 0); err != nil {
			t.Errorf("what anybody may read: %+v, %v", a, err)
		}
	}
	refused(open(t, &zookeeper.Config{}, at), "set user")
	refused(open(t, &zookeeper.Config{User: "pgbaton", Password: "wrong"}, at), "correct the password")

	password := servertest.File(t, filepath.Join(t.TempDir(), "password"), "first\n", 0o600)
	store := open(t, &zookeeper.Config{User: "pgbaton", PasswordFile: password}, at)
	f := watchertest.Feed(t, store, folder)
	if pairs := watchertest.Next(t, f).Value.([]watcher.Pair); len(pairs) != 1 || pairs[0].Value != "pg1" {
		t.Errorf("with the password: %+v", pairs)
	}
	c.Put(t, "service/batman/leader", "pg2")
	if pairs := watchertest.Next(t, f).Value.([]watcher.Pair); pairs[0].Value != "pg2" {
		t.Errorf("a change: %+v", pairs)
	}
	// Another password: what others watch over the same session goes on.
	beside := watchertest.Feed(t, store, other)
	watchertest.Next(t, beside)
	protect("/service/batman/leader", "second")
	refused(store, "correct the password")
	if err := os.WriteFile(password, []byte("second\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err := store.Fetch(t.Context(), folder, 0); err != nil {
		t.Errorf("with the other password: %+v, %v", a, err)
	}
	c.Put(t, "service/other", "y")
	if p := watchertest.Next(t, beside).Value.(watcher.Pair); p.Value != "y" {
		t.Errorf("beside: %+v", p)
	}
}

// TestNoZooKeeper: something else listens there, or nothing.
func TestNoZooKeeper(t *testing.T) {
	t.Parallel()
	listen := func(banner string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				t.Cleanup(func() { _ = conn.Close() })
				_, _ = io.WriteString(conn, banner)
			}
		}()
		return l.Addr().String()
	}
	for host, want := range map[string]string{
		listen("SSH-2.0-OpenSSH_9.2p1\r\n"): "not as ZooKeeper does",
		listen(""):                          "no session within",
		fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t)): "connection refused",
	} {
		a, err := open(t, &zookeeper.Config{}, host).Fetch(t.Context(), watcher.Query{Kind: watcher.Key, Path: "k"}, 0)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), host) || hint.Of(err) == "" {
			t.Errorf("%s: %+v, %v, hint %q; want %q", host, a, err, hint.Of(err), want)
		}
	}
}

// TestTLS: over Netty, which is what ZooKeeper has it with.
func TestTLS(t *testing.T) {
	t.Parallel()
	a := servertest.NewAuthority(t)
	a.Issue(t, "server", time.Now().Add(time.Hour))
	a.Issue(t, "client", time.Now().Add(-time.Minute))
	keys := keyStore(t, a, "server")
	port := servertest.FreePort(t)
	c := servertest.ZooKeeper(t, 1, "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory", fmt.Sprintf("secureClientPort=%d", port),
		"secureClientPortAddress=127.0.0.1", "ssl.keyStore.location="+keys, "ssl.trustStore.location="+a.Path("ca.pem"), "ssl.clientAuth=need")
	c.Put(t, "k", "one")
	at := fmt.Sprintf("127.0.0.1:%d", port)
	ssl := &login.SSL{CACert: a.Path("ca.pem"), Cert: a.Path("client.pem"), Key: a.Path("client-key.pem")}
	store := open(t, &zookeeper.Config{SSL: ssl}, at)
	refused := func(s watcher.Store, want string) {
		t.Helper()
		if a, err := s.Fetch(t.Context(), watcher.Query{Kind: watcher.Key, Path: "k"}, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it says %+v, %v; want %q", a, err, want)
		}
	}
	refused(store, "unknown certificate") // as Java calls one that has expired
	a.Issue(t, "client", time.Now().Add(time.Hour))
	servertest.Eventually(t, "another certificate of ours is taken", says(t, store, "k", "one"))
	refused(open(t, &zookeeper.Config{SSL: &login.SSL{Cert: ssl.Cert, Key: ssl.Key}}, at), "unknown authority")
	refused(open(t, &zookeeper.Config{SSL: ssl}, c.Servers[0].Addr), "no session")
	refused(open(t, &zookeeper.Config{}, at), "no session")
}

// keyStore writes a certificate and its key into one file, as Java wants them.
func keyStore(t *testing.T, a *servertest.Authority, name string) string {
	t.Helper()
	cert, err := os.ReadFile(a.Path(name + ".pem"))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(a.Path(name+".pem"), a.Path(name+"-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return servertest.File(t, filepath.Join(t.TempDir(), "keys.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))+string(cert), 0o600)
}
