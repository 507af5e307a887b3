package faulttest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Proxy stands before a real HTTP server. It hands on what the server answers, or
// what the test makes of that.
type Proxy struct {
	Addr string // host:port

	mu    sync.Mutex
	spoil func(Reply) Reply
}

// Reply is an answer of the server.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
	Cut    bool // the connection ends in the middle of the body
	Flood  bool // the body is followed by blanks without an end
}

// NewProxy starts a proxy before the server at addr, until the test ends.
func NewProxy(t testing.TB, addr string) *Proxy {
	t.Helper()
	p := &Proxy{}
	handOn := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	handOn.ModifyResponse = p.modify
	handOn.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	server := httptest.NewUnstartedServer(handOn)
	server.Config.ErrorLog = nil
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections() // queries that wait
		server.Close()
	})
	p.Addr = strings.TrimPrefix(server.URL, "http://")
	return p
}

// Spoil makes every answer another one from now on, those to questions that wait
// already included; nil makes none.
func (p *Proxy) Spoil(spoil func(Reply) Reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spoil = spoil
}

// modify is called once the server has begun its answer.
func (p *Proxy) modify(resp *http.Response) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spoil == nil {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	r := p.spoil(Reply{Status: resp.StatusCode, Header: resp.Header.Clone(), Body: body})
	resp.StatusCode, resp.Header = r.Status, r.Header
	resp.Header.Del("Content-Length")
	resp.Header.Del("Content-Encoding")
	resp.ContentLength = -1
	switch {
	case r.Cut:
		resp.Header.Set("Content-Length", fmt.Sprint(len(r.Body)))
		resp.Body = io.NopCloser(bytes.NewReader(r.Body[:len(r.Body)/2]))
	case r.Flood:
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(r.Body[:len(r.Body)/2]), flood{}))
	default:
		resp.Body = io.NopCloser(bytes.NewReader(r.Body))
	}
	return nil
}

// flood is blanks without an end.
type flood struct{}

func (flood) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}
