// Package login has what whoever logs in somewhere needs: passwords and
// certificates in files that somebody else renews.
package login

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// Password is the first line of a file; "" for no file.
func Password(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", hint.Wrap(fmt.Errorf("read password_file: %w", err), "pgbaton's user has to be able to read it")
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// Quote makes s a value of a connection string, as libpq reads it.
func Quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// TLS is a client's side of TLS. Its files are PEM.
type TLS struct {
	CAFile     string // who may sign servers' certificates; "" is the system's authorities
	CertFile   string // our own certificate; "" is none
	KeyFile    string // its key; "" is CertFile
	ServerName string // whom the server's certificate has to name; "" is its address
	Insecure   bool   // believe any server

	settings settings // what errors call them
}

// settings are what a config calls the files of a TLS.
type settings struct{ ca, cert, key string }

// Config returns it as Go has it. What can't be read now is an error; our own
// certificate is read again at each handshake, for certificates are renewed.
func (c TLS) Config() (*tls.Config, error) {
	called := c.settings
	if called == (settings{}) {
		called = settings{"ca_file", "cert_file", "key_file"}
	}
	t := &tls.Config{InsecureSkipVerify: c.Insecure, ServerName: c.ServerName, MinVersion: tls.VersionTLS12} //nolint:gosec // the operator's choice
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("read %s: %w", called.ca, err), "pgbaton's user has to be able to read it")
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read %s: %s holds no certificate in PEM form", called.ca, c.CAFile)
		}
	}
	if c.CertFile == "" && c.KeyFile != "" {
		return nil, fmt.Errorf("read %s: there is no %s beside it", called.key, called.cert)
	}
	if c.CertFile != "" {
		key := c.KeyFile
		if key == "" {
			key = c.CertFile
		}
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.CertFile, key)
			return &pair, err
		}
		if _, err := load(); err != nil {
			return nil, fmt.Errorf("read %s: %w", called.cert, err)
		}
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return t, nil
}
