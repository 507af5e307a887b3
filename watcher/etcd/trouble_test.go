package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/grpclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/login"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/etcd"
	"github.com/pgbaton/pgbaton/watcher/watchertest"
)

// TestLeaseExpires: a key goes with its lease, and says meanwhile whose it is.
func TestLeaseExpires(t *testing.T) {
	c := servertest.Etcd(t, 1)
	lease, err := c.Client.Grant(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	created, err := c.Client.Put(t.Context(), "/service/batman/leader", "pg1", clientv3.WithLease(lease.ID))
	if err != nil {
		t.Fatal(err)
	}
	f := watchertest.Feed(t, open(t, &etcd.Config{}, c.Servers[0].Addr), watcher.Query{Kind: watcher.Prefix, Path: "/service/batman/"})
	pairs := watchertest.Next(t, f).Value.([]watcher.Pair)
	want := watcher.Pair{
		Path: "/service/batman/leader", Key: "leader", Value: "pg1", Session: fmt.Sprintf("%x", lease.ID),
		CreateIndex: uint64(created.Header.Revision), ModifyIndex: uint64(created.Header.Revision),
	}
	if len(pairs) != 1 || pairs[0] != want {
		t.Errorf("it is %+v, want %+v", pairs, want)
	}
	if a := watchertest.Next(t, f); a.Presence != watcher.Present || len(a.Value.([]watcher.Pair)) != 0 {
		t.Errorf("after the lease: %+v", a)
	}
}

// TestCompaction: history that a watch needs is gone. Another one begins with what is there now.
func TestCompaction(t *testing.T) {
	c := servertest.Etcd(t, 1)
	s := open(t, &etcd.Config{}, c.Servers[0].Addr)
	c.Put(t, "k", "one")
	q := watcher.Query{Kind: watcher.Key, Path: "k"}
	f := watchertest.Feed(t, s, q)
	first := watchertest.Next(t, f)
	compact := func() {
		t.Helper()
		resp, err := c.Client.Get(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Client.Compact(t.Context(), resp.Header.Revision); err != nil {
			t.Fatal(err)
		}
	}
	// A watch that is open loses nothing.
	c.Put(t, "other", "x")
	compact()
	c.Put(t, "k", "two")
	if a := watchertest.Next(t, f); a.Value.(watcher.Pair).Value != "two" {
		t.Errorf("an open watch: %+v", a)
	}
	// While nobody watches, all of its past goes.
	for i := range 10 {
		c.Put(t, "k", fmt.Sprint(i))
	}
	compact()
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Deadline)
	defer cancel()
	a, err := s.Fetch(ctx, q, first.Rev)
	if err != nil || a.Value.(watcher.Pair).Value != "9" {
		t.Errorf("after what is compacted: %+v, %v", a, err)
	}
}

// TestServersGo: whoever of three is asked may go, the leader too.
func TestServersGo(t *testing.T) {
	c := servertest.Etcd(t, 3)
	var endpoints []string
	for _, s := range c.Servers {
		endpoints = append(endpoints, s.Addr)
	}
	store := open(t, &etcd.Config{}, endpoints...)
	q := watcher.Query{Kind: watcher.Key, Path: "k"}
	for i, s := range c.Servers {
		s.Kill()
		value := fmt.Sprint(i)
		c.Put(t, "k", value)
		servertest.Eventually(t, "the others say "+value, func() error {
			a, err := store.Fetch(t.Context(), q, 0)
			if err != nil {
				return err
			}
			if p, _ := a.Value.(watcher.Pair); p.Value != value {
				return fmt.Errorf("it is %+v", a)
			}
			return nil
		})
		s.Launch(t)
		c.Await(t)
	}
	// One of three knows nothing for sure.
	c.Servers[0].Kill()
	c.Servers[1].Kill()
	if a, err := store.Fetch(t.Context(), q, 0); err == nil {
		t.Errorf("without a majority: %+v", a)
	}
}

// TestLogin: a user without rights, one with some, and a password that is replaced.
func TestLogin(t *testing.T) {
	c := servertest.Etcd(t, 1)
	admin := c.Client
	do := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	c.Put(t, "/service/batman/leader", "pg1")
	for _, name := range []string{"root", "pgbaton"} {
		_, err := admin.UserAdd(t.Context(), name, "first")
		do("add user", err)
		_, err = admin.RoleAdd(t.Context(), name)
		do("add role", err)
		_, err = admin.UserGrantRole(t.Context(), name, name)
		do("grant role", err)
	}
	_, err := admin.RoleGrantPermission(t.Context(), "pgbaton", "/service/", clientv3.GetPrefixRangeEnd("/service/"), clientv3.PermissionType(clientv3.PermRead))
	do("grant rights", err)
	_, err = admin.AuthEnable(t.Context())
	do("enable logins", err)

	at := c.Servers[0].Addr
	leader, secret := watcher.Query{Kind: watcher.Prefix, Path: "/service/batman/"}, watcher.Query{Kind: watcher.Key, Path: "/secret"}
	refused := func(s watcher.Store, q watcher.Query, want string) error {
		t.Helper()
		a, err := s.Fetch(t.Context(), q, 0)
		if err == nil {
			t.Errorf("%s: %+v", q, a)
			return nil
		}
		if !strings.Contains(err.Error(), want) || hint.Of(err) == "" || strings.Contains(err.Error(), "first") {
			t.Errorf("%s: %v, hint %q; want it to say %q", q, err, hint.Of(err), want)
		}
		return err
	}
	_ = refused(open(t, &etcd.Config{}, at), leader, "user name is empty")
	_ = refused(open(t, &etcd.Config{User: "pgbaton", Password: "wrong"}, at), leader, "authentication failed")

	password := filepath.Join(t.TempDir(), "password")
	do("write password", os.WriteFile(password, []byte("first\n"), 0o600))
	store := open(t, &etcd.Config{User: "pgbaton", PasswordFile: password}, at)
	if err := refused(store, secret, "permission denied"); !errors.Is(err, watcher.ErrDenied) {
		t.Errorf("%v is not ErrDenied", err)
	}
	f := watchertest.Feed(t, store, leader)
	if pairs := watchertest.Next(t, f).Value.([]watcher.Pair); len(pairs) != 1 || pairs[0].Value != "pg1" {
		t.Errorf("with rights: %+v", pairs)
	}

	root, err := clientv3.New(clientv3.Config{Endpoints: []string{at}, DialTimeout: 2 * time.Second, Username: "root", Password: "first"})
	do("log in", err)
	defer func() { _ = root.Close() }()
	_, err = root.Put(t.Context(), "/service/batman/leader", "pg2")
	do("put", err)
	if pairs := watchertest.Next(t, f).Value.([]watcher.Pair); pairs[0].Value != "pg2" {
		t.Errorf("a change: %+v", pairs)
	}
	// Another password ends what the first one opened.
	_, err = root.UserChangePassword(t.Context(), "pgbaton", "second")
	do("change password", err)
	do("write password", os.WriteFile(password, []byte("second\n"), 0o600))
	servertest.Eventually(t, "the second password counts", func() error {
		_, err := store.Fetch(t.Context(), leader, 0)
		return err
	})
}

// TestCertificatesExpire: ours, and then the server's, until somebody replaces it.
func TestCertificatesExpire(t *testing.T) {
	a := servertest.NewAuthority(t)
	good, expired := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	a.Issue(t, "server", good)
	a.Issue(t, "client", expired)
	c := servertest.Etcd(t, 1, "--cert-file="+a.Path("server.pem"), "--key-file="+a.Path("server-key.pem"), "--trusted-ca-file="+a.Path("ca.pem"), "--client-cert-auth")
	ssl := &login.SSL{CACert: a.Path("ca.pem"), Cert: a.Path("client.pem"), Key: a.Path("client-key.pem")}
	q := watcher.Query{Kind: watcher.Key, Path: "k"}
	answers := func(s watcher.Store) error {
		_, err := s.Fetch(t.Context(), q, 0)
		return err
	}
	store := open(t, &etcd.Config{SSL: ssl}, c.Servers[0].Addr)
	if err := answers(store); err == nil {
		t.Error("an expired certificate of ours is taken")
	}
	a.Issue(t, "client", good)
	servertest.Eventually(t, "another certificate of ours is taken", func() error { return answers(store) })

	if err := answers(open(t, &etcd.Config{SSL: &login.SSL{Cert: ssl.Cert, Key: ssl.Key}}, c.Servers[0].Addr)); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a server of an authority that is not known: %v", err)
	}
	c.Kill()
	a.Issue(t, "server", expired)
	c.Servers[0].Launch(t)
	servertest.Eventually(t, "the server's certificate has expired", func() error {
		if err := answers(store); err == nil || !strings.Contains(err.Error(), "expired") {
			return fmt.Errorf("it says %w", err)
		}
		return nil
	})
	c.Kill()
	a.Issue(t, "server", good)
	c.Servers[0].Launch(t)
	servertest.Eventually(t, "the server has another certificate", func() error { return answers(store) })
}

// complaints are what gRPC takes for errors and has nobody to tell.
var complaints safeBuffer

type safeBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestMain(m *testing.M) {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, &complaints))
	os.Exit(m.Run())
}

// TestIdleServersAreLeftInPeace: of several servers one is watched, and the connections to
// the others are idle. A server that is asked whether it lives, for no reason, ends them at
// the third time: after half a minute.
func TestIdleServersAreLeftInPeace(t *testing.T) {
	c := servertest.Etcd(t, 3)
	var endpoints []string
	for _, s := range c.Servers {
		endpoints = append(endpoints, s.Addr)
	}
	c.Put(t, "k", "one")
	f := watchertest.Feed(t, open(t, &etcd.Config{}, endpoints...), watcher.Query{Kind: watcher.Key, Path: "k"})
	watchertest.Next(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
	defer cancel()
	if a, err := f.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("in half a minute without a change: %+v, %v", a, err)
	}
	if text := complaints.String(); strings.Contains(text, "too_many_pings") {
		t.Errorf("a server was asked too often: %s", text)
	}
}
