package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/netutil"

	"github.com/pgbaton/pgbaton/internal/doctor"
	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/secret"
	"github.com/pgbaton/pgbaton/internal/status"
)

// patients are how many balancers may wait at once: each costs memory.
const patients = 256

// practice is where balancers ask the doctor.
type practice struct {
	secrets *secret.Keeper
	log     hclog.Logger
	server  *http.Server
	socket  net.Listener
	ended   chan error // the server's end, if nobody asked for it

	mu     sync.Mutex
	config doctor.Config
	local  *patient
	last   map[string]string // by path: what was told of it last
	olds   sync.WaitGroup    // patients of configs of before, who are let go
}

// patient is a server with those who ask for it.
type patient struct {
	server *doctor.Server
	shared *doctor.Shared
}

func admit(c doctor.Config) (*patient, error) {
	server, err := doctor.NewServer(c)
	if err != nil {
		return nil, err
	}
	return &patient{server, doctor.NewShared(server, c.HTTPTimeout, server.Limit())}, nil
}

// release ends a patient's connection, once nobody looks at it.
func (p *patient) release() {
	p.shared.Wait()
	p.server.Close()
}

// openPractice listens and answers, until it is closed.
func openPractice(ctx context.Context, c doctor.Config, secrets *secret.Keeper, log hclog.Logger) (*practice, error) {
	local, err := admit(c)
	if err != nil {
		return nil, err
	}
	p := &practice{secrets: secrets, log: log, config: c, local: local, last: map[string]string{}, ended: make(chan error, 1)}
	address := net.JoinHostPort(c.HTTPAddress, strconv.Itoa(c.HTTPPort))
	l, err := (&net.ListenConfig{Control: status.UserTimeout}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, explain.Mark(hint.Wrap(err, "ss -ltnp 'sport = :%d' says who listens there: the pgDoctor of before, perhaps; or set http_port", c.HTTPPort), explain.NoDoctor)
	}
	p.socket = netutil.LimitListener(l, patients)
	p.server = status.Server(doctor.Handler(p.find, p.told))
	p.server.ErrorLog = log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})
	p.server.TLSConfig, err = doctorTLS(c)
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	go func() {
		serve := p.server.Serve
		if p.server.TLSConfig != nil {
			serve = func(l net.Listener) error { return p.server.ServeTLS(l, "", "") }
		}
		if err := serve(p.socket); !errors.Is(err, http.ErrServerClosed) {
			p.ended <- err
		}
	}()
	return p, nil
}

// doctorTLS reads a certificate at each handshake, for certificates are renewed; nil is
// plain HTTP.
func doctorTLS(c doctor.Config) (*tls.Config, error) {
	if c.HTTPCert == "" {
		return nil, nil
	}
	key := c.HTTPKey
	if key == "" {
		key = c.HTTPCert
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(c.HTTPCert, key)
		return &pair, err
	}
	if _, err := load(); err != nil {
		return nil, hint.Wrap(fmt.Errorf("read http_cert: %w", err), "pgbaton's user has to be able to read both files, in PEM")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return load() }}, nil
}

func (p *practice) address() string { return p.socket.Addr().String() }

// find is who looks at the server behind a path.
func (p *practice) find(path string) doctor.Examiner {
	if path != "/" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.local.shared
}

// told logs each verdict that is another one than before. What is secret is in none of
// them.
func (p *practice) told(_ context.Context, path string, reasons []string) []string {
	reasons = slices.Clone(reasons)
	for i := range reasons {
		reasons[i] = p.secrets.Hide(reasons[i])
	}
	text := strings.Join(reasons, "; ")
	p.mu.Lock()
	before, known := p.last[path]
	p.last[path] = text
	p.mu.Unlock()
	switch {
	case known && (before == "") == (text == ""): // what it fails for may have numbers in it
		p.log.Debug("told as before", "path", path, "reasons", text)
	case text == "":
		p.log.Info("the server is well", "path", path)
	default:
		p.log.Warn("the server is not well", "code", explain.Unwell, "path", path, "reasons", text)
	}
	return reasons
}

// take takes up another config. Where it listens stays as it is.
func (p *practice) take(c doctor.Config) {
	local, err := admit(c)
	if err != nil {
		p.log.Error("config refused, the old one stays", "error", err, "hint", hint.Of(err))
		return
	}
	p.mu.Lock()
	old, before := p.local, p.config
	p.local, p.config = local, c
	p.mu.Unlock()
	p.olds.Go(old.release)
	if before.HTTPPort != c.HTTPPort || before.HTTPAddress != c.HTTPAddress || before.HTTPCert != c.HTTPCert || before.HTTPKey != c.HTTPKey {
		p.log.Warn("http_port, http_address, http_cert and http_key count at the next start")
	}
	p.log.Info("config taken up", "checks", len(c.Checks))
}

// close ends it, and waits for answers that are under way.
func (p *practice) close() error {
	limited, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := p.server.Shutdown(limited)
	if err != nil {
		err = p.server.Close()
	}
	p.local.release()
	p.olds.Wait()
	return err
}
