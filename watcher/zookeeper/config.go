// Package zookeeper answers queries for keys from ZooKeeper: a znode's path is a key,
// and its data the value. What a server says is read after it has caught up with the
// leader of its ensemble.
package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/login"
	"github.com/pgbaton/pgbaton/watcher"
)

// Config is the zookeeper block.
type Config struct {
	Hosts        []string   `hcl:"hosts,optional" default:"[\"127.0.0.1:2181\"]"` // host or host:port each; any that answers will do
	Chroot       string     `hcl:"chroot,optional" default:"none"`                // the znode that paths begin at
	User         string     `hcl:"user,optional" default:"none"`                  // of digest ACLs
	Password     string     `hcl:"password,optional" default:"none"`
	PasswordFile string     `hcl:"password_file,optional" default:"none"` // its first line, read whenever something is begun to be read
	SSL          *login.SSL `hcl:"ssl,block"`                             // nil is plain
}

// Resolve makes relative paths begin at dir.
func (c *Config) Resolve(dir string) {
	login.Beside(dir, append(c.SSL.Paths(), &c.PasswordFile)...)
}

// Open returns a store for c. It connects to nothing yet.
func (c *Config) Open() (watcher.Store, error) {
	s := &Store{user: c.User, password: func() (string, error) { return c.Password, nil }}
	for _, h := range c.Hosts {
		address, err := withPort(h)
		if err != nil {
			return nil, err
		}
		s.hosts = append(s.hosts, address)
	}
	if len(s.hosts) == 0 {
		s.hosts = []string{"127.0.0.1:2181"}
	}
	s.turn = rand.IntN(len(s.hosts)) //nolint:gosec // so that not all of a fleet come to the same
	if at := strings.Trim(c.Chroot, "/"); at != "" {
		s.chroot = "/" + at
	}
	switch {
	case c.User == "" && (c.Password != "" || c.PasswordFile != ""):
		return nil, hint.Wrap(errors.New("zookeeper: there is a password and no user"), "set user in the zookeeper block")
	case strings.Contains(c.User, ":"):
		return nil, hint.Wrap(errors.New("zookeeper: user has a colon, which no user of a digest ACL has"), "write the password into password_file")
	}
	if c.PasswordFile != "" {
		s.password = func() (string, error) { return login.Password(c.PasswordFile) }
	}
	if c.SSL != nil {
		var err error
		if s.tls, err = c.SSL.Config(); err != nil {
			return nil, fmt.Errorf("zookeeper: %w", err)
		}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// withPort is a host with the port that ZooKeeper has if it says none.
func withPort(host string) (string, error) {
	if strings.Contains(host, "/") {
		return "", hint.Wrap(fmt.Errorf("zookeeper: host %q is no address", host), `write it as "10.0.0.1:2181"; where paths begin is chroot`)
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), "2181"
	}
	if slices.Contains([]string{name, port}, "") {
		return "", hint.Wrap(fmt.Errorf("zookeeper: host %q is no address", host), `write it as "10.0.0.1:2181"`)
	}
	return net.JoinHostPort(name, port), nil
}
