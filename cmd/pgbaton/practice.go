package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
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

// waiting are how many balancers may wait at once: each costs memory.
const waiting = 256

// practice is where balancers ask the doctor.
type practice struct {
	secrets *secret.Keeper
	log     hclog.Logger
	server  *http.Server
	socket  net.Listener
	ended   chan error // the server's end, if nobody asked for it

	mu       sync.Mutex
	here     doctor.Config
	patients *patients
	last     map[string]string // by path: what was told of it last
	olds     sync.WaitGroup    // patients of plans of before, who are let go
}

// openPractice listens and answers, until it is closed.
func openPractice(ctx context.Context, from plan, secrets *secret.Keeper, log hclog.Logger) (*practice, error) {
	c := from.here
	p := &practice{secrets: secrets, log: log, here: c, last: map[string]string{}, ended: make(chan error, 1)}
	address := c.Listens()
	l, err := (&net.ListenConfig{Control: status.UserTimeout}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, explain.Mark(hint.Wrap(err, "ss -ltnp 'sport = :%d' says who listens there: the pgDoctor of before, perhaps; or set http_port", c.HTTPPort), explain.NoDoctor)
	}
	p.socket = netutil.LimitListener(l, waiting)
	p.server = status.Server(doctor.Handler(p.find, p.told))
	// Who is slow takes no place of who asks next.
	p.server.ReadTimeout, p.server.WriteTimeout, p.server.IdleTimeout = 5*time.Second, c.HTTPTimeout+5*time.Second, 10*time.Second
	p.server.ErrorLog = log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})
	if p.server.TLSConfig, err = doctorTLS(c); err == nil {
		p.patients, err = admit(ctx, from, secrets, log)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
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

func (p *practice) find(path string) doctor.Examiner {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.patients.find(path)
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
	if len(p.last) > 1000 { // who asks may make paths up, before members are known
		clear(p.last)
	}
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

// take takes up another plan, once the members of its clusters are known: until then whoever
// asks is told by the old one. Where it listens stays as it is.
func (p *practice) take(ctx context.Context, next plan) {
	fresh, err := admit(ctx, next, p.secrets, p.log)
	if err == nil {
		if _, err = fresh.paths(ctx); err != nil {
			fresh.release()
		}
	}
	if err != nil {
		p.log.Error("config refused, the old one stays", "code", explain.ConfigRefused, "error", err, "hint", hint.Of(err))
		return
	}
	p.mu.Lock()
	old, before := p.patients, p.here
	p.patients, p.here = fresh, next.here
	p.mu.Unlock()
	p.olds.Go(old.release)
	if before.Listens() != next.here.Listens() || before.HTTPCert != next.here.HTTPCert || before.HTTPKey != next.here.HTTPKey {
		p.log.Warn("where it listens, and the paths of its certificate, count at the next start", "now", p.address())
	}
	p.log.Info("config taken up", next.describe()...)
}

// close ends it, and waits for answers that are under way.
func (p *practice) close() error {
	limited, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := p.server.Shutdown(limited)
	if err != nil {
		err = p.server.Close()
	}
	p.patients.release()
	p.olds.Wait()
	return err
}
