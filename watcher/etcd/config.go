// Package etcd answers queries for keys from etcd v3. Keys are read linearizably:
// an answer is the cluster's, or there is none.
package etcd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/login"
	"github.com/pgbaton/pgbaton/watcher"
)

// Config is the etcd block.
type Config struct {
	Endpoints    []string   `hcl:"endpoints,optional" default:"[\"127.0.0.1:2379\"]"` // host:port or http(s)://host:port each; any that answers will do
	User         string     `hcl:"user,optional" default:"none"`
	Password     string     `hcl:"password,optional" default:"none"`
	PasswordFile string     `hcl:"password_file,optional" default:"none"` // its first line, read at each login
	SSL          *login.SSL `hcl:"ssl,block"`                             // nil is plain, unless an endpoint says https
}

// Resolve makes relative paths begin at dir.
func (c *Config) Resolve(dir string) {
	login.Beside(dir, append(c.SSL.Paths(), &c.PasswordFile)...)
}

// Open returns a store for c. It connects to nothing yet.
func (c *Config) Open() (watcher.Store, error) {
	endpoints, secure := c.Endpoints, c.SSL != nil
	if len(endpoints) == 0 {
		endpoints = []string{"127.0.0.1:2379"}
	}
	for _, e := range endpoints {
		scheme, rest, named := strings.Cut(e, "://")
		if named && scheme != "http" && scheme != "https" || !named && strings.Contains(e, "/") || named && rest == "" || e == "" {
			return nil, hint.Wrap(fmt.Errorf("etcd: endpoint %q is no address", e), `write it as "10.0.0.1:2379" or "https://10.0.0.1:2379"`)
		}
		secure = secure || scheme == "https"
	}
	if secure && slices.ContainsFunc(endpoints, func(e string) bool { return strings.HasPrefix(e, "http://") }) {
		return nil, hint.Wrap(errors.New("etcd: one endpoint is plain http, though there is TLS for others"), "begin all of them with https://, or none")
	}
	if c.User == "" && (c.Password != "" || c.PasswordFile != "") {
		return nil, hint.Wrap(errors.New("etcd: there is a password and no user"), "set user in the etcd block")
	}
	s := &Store{endpoints: endpoints, user: c.User, password: func() (string, error) { return c.Password, nil }}
	if c.PasswordFile != "" {
		s.password = func() (string, error) { return login.Password(c.PasswordFile) }
	}
	if !secure {
		return s, nil
	}
	var err error
	if s.tls, err = c.SSL.Config(); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	for i, e := range s.endpoints {
		if !strings.Contains(e, "://") {
			s.endpoints[i] = "https://" + e
		}
	}
	return s, nil
}
