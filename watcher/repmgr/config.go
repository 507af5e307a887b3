// Package repmgr answers queries for the nodes of a repmgr cluster: each node is asked by
// SQL for what it is, and for what its repmgr.nodes says of all. Who leads follows from
// that, and is not for the store to say.
package repmgr

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/login"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/poll"
)

// Config is the repmgr block.
type Config struct {
	Nodes        []string `hcl:"nodes"`                                  // host:port of PostgreSQL servers; those that they name are asked too
	Database     string   `hcl:"database,optional" default:"\"repmgr\""` // that has repmgr's tables
	User         string   `hcl:"user,optional" default:"\"repmgr\""`     // who may read them
	PasswordFile string   `hcl:"password_file,optional" default:"none"`  // its first line, read at each login
	SSLMode      string   `hcl:"sslmode,optional" default:"\"prefer\""`  // as libpq's
	CAFile       string   `hcl:"ca_file,optional" default:"none"`        // PEM, for verify-ca and verify-full
	CertFile     string   `hcl:"cert_file,optional" default:"none"`      // PEM
	KeyFile      string   `hcl:"key_file,optional" default:"none"`       // PEM
	Interval     string   `hcl:"interval,optional" default:"\"1s\""`     // between two rounds while all is well
}

// Resolve makes relative paths begin at dir.
func (c *Config) Resolve(dir string) {
	login.Beside(dir, &c.PasswordFile, &c.CAFile, &c.CertFile, &c.KeyFile)
}

// Bounds of the interval.
const (
	shortest = 100 * time.Millisecond
	longest  = 30 * time.Second
)

// Open returns a store for c. It asks nobody yet.
func (c *Config) Open() (watcher.Store, error) {
	interval, err := poll.Interval("repmgr", c.Interval, shortest, longest)
	if err != nil {
		return nil, err
	}
	if len(c.Nodes) == 0 {
		return nil, hint.Wrap(errors.New("repmgr: nodes is empty"), `name the servers, as nodes = ["10.0.0.1:5432", "10.0.0.2:5432"]`)
	}
	s := &Store{config: *c, nodes: map[string]*node{}}
	for _, text := range c.Nodes {
		address, err := addressOf(text)
		if err != nil {
			return nil, err
		}
		if slices.Contains(s.configured, address) {
			return nil, hint.Wrap(fmt.Errorf("repmgr: nodes has %s twice", address), "name each once")
		}
		s.configured = append(s.configured, address)
	}
	if _, err := c.connConfig(s.configured[0]); err != nil {
		return nil, err
	}
	s.poller = poll.New(interval, s.round, same)
	return s, nil
}

// addressOf is a configured address as host:port.
func addressOf(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil && strings.Contains(err.Error(), "missing port") {
		host, port, err = strings.Trim(text, "[]"), "5432", nil
	}
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" || strings.ContainsAny(host, "/@ '\"\\,") {
		return "", hint.Wrap(errors.New("repmgr: an address in nodes is none"), `write each as "10.0.0.1:5432"; a password goes into password_file`)
	}
	return net.JoinHostPort(host, port), nil
}

// connConfig is how an address is logged in to.
func (c *Config) connConfig(address string) (*pgconn.Config, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("log in to %s: %w", address, err)
	}
	password, err := login.Password(c.PasswordFile)
	if err != nil {
		return nil, err
	}
	// What the environment could bring in is named, so that it cannot.
	text := "target_session_attrs=any"
	for _, s := range []struct{ key, value string }{
		{"host", host},
		{"port", port},
		{"user", cmp.Or(c.User, "repmgr")},
		{"dbname", cmp.Or(c.Database, "repmgr")},
		{"sslmode", cmp.Or(c.SSLMode, "prefer")},
		{"sslrootcert", c.CAFile},
		{"sslcert", c.CertFile},
		{"sslkey", c.KeyFile},
	} {
		text += " " + s.key + "=" + login.Quote(s.value)
	}
	config, err := pgconn.ParseConfig(text)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("read the repmgr block: %w", err), "sslmode is one of disable, allow, prefer, require, verify-ca, verify-full")
	}
	config.Password = password
	if !strings.HasPrefix(c.SSLMode, "verify-") {
		config.RequireAuth = "!password" // anybody may be the server that a node names
	}
	config.RuntimeParams = map[string]string{"application_name": "pgbaton", "statement_timeout": strconv.Itoa(int(10 * time.Second / time.Millisecond))}
	return config, nil
}
