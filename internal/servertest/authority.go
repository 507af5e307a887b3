package servertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority issues certificates into a folder.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority whose own certificate is ca.pem.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	return AuthorityIn(t, t.TempDir())
}

// AuthorityIn makes an authority that keeps its files in a folder, for a server of another
// user: everybody may read them.
func AuthorityIn(t testing.TB, dir string) *Authority {
	t.Helper()
	a := &Authority{dir: dir}
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

// Issue writes NAME.pem and NAME-key.pem, in the place of those that are there.
func (a *Authority) Issue(t testing.TB, name string, until time.Time) {
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
func (a *Authority) sign(t testing.TB, template, parent *x509.Certificate) (*ecdsa.PrivateKey, []byte) {
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

func (a *Authority) write(t testing.TB, name, kind string, der []byte) {
	t.Helper()
	path := filepath.Join(a.dir, name)
	File(t, path+".new", string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})), 0o644)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Path is where a file of it is.
func (a *Authority) Path(name string) string { return filepath.Join(a.dir, name) }
