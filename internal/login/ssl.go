package login

import (
	"crypto/tls"
	"path/filepath"
)

// SSL is the ssl block of a store: the TLS of its connections.
type SSL struct {
	CACert     string `hcl:"ca_cert,optional" default:"the system's"`
	Cert       string `hcl:"cert,optional" default:"none"` // read again at each connection
	Key        string `hcl:"key,optional" default:"cert"`
	ServerName string `hcl:"server_name,optional" default:"from the address"`
	Verify     *bool  `hcl:"verify,optional" default:"true"` // nil is true
}

// Paths are those of its files; none of a block that is not there.
func (s *SSL) Paths() []*string {
	if s == nil {
		return nil
	}
	return []*string{&s.CACert, &s.Cert, &s.Key}
}

// Config returns it as Go has it; of a block that is not there, what Go does by itself.
func (s *SSL) Config() (*tls.Config, error) {
	if s == nil {
		return TLS{}.Config()
	}
	return TLS{
		CAFile: s.CACert, CertFile: s.Cert, KeyFile: s.Key, ServerName: s.ServerName, Insecure: s.Verify != nil && !*s.Verify,
		settings: settings{"ca_cert", "cert", "key"},
	}.Config()
}

// Beside makes relative paths begin at dir.
func Beside(dir string, paths ...*string) {
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}
