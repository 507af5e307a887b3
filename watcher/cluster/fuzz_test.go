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
	f.Add("pg\n1", `{"conn_url":"postgres://a\u0000b:99999/x","api_url":"ftp://[::1%25eth0]:70000","role":"primary","tags":{"a":null},"timeline":"3","xlog_location":-1}`, `{"scheduled_at":"2026-01-01T00:00:00"}`)
	f.Add("pg1", `{"conn_url":"postgres://[::1]:0/","timeline":18446744073709551616,"ttl":1e300,"loop_wait":-1}`, `{"sync_standby":"PG1,*"}`)
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
			for _, e := range m.Endpoints {
				if e.Host == "" || len(e.Host) > maxName || e.Port < 1 || e.Port > 65535 {
					t.Errorf("endpoint %+v got through", e)
				}
			}
			if len(m.Name) > maxName || m.Host == "" != (len(m.Endpoints) == 0) {
				t.Errorf("member %+v got through", m)
			}
		}
		if l := c.Leader; l != nil && (l.Name != c.Key.Name || l.Host == "" || c.Member(l.Name) == nil) {
			t.Errorf("%q leads by the key of %+v", l.Name, c.Key)
		}
		b := Next(Baton{}, c, Policy{}, nil, time.Now())
		if v := b.View(); !b.Same(Next(b, c, Policy{}, nil, time.Now())) && v.Phase == Steady {
			t.Errorf("the same keys again are a change: %+v", b)
		}
	})
}
