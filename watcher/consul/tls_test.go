package consul_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/consul"
)

// TestCertificatesExpire: the client's certificate and then the server's has expired,
// until somebody replaces it.
func TestCertificatesExpire(t *testing.T) {
	a := servertest.NewAuthority(t)
	good, expired := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	a.Issue(t, "server", good)
	a.Issue(t, "client", expired)
	port := servertest.FreePort(t)
	s := servertest.PersistentConsul(t, fmt.Sprintf(`
addresses { https = "127.0.0.1" }
ports { https = %d }
tls { https {
	ca_file = %q
	cert_file = %q
	key_file = %q
	verify_incoming = true
} }`, port, a.Path("ca.pem"), a.Path("server.pem"), a.Path("server-key.pem")))
	s.Put(t, "k", "one")
	t.Setenv("CONSUL_CACERT", a.Path("ca.pem")) // what the block leaves out
	store, err := (&consul.Config{Address: fmt.Sprintf("127.0.0.1:%d", port), Wait: "2s", SSL: &consul.SSL{
		Cert: a.Path("client.pem"), Key: a.Path("client-key.pem"),
	}}).Open()
	if err != nil {
		t.Fatal(err)
	}
	await, snapshot := followOn(t, store, "k")
	fails := func(what, text string) {
		t.Helper()
		servertest.Eventually(t, what, func() error {
			if err := snapshot().Err; err == nil || !strings.Contains(err.Error(), text) {
				return fmt.Errorf("the error is %w", err)
			}
			return nil
		})
	}
	fails("the client's certificate has expired", "expired certificate")
	a.Issue(t, "client", good)
	await("one")

	a.Issue(t, "server", expired)
	s.Restart(t)
	fails("the server's certificate has expired", "certificate has expired")
	if p, _ := snapshot().Value.(watcher.Pair); p.Value != "one" {
		t.Errorf("the last answer is gone: %+v", snapshot())
	}
	a.Issue(t, "server", good)
	s.Restart(t)
	s.Put(t, "k", "two")
	await("two")
}
