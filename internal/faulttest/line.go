package faulttest

import (
	"context"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Line is a proxy that connections to a server go through, and that can be made a bad
// one.
type Line struct{ proxy *toxiproxy.Proxy }

// Bad lines. Each is a list of what is wrong with it.
var (
	Latency = []string{ // 50 to 250 ms each way
		`{"type":"latency","stream":"upstream","attributes":{"latency":150,"jitter":100}}`,
		`{"type":"latency","stream":"downstream","attributes":{"latency":150,"jitter":100}}`,
	}
	SlowClose   = []string{`{"type":"slow_close","attributes":{"delay":2000}}`}
	Slices      = []string{`{"type":"slicer","attributes":{"average_size":256,"size_variation":128,"delay":1000}}`}
	EndsEarly   = []string{`{"type":"limit_data","attributes":{"bytes":20000}}`}
	NothingCame = []string{`{"type":"timeout","attributes":{"timeout":0}}`} // it is open
)

// NewLine listens at one address, and leads to another, until the test ends. Both are
// host:port.
func NewLine(t testing.TB, at, to string) *Line {
	t.Helper()
	proxies := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	t.Cleanup(func() { _ = proxies.Collection.Clear() })
	l := &Line{toxiproxy.NewProxy(proxies, to, at, to)}
	if err := proxies.Collection.Add(l.proxy, true); err != nil {
		t.Fatal(err)
	}
	return l
}

// Spoil makes it a bad one, for what is open and for what comes.
func (l *Line) Spoil(t testing.TB, how []string) {
	t.Helper()
	for _, toxic := range how {
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { l.proxy.Toxics.ResetToxics(context.Background()) })
}

// Mend makes it a good one again.
func (l *Line) Mend(t testing.TB) {
	t.Helper()
	l.proxy.Toxics.ResetToxics(t.Context())
}

// Cut ends what is open, and refuses what comes, until it is mended.
func (l *Line) Cut(t testing.TB) (mend func()) {
	t.Helper()
	l.proxy.Stop()
	return func() {
		t.Helper()
		if err := l.proxy.Start(); err != nil {
			t.Fatal(err)
		}
	}
}
