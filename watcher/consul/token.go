package consul

import (
	"crypto/tls"
	"os"
	"strings"
	"sync"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// tokenFile is a token that somebody replaces while we run.
type tokenFile struct {
	path string

	mu    sync.Mutex
	seen  os.FileInfo // of the content that token is from
	token string
}

// current is what the file holds now; while it can't be read, or is empty in the
// middle of being written, what it held last.
func (f *tokenFile) current() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil || f.seen != nil && os.SameFile(info, f.seen) && info.ModTime().Equal(f.seen.ModTime()) && info.Size() == f.seen.Size() {
		return f.token
	}
	content, err := os.ReadFile(f.path)
	if token := strings.TrimSpace(string(content)); err == nil && token != "" {
		f.seen, f.token = info, token
	}
	return f.token
}

// clientTLS is the TLS of a config, whose client certificate is read anew for each
// connection: certificates that live for hours are replaced in place.
func clientTLS(c api.TLSConfig) (*tls.Config, error) {
	conf, err := api.SetupTLSConfig(&c)
	if err != nil {
		return nil, hint.Wrap(err, "check the ssl block and the CONSUL_* environment variables")
	}
	if c.CertFile != "" && c.KeyFile != "" {
		conf.Certificates = nil
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			return &cert, err
		}
	}
	return conf, nil
}
