package consul_test

import (
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

	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/consul"
)

// fleetSize is more than the 200 connections that an agent allows one client.
const fleetSize = 300

func leaderKey(i int) string { return fmt.Sprintf("service/c%03d/leader", i) }

// fillFleet writes the leader keys of n clusters, 50 in one transaction.
func fillFleet(t *testing.T, client *api.Client, n int, value string) {
	t.Helper()
	for from := 0; from < n; from += 50 {
		var ops api.TxnOps
		for i := from; i < min(from+50, n); i++ {
			ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVSet, Key: leaderKey(i), Value: []byte(value)}})
		}
		servertest.Eventually(t, "consul takes the keys", func() error {
			ok, response, _, err := client.Txn().Txn(ops, nil)
			if err == nil && !ok {
				err = fmt.Errorf("%v", response.Errors)
			}
			return err
		})
	}
}

// watchFleet runs a watcher of n clusters; all waits until each of them has a value,
// and stop ends the watcher as a killed one does: what waits at the agent stays there.
func watchFleet(t *testing.T, store watcher.Store, n int) (all func(value string), stop func()) {
	t.Helper()
	w := watcher.New(map[string]watcher.Store{watcher.Catalog: store}, hclog.New(&hclog.LoggerOptions{Output: logWriter{t}}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = func() {
		cancel()
		err := <-ended
		if c, ok := store.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
		if err != nil {
			t.Error(err)
		}
	}
	sub := w.Subscribe()
	want := map[watcher.Query]struct{}{}
	for i := range n {
		want[watcher.Query{Kind: watcher.Prefix, Path: fmt.Sprintf("service/c%03d/", i)}] = struct{}{}
	}
	sub.Want(want)
	return func(value string) {
		t.Helper()
		servertest.Eventually(t, "every leader is "+value, func() error {
			missing := 0
			var failed error
			for q, a := range sub.Snapshot() {
				if pairs, _ := a.Value.([]watcher.Pair); len(pairs) != 1 || pairs[0].Value != value {
					missing++
				}
				if a.Err != nil {
					failed = fmt.Errorf("%s: %w", q, a.Err)
				}
			}
			if missing == 0 && failed == nil {
				return nil
			}
			return fmt.Errorf("%d of %d are not; %w", missing, n, failed)
		})
	}, stop
}

// logWriter makes a warning a failure: none of these tests expects one.
type logWriter struct{ t *testing.T }

func (w logWriter) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "[WARN]") {
		w.t.Errorf("the watcher says: %s", line)
	}
	return len(line), nil
}

// connections is how many TCP connections to a port of loopback this process has.
func connections(t *testing.T, addr string) (n int) {
	t.Helper()
	_, port, _ := strings.Cut(addr, ":")
	var number int
	if _, err := fmt.Sscan(port, &number); err != nil {
		t.Fatal(err)
	}
	sockets := map[string]bool{}
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil {
			sockets[to] = true
		}
	}
	table, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 9 && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", number)) && sockets["socket:["+f[9]+"]"] {
			n++
		}
	}
	return n
}

// TestFleetOnPlainHTTP has more clusters than the agent, as it is by default, allows
// connections. A restart comes on top: the agent keeps what waited.
func TestFleetOnPlainHTTP(t *testing.T) {
	s := servertest.Consul(t)
	fillFleet(t, s.Client, fleetSize, "pg1")
	for round := range 2 {
		store, err := (&consul.Config{Address: s.Addr}).Open()
		if err != nil {
			t.Fatal(err)
		}
		all, stop := watchFleet(t, store, fleetSize)
		all(fmt.Sprint("pg", round+1))
		fillFleet(t, s.Client, fleetSize, fmt.Sprint("pg", round+2))
		all(fmt.Sprint("pg", round+2))
		if n := connections(t, s.Addr); n > 100+5 { // the test's own come on top
			t.Errorf("%d connections, want 100 at most", n)
		}
		stop()
	}
}

// TestFleetOverTLS shares connections: HTTP/2 lets many queries wait on one.
func TestFleetOverTLS(t *testing.T) {
	a := servertest.NewAuthority(t)
	a.Issue(t, "server", time.Now().Add(time.Hour))
	port := servertest.FreePort(t)
	s := servertest.Consul(t, fmt.Sprintf(`
addresses { https = "127.0.0.1" }
ports { https = %d }
tls { https {
	cert_file = %q
	key_file = %q
} }`, port, a.Path("server.pem"), a.Path("server-key.pem")))
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	fillFleet(t, s.Client, fleetSize, "pg1")
	store, err := (&consul.Config{Address: "https://" + addr, SSL: &consul.SSL{CACert: a.Path("ca.pem")}}).Open()
	if err != nil {
		t.Fatal(err)
	}
	all, stop := watchFleet(t, store, fleetSize)
	defer stop()
	all("pg1")
	fillFleet(t, s.Client, fleetSize, "pg2")
	all("pg2")
	n := connections(t, addr)
	t.Logf("%d connections for %d watches", n, fleetSize)
	if n > 10 {
		t.Errorf("%d connections for %d watches, want them shared", n, fleetSize)
	}
}

// TestFleetWithNarrowRights may read each cluster, and nothing wider.
func TestFleetWithNarrowRights(t *testing.T) {
	const n = 12
	for name, policy := range map[string]string{"filtered": "", "refused": "enable_key_list_policy = true"} {
		t.Run(name, func(t *testing.T) {
			s := servertest.Consul(t, strings.Replace(aclConfig, "acl {", "acl { "+policy, 1))
			var rules strings.Builder
			for i := range n {
				fmt.Fprintf(&rules, "key_prefix \"service/c%03d/\" { policy = \"list\" }\n", i)
			}
			var token *api.ACLToken
			servertest.Eventually(t, "a token with narrow rights", func() error {
				_, _, err := s.Client.ACL().PolicyCreate(&api.ACLPolicy{Name: "narrow", Rules: rules.String()}, nil)
				if err != nil && !strings.Contains(err.Error(), "already exists") {
					return err
				}
				token, _, err = s.Client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{Name: "narrow"}}}, nil)
				return err
			})
			fillFleet(t, s.Client, n, "pg1")
			s.Put(t, "service/other/leader", "pg1") // which it may not see
			store, err := (&consul.Config{Address: s.Addr, Token: token.SecretID, MaxConnections: 5}).Open()
			if err != nil {
				t.Fatal(err)
			}
			all, stop := watchFleet(t, store, n)
			defer stop()
			all("pg1")
			fillFleet(t, s.Client, n, "pg2")
			all("pg2")
		})
	}
}
