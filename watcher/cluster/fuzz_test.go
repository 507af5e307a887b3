package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/watcher"
)

// FuzzDecodePatroni decodes whatever a member key may hold. No host that comes
// out can end a line or a word of a config.
func FuzzDecodePatroni(f *testing.F) {
	f.Add("pg1", `{"conn_url":"postgres://[::1]:5432/postgres","api_url":"http://[::1]:8008/patroni","role":"master"}`, `{"leader":"pg1"}`)
	f.Add("pg1", `postgres://u:p@a,b:1/x?application_name=http://c:2`, "pg1:pg2")
	f.Fuzz(func(t *testing.T, leader, member, failover string) {
		c := DecodePatroni("s", "service/s/", []watcher.Pair{
			{Path: "service/s/leader", Value: leader},
			{Path: "service/s/members/" + leader, Value: member},
			{Path: "service/s/failover", Value: failover},
			{Path: "service/s/sync", Value: failover},
			{Path: "service/s/config", Value: member},
		})
		for _, m := range c.Members {
			for _, e := range append(m.Endpoints, Endpoint{m.APIHost(), m.APIPort()}) {
				if strings.ContainsAny(e.Host, " \t\r\n\x00'\"\\;{}#") {
					t.Errorf("host %q got through", e.Host)
				}
			}
		}
		b := Next(Baton{}, c, Policy{}, nil, time.Now())
		if v := b.View(); !b.Same(Next(b, c, Policy{}, nil, time.Now())) && v.Phase == Steady {
			t.Errorf("the same keys again are a change: %+v", b)
		}
	})
}
