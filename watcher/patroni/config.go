// Package patroni answers queries for the keys of one Patroni cluster without its
// store: from the REST servers of its members.
//
// Each of them tells what it has read in the store, and all are asked, for one of them
// may have lost it and not know: what the majority says counts. The answers are given
// in the shape of Patroni's keys, so that whoever reads those need not know the
// difference.
package patroni

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/dial"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/login"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/poll"
)

// Config is the patroni block.
type Config struct {
	Members      []string   `hcl:"members"`                               // host:port or http(s)://host:port of REST servers; those that they name are asked too
	Interval     string     `hcl:"interval,optional" default:"\"1s\""`    // between two rounds while all is well
	User         string     `hcl:"user,optional" default:"none"`          // of basic authentication
	PasswordFile string     `hcl:"password_file,optional" default:"none"` // its first line, read at each request
	SSL          *login.SSL `hcl:"ssl,block"`                             // nil is plain, unless a member's address says https
}

// Resolve makes relative paths begin at dir.
func (c *Config) Resolve(dir string) {
	login.Beside(dir, append(c.SSL.Paths(), &c.PasswordFile)...)
}

// Bounds of the interval: Patroni's server is Python, and a cluster is not to be left
// alone for longer than its leader key lives.
const (
	shortest = 200 * time.Millisecond
	longest  = 30 * time.Second
)

// Open returns a store for c. It asks nobody yet.
func (c *Config) Open() (watcher.Store, error) {
	interval, err := poll.Interval("patroni", c.Interval, shortest, longest)
	if err != nil {
		return nil, err
	}
	if c.User == "" && c.PasswordFile != "" {
		return nil, hint.Wrap(errors.New("patroni: there is a password_file and no user"), "set user in the patroni block")
	}
	bases, err := c.bases()
	if err != nil {
		return nil, err
	}
	tls, err := c.SSL.Config()
	if err != nil {
		return nil, fmt.Errorf("patroni: %w", err)
	}
	s := &Store{
		configured: bases, user: c.User, passwordFile: c.PasswordFile, verifies: !tls.InsecureSkipVerify,
		// Patroni's server closes each connection anyway.
		client: &http.Client{
			Timeout:       patience,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // what a member says counts, and nothing that it points to
			Transport:     &http.Transport{TLSClientConfig: tls, DisableKeepAlives: true, DialContext: dial.Prompt().DialContext},
		},
	}
	s.poller = poll.New(interval, s.round, same)
	return s, nil
}

// bases are the addresses of the configured members, as scheme://host:port.
func (c *Config) bases() ([]string, error) {
	if len(c.Members) == 0 {
		return nil, hint.Wrap(errors.New("patroni: members is empty"), `name the REST servers, as members = ["10.0.0.1:8008", "10.0.0.2:8008"]`)
	}
	var bases []string
	for _, m := range c.Members {
		text := m
		if !strings.Contains(text, "://") {
			scheme := "http://"
			if c.SSL != nil {
				scheme = "https://"
			}
			text = scheme + text
		}
		u, err := url.Parse(text)
		base, ok := "", false
		if err == nil && u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" {
			base, ok = baseOf(text)
		}
		switch {
		case !ok:
			return nil, hint.Wrap(errors.New("patroni: an address in members is none"), `write each as "10.0.0.1:8008" or "https://10.0.0.1:8008"; a password goes into password_file`)
		case c.SSL != nil && strings.HasPrefix(base, "http://"):
			return nil, hint.Wrap(fmt.Errorf("patroni: member %s is plain http, though there is TLS", base), "begin all of them with https://, or leave the ssl block out")
		case slices.Contains(bases, base):
			return nil, hint.Wrap(fmt.Errorf("patroni: members has %s twice", base), "name each once")
		}
		bases = append(bases, base)
	}
	return bases, nil
}

// baseOf is the scheme://host:port of a URL, in one way of writing it.
func baseOf(text string) (base string, ok bool) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + joinHostPort(strings.ToLower(u.Hostname()), port), true
}
