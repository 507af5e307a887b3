package consul_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/consul"
	"github.com/pgbaton/pgbaton/watcher/watchertest"
)

func open(t *testing.T, s *servertest.ConsulServer) watcher.Store {
	t.Helper()
	return openAt(t, s.Addr)
}

func openAt(t *testing.T, address string) watcher.Store {
	t.Helper()
	store, err := (&consul.Config{Address: address, Wait: "2s"}).Open()
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func register(t testing.TB, s *servertest.ConsulServer, service, id, address string, port int, status string, tags ...string) {
	t.Helper()
	err := s.Client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: id, Name: service, Address: address, Port: port, Tags: tags, Meta: map[string]string{"id": id},
		Check: &api.AgentServiceCheck{TTL: "1h", Status: status},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestContract(t *testing.T) {
	watchertest.Run(t, func(t *testing.T) watchertest.Harness {
		s := servertest.Consul(t)
		return watchertest.Harness{
			Store: open(t, s), Put: s.Put, Delete: s.Delete,
			Register: func(t testing.TB, service, id, address string, port int, status string, tags ...string) {
				register(t, s, service, id, address, port, status, tags...)
			},
		}
	})
}

// TestFaults breaks a server that keeps its data, and the line to it.
func TestFaults(t *testing.T) {
	watchertest.RunFaults(t, func(t *testing.T) (watchertest.Harness, watchertest.Faults) {
		s := servertest.PersistentConsul(t)
		at := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
		line := faulttest.NewLine(t, at, s.Addr)
		return watchertest.Harness{Store: openAt(t, at), Put: s.Put, Delete: s.Delete}, watchertest.Faults{
			Away: func(t testing.TB) func() {
				s.Kill()
				return func() { s.Restart(t) }
			},
			Mute: func(t testing.TB) func() {
				s.Freeze(t)
				return func() {
					s.Thaw(t)
					s.AwaitLeader(t)
				}
			},
			Slow: func(t testing.TB) func() {
				line.Spoil(t, faulttest.Latency)
				return func() { line.Mend(t) }
			},
			Cut: func(t testing.TB) { line.Cut(t)() },
			Older: func(t testing.TB) func() {
				snapshot, _, err := s.Client.Snapshot().Save(nil)
				if err != nil {
					t.Fatal(err)
				}
				kept, err := io.ReadAll(snapshot)
				if err = errors.Join(err, snapshot.Close()); err != nil {
					t.Fatal(err)
				}
				return func() {
					if err := s.Client.Snapshot().Restore(nil, bytes.NewReader(kept)); err != nil {
						t.Fatal(err)
					}
				}
			},
		}
	})
}

func TestCatalog(t *testing.T) {
	s := servertest.Consul(t)
	store := open(t, s)
	register(t, s, "web", "web-1", "10.0.0.1", 80, watcher.Passing, "b", "a")
	register(t, s, "web", "web-2", "", 81, watcher.Passing)
	get := func(q watcher.Query) any {
		t.Helper()
		var value any
		servertest.Eventually(t, q.String(), func() error {
			a, err := store.Fetch(t.Context(), q, 0)
			value = a.Value
			return err
		})
		return value
	}
	var services []string
	for _, c := range get(watcher.Query{Kind: watcher.Services}).([]*watcher.CatalogService) {
		services = append(services, c.Name+"="+strings.Join(c.Tags, ","))
	}
	if have := strings.Join(services, " "); have != "consul= web=a,b" {
		t.Errorf("services are %q", have)
	}
	nodes := get(watcher.Query{Kind: watcher.Nodes}).([]*watcher.NodeInfo)
	if len(nodes) != 1 || nodes[0].Node != "consul" || nodes[0].Address != "127.0.0.1" {
		t.Errorf("nodes are %+v", nodes)
	}
	for _, name := range []string{"consul", ""} { // "" is the agent's own node
		node := get(watcher.Query{Kind: watcher.Node, Path: name}).(*watcher.NodeDetail)
		if node.Node.Node != "consul" || len(node.Services) != 3 || node.Services[1].ID != "web-1" {
			t.Errorf("node %q is %+v with %d services", name, node.Node, len(node.Services))
		}
	}
	if dcs := get(watcher.Query{Kind: watcher.Datacenters}).([]string); len(dcs) != 1 || dcs[0] != "dc1" {
		t.Errorf("datacenters are %v", dcs)
	}
	filtered := get(watcher.Query{Kind: watcher.Service, Path: "web", Options: watcher.Options{Filter: `Service.Meta.id == "web-2"`, Datacenter: "dc1"}})
	if list := filtered.([]*watcher.Instance); len(list) != 1 || list[0].ID != "web-2" || list[0].Address != "127.0.0.1" {
		t.Errorf("the filter let through %+v", list)
	}
	if _, err := store.Fetch(t.Context(), watcher.Query{Kind: watcher.Service, Path: "web", Options: watcher.Options{Datacenter: "nowhere"}}, 0); err == nil {
		t.Error("a datacentre that does not exist gave an answer")
	}
}

// aclConfig gives everybody without a token all rights, so that the harness
// needs none; the test makes a token that has none.
const aclConfig = `acl { enabled = true default_policy = "deny" tokens {
	initial_management = "8f246b77-f3e1-ff88-5b48-8ec93abf3e05"
	default = "8f246b77-f3e1-ff88-5b48-8ec93abf3e05"
} }`

func TestTokenWithoutRightsIsAnError(t *testing.T) {
	s := servertest.Consul(t, aclConfig)
	s.Put(t, "service/batman/leader", "pg1")
	var token *api.ACLToken
	servertest.Eventually(t, "a token without rights", func() (err error) {
		token, _, err = s.Client.ACL().TokenCreate(&api.ACLToken{}, nil)
		return err
	})
	store, err := (&consul.Config{Address: s.Addr, Token: token.SecretID}).Open()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []watcher.Query{{Kind: watcher.Key, Path: "service/batman/leader"}, {Kind: watcher.Prefix, Path: "service/batman/"}, {Kind: watcher.Services}, {Kind: watcher.Nodes}, {Kind: watcher.Service, Path: "consul"}} {
		a, err := store.Fetch(t.Context(), q, 0)
		if err == nil {
			t.Errorf("%s: what the token may not read gave an answer: %+v", q, a)
		} else if hint.Of(err) == "" {
			t.Errorf("%s: no hint: %v", q, err)
		}
	}
	if a, err := open(t, s).Fetch(t.Context(), watcher.Query{Kind: watcher.Key, Path: "k"}, 0); err != nil || a.Presence != watcher.Absent {
		t.Errorf("with rights: %v, %v", a, err)
	}
}

// TestTokenFileIsReplaced: a token is revoked, and its file gets another one.
func TestTokenFileIsReplaced(t *testing.T) {
	s := servertest.Consul(t, aclConfig)
	s.Put(t, "k", "one")
	servertest.Eventually(t, "a policy", func() error {
		_, _, err := s.Client.ACL().PolicyCreate(&api.ACLPolicy{Name: "reads", Rules: `key_prefix "" { policy = "read" }`}, nil)
		return err
	})
	newToken := func() *api.ACLToken {
		token, _, err := s.Client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{Name: "reads"}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	first, second := newToken(), newToken()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(first.SecretID+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := (&consul.Config{Address: s.Addr, TokenFile: path}).Open()
	if err != nil {
		t.Fatal(err)
	}
	await, snapshot := followOn(t, store, "k")
	await("one")
	if _, err := s.Client.ACL().TokenDelete(first.AccessorID, nil); err != nil {
		t.Fatal(err)
	}
	s.Put(t, "k", "two") // ends the query that was begun with the token
	servertest.Eventually(t, "the token counts no more", func() error {
		if snapshot().Err == nil {
			return errors.New("no error yet")
		}
		return nil
	})
	s.Put(t, "k", "three")
	if p, _ := snapshot().Value.(watcher.Pair); p.Value == "three" || p.Value == "" {
		t.Errorf("without a token the answer is %+v", snapshot())
	}
	if err := os.WriteFile(path, []byte(second.SecretID+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	await("three")
}

// follow runs a watcher over the server and returns a way to wait for a key's
// value.
func follow(t *testing.T, s *servertest.ConsulServer, key string) (await func(value string), snapshot func() watcher.Answer) {
	t.Helper()
	return followOn(t, open(t, s), key)
}

func followOn(t *testing.T, store watcher.Store, key string) (await func(value string), snapshot func() watcher.Answer) {
	t.Helper()
	w := watcher.New(map[string]watcher.Store{watcher.Catalog: store}, hclog.NewNullLogger())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	q := watcher.Query{Kind: watcher.Key, Path: key}
	sub := w.Subscribe()
	sub.Want(map[watcher.Query]struct{}{q: {}})
	snapshot = func() watcher.Answer { return sub.Snapshot()[q] }
	await = func(value string) {
		t.Helper()
		deadline := time.After(servertest.Deadline)
		for {
			if p, ok := snapshot().Value.(watcher.Pair); ok && p.Value == value {
				return
			}
			select {
			case <-sub.Changed():
			case <-deadline:
				t.Fatalf("%s did not become %q: %+v", key, value, snapshot())
			}
		}
	}
	return await, snapshot
}

func TestRestartWithLowerIndex(t *testing.T) {
	s := servertest.Consul(t)
	for range 20 {
		s.Put(t, "noise", "x") // the index rises well above what the next life begins with
	}
	s.Put(t, "k", "before")
	await, _ := follow(t, s, "k")
	await("before")
	s.Restart(t) // in memory: back empty, index back at the start
	s.Put(t, "k", "after")
	await("after")
}

func TestKilledServerKeepsTheLastAnswer(t *testing.T) {
	s := servertest.PersistentConsul(t)
	s.Put(t, "k", "one")
	await, snapshot := follow(t, s, "k")
	await("one")
	s.Kill()
	servertest.Eventually(t, "the loss is seen", func() error {
		if snapshot().Err == nil {
			return context.DeadlineExceeded
		}
		return nil
	})
	if p, _ := snapshot().Value.(watcher.Pair); p.Value != "one" || snapshot().Presence != watcher.Present {
		t.Errorf("while the store is away the answer is %+v", snapshot())
	}
	s.Restart(t)
	s.Put(t, "k", "two")
	await("two")
	if err := snapshot().Err; err != nil {
		t.Errorf("the store is back, and the error stays: %v", err)
	}
}

func TestFrozenServerGoesOn(t *testing.T) {
	s := servertest.Consul(t)
	s.Put(t, "k", "one")
	await, _ := follow(t, s, "k")
	await("one")
	s.Freeze(t)
	s.Thaw(t)
	s.Put(t, "k", "two")
	await("two")
}
