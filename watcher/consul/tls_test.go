package consul_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/consul"
)

// authority issues certificates into a folder.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	a.key, der = a.sign(t, template, template)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write(t, "ca.pem", "CERTIFICATE", der)
	return a
}

// issue writes NAME.pem and NAME-key.pem, in the place of those that are there.
func (a *authority) issue(t *testing.T, name string, until time.Time) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	key, der := a.sign(t, template, a.cert)
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, name+"-key.pem", "EC PRIVATE KEY", private)
	a.write(t, name+".pem", "CERTIFICATE", der)
}

// sign makes a key, and a certificate for it that the authority signs, or itself.
func (a *authority) sign(t *testing.T, template, parent *x509.Certificate) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

func (a *authority) write(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// TestCertificatesExpire: the client's certificate and then the server's has expired,
// until somebody replaces it.
func TestCertificatesExpire(t *testing.T) {
	a := newAuthority(t)
	good, expired := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	a.issue(t, "server", good)
	a.issue(t, "client", expired)
	port := servertest.FreePort(t)
	s := servertest.PersistentConsul(t, fmt.Sprintf(`
addresses { https = "127.0.0.1" }
ports { https = %d }
tls { https {
	ca_file = %q
	cert_file = %q
	key_file = %q
	verify_incoming = true
} }`, port, a.path("ca.pem"), a.path("server.pem"), a.path("server-key.pem")))
	s.Put(t, "k", "one")
	t.Setenv("CONSUL_CACERT", a.path("ca.pem")) // what the block leaves out
	store, err := (&consul.Config{Address: fmt.Sprintf("127.0.0.1:%d", port), Wait: "2s", SSL: &consul.SSL{
		Cert: a.path("client.pem"), Key: a.path("client-key.pem"),
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
	a.issue(t, "client", good)
	await("one")

	a.issue(t, "server", expired)
	s.Restart(t)
	fails("the server's certificate has expired", "certificate has expired")
	if p, _ := snapshot().Value.(watcher.Pair); p.Value != "one" {
		t.Errorf("the last answer is gone: %+v", snapshot())
	}
	a.issue(t, "server", good)
	s.Restart(t)
	s.Put(t, "k", "two")
	await("two")
}
