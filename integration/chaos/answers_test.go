//go:build amd64

package chaos

import (
	"bytes"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// page is what stands in a server's place when it is away.
const page = "<html><head><title>Welcome</title></head><body>Please log in</body></html>"

// nonsense are answers that say nothing of the store, each made of a real one.
var nonsense = map[string]struct {
	says  string // in the log
	spoil func(faulttest.Reply) faulttest.Reply
}{
	"429": {"429", failing(http.StatusTooManyRequests)},
	"500": {"500", failing(http.StatusInternalServerError)},
	"502": {"502", failing(http.StatusBadGateway)},
	"503": {"503", failing(http.StatusServiceUnavailable)},
	"504": {"504", failing(http.StatusGatewayTimeout)},
	"page in its place": {"invalid character", func(faulttest.Reply) faulttest.Reply {
		return faulttest.Reply{Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/html"}}, Body: []byte(page)}
	}},
	"page that is not found": {"knows no leader", func(faulttest.Reply) faulttest.Reply {
		return faulttest.Reply{Status: http.StatusNotFound, Header: http.Header{"Content-Type": {"text/html"}}, Body: []byte(page)}
	}},
	"empty list in its place": {"knows no leader", func(faulttest.Reply) faulttest.Reply {
		return faulttest.Reply{Status: http.StatusOK, Header: http.Header{}, Body: []byte("[]")}
	}},
	"garbage": {"invalid character", func(r faulttest.Reply) faulttest.Reply {
		r.Body = bytes.ReplaceAll(r.Body, []byte(`"Value"`), []byte(`"Value"`+"\x00"))
		return r
	}},
	"list with a hole": {"a null where something has to be", func(r faulttest.Reply) faulttest.Reply {
		r.Body = append([]byte("[null,"), bytes.TrimLeft(r.Body, "[\n")...)
		return r
	}},
	"cut in the middle": {"unexpected EOF", func(r faulttest.Reply) faulttest.Reply {
		r.Cut = true
		return r
	}},
	"answer without an end": {"is larger than 64 MiB", func(r faulttest.Reply) faulttest.Reply {
		r.Flood = true
		return r
	}},
	"index that is none": {"knows no leader", func(r faulttest.Reply) faulttest.Reply {
		r.Header.Set("X-Consul-Index", "soon")
		return r
	}},
	"server that knows no leader": {"knows no leader", func(r faulttest.Reply) faulttest.Reply {
		r.Header.Set("X-Consul-KnownLeader", "false")
		return r
	}},
	"stale answer": {"stale: of a server that heard from the leader 1.5s ago", func(r faulttest.Reply) faulttest.Reply {
		r.Header.Set("X-Consul-LastContact", "1500")
		return r
	}},
}

func failing(status int) func(faulttest.Reply) faulttest.Reply {
	return func(faulttest.Reply) faulttest.Reply {
		return faulttest.Reply{Status: status, Header: http.Header{"Content-Type": {"text/html"}}, Body: []byte(page)}
	}
}

// TestNonsense spoils what a real Consul answers while the leader moves: nothing
// changes on disk, pgbaton says what is wrong, and follows once it is mended.
func TestNonsense(t *testing.T) {
	consul := servertest.Consul(t)
	proxy := faulttest.NewProxy(t, consul.Addr)
	k := newKeyed(t, consul.Client, proxy.Addr, beside, keyedSettings{})
	leader, led := 1, []int{1}
	for name, fault := range nonsense {
		t.Run(name, func(t *testing.T) {
			for range rounds(t) {
				said, away := strings.Count(k.daemon.Output(), fault.says), k.awaysSaid()
				proxy.Spoil(fault.spoil)
				k.lead(t, 3-leader)
				k.away(t, away, leader)
				if strings.Count(k.daemon.Output(), fault.says) == said {
					t.Errorf("it does not say %q:\n%s", fault.says, k.daemon.Output())
				}
				proxy.Spoil(nil)
				leader = 3 - leader
				k.follows(t, leader)
				led = append(led, leader)
				k.told(t, led)
			}
			t.Logf("injected %d times", rounds(t))
		})
	}
}

// TestEventsGoWrong: a proxy drops an answer, says one twice, or goes on with an
// old one. The leader never goes back. What an index is ahead of is seen once
// Consul ends the wait.
func TestEventsGoWrong(t *testing.T) {
	consul := servertest.Consul(t)
	proxy := faulttest.NewProxy(t, consul.Addr)
	k := newKeyed(t, consul.Client, proxy.Addr, beside, keyedSettings{consul: `block_query_wait = "2s"`})
	k.timeline = 1
	leader, led := 1, []int{1}
	follows := func(t *testing.T) {
		t.Helper()
		k.follows(t, leader)
		led = append(led, leader)
		k.told(t, led)
	}
	// last is the answer that was handed on last.
	var last atomic.Pointer[faulttest.Reply]
	keep := func(r faulttest.Reply) faulttest.Reply {
		last.Store(&r)
		return r
	}
	// once spoils one answer, and then no more.
	once := func(spoil func(real, before faulttest.Reply) faulttest.Reply) func(faulttest.Reply) faulttest.Reply {
		var done atomic.Bool
		return func(r faulttest.Reply) faulttest.Reply {
			before := last.Load()
			keep(r)
			if before == nil || !done.CompareAndSwap(false, true) {
				return r
			}
			return spoil(r, *before)
		}
	}
	for name, spoil := range map[string]func() func(faulttest.Reply) faulttest.Reply{
		"said twice": func() func(faulttest.Reply) faulttest.Reply {
			return once(func(_, before faulttest.Reply) faulttest.Reply { return before })
		},
		"dropped": func() func(faulttest.Reply) faulttest.Reply {
			return once(func(real, before faulttest.Reply) faulttest.Reply {
				real.Body = before.Body // its index says that it is the newest
				return real
			})
		},
		"index jumps ahead": func() func(faulttest.Reply) faulttest.Reply {
			return once(func(real, _ faulttest.Reply) faulttest.Reply {
				real.Header.Set("X-Consul-Index", "999999999")
				return real
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range rounds(t) {
				proxy.Spoil(keep)
				k.lead(t, leader) // so that there is a last one
				follows(t)
				proxy.Spoil(spoil())
				leader = 3 - leader
				k.lead(t, leader)
				follows(t)
				proxy.Spoil(nil)
				leader = 3 - leader
				k.lead(t, leader)
				follows(t)
			}
			t.Logf("injected %d times", rounds(t))
		})
	}
	t.Run("goes on with an old one", func(t *testing.T) {
		for range rounds(t) {
			proxy.Spoil(keep)
			k.lead(t, leader)
			follows(t)
			servertest.Eventually(t, "an answer with a leader", func() error {
				if r := last.Load(); r == nil || !bytes.Contains(r.Body, []byte(`"service/batman/leader"`)) {
					return errNoLeader
				}
				return nil
			})
			old := *last.Load()
			leader = 3 - leader
			k.lead(t, leader)
			follows(t)
			refused := strings.Count(k.daemon.Output(), "leader refused")
			proxy.Spoil(func(faulttest.Reply) faulttest.Reply {
				old.Header = old.Header.Clone()
				return old
			})
			k.lead(t, leader) // an answer
			servertest.Eventually(t, "the older leader is refused", func() error {
				if strings.Count(k.daemon.Output(), "leader refused") == refused {
					return errorWith(errNotRefused, []byte(k.daemon.Output()))
				}
				return k.shows(leader)
			})
			proxy.Spoil(nil)
			leader = 3 - leader
			k.lead(t, leader)
			follows(t)
		}
		t.Logf("injected %d times", rounds(t))
	})
}
