package cluster

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/watcher"
)

// FuzzDecodePatroni decodes whatever a member key may hold.
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
		wellMeant(t, c)
	})
}

// wellMeant: no host that comes out of a decoder can end a line or a word of a config, who
// leads is a member, and the same again is no change.
func wellMeant(t *testing.T, c Cluster) {
	t.Helper()
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
}

// FuzzDecodeStolon decodes whatever the parts of a clusterdata may hold.
func FuzzDecodeStolon(f *testing.F) {
	f.Add(`{"formatVersion":1,"cluster":{"spec":{"role":"standby","failInterval":"5s"},"status":{"master":"a"}},"keepers":{"k1":{"status":{"canBeMaster":false}}},"proxy":{"generation":3,"spec":{"masterDbUid":"a"}},"dbs":{"a":{"generation":2,"spec":{"keeperUID":"k1","role":"master"},"status":{"currentGeneration":2,"healthy":true,"listenAddress":"a","port":"1","systemdID":"7","timelineID":1,"xLogPos":9,"synchronousStandbys":["b"]}}}}`, "127.0.0.1", "5432", "keeper1")
	f.Add(`{"formatVersion":1,"cluster":{"spec":{"failInterval":"-1s","sleepInterval":5}},"proxy":{"generation":18446744073709551615,"spec":{"masterDbUid":"x"}},"dbs":{"x":{"status":{"currentGeneration":-1}},"y":null}}`, "a\nb", "0", "")
	f.Add(`{"formatVersion":1,"cluster":{},"dbs":{"":{"status":{"listenAddress":"::1","port":"1"}}}}`, "fd00::1%x", "+1", "k\x00")
	f.Fuzz(func(t *testing.T, text, host, port, keeper string) {
		once := decodeStolon(text, Cluster{})
		wellMeant(t, once)
		db := map[string]any{"spec": map[string]any{"keeperUID": keeper, "role": "master"}, "status": map[string]any{"listenAddress": host, "port": port}}
		made, err := json.Marshal(map[string]any{
			"formatVersion": 1, "cluster": map[string]any{}, "dbs": map[string]any{"u": db}, "proxy": map[string]any{"spec": map[string]any{"masterDbUid": "u"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c := decodeStolon(string(made), once)
		wellMeant(t, c)
		if c.Leader == nil && len(c.Problems) == 0 && (host != "" || port != "") {
			t.Errorf("%q, %q is no address, and nobody is told", host, port)
		}
	})
}

// FuzzDecodeKey decodes whatever a key that names the leader may hold, with a catalog and
// without one.
func FuzzDecodeKey(f *testing.F) {
	for _, text := range []string{
		"10.0.0.1:5432", "pg1", "fd00::1", "[fd00::1]:5433", "postgres://u:p@a,b:1/x", `{"host":"a","port":"5433"}`, `{"conn_url":"postgres://a"}`,
		`{"Address":"10.0.0.1","Port":5432,"Node":"pg1"}`, `"pg1"`, "a\nb", ":1", "{}", `{"host":{}}`, `"\"x\""`, `{"host":"a"} x`,
	} {
		f.Add(text, "pg1", "10.0.0.1", 5432)
	}
	f.Add("pg2", "pg\n2", "a b", -1)
	f.Fuzz(func(t *testing.T, text, node, address string, port int) {
		for _, k := range []Key{{Path: "k"}, {Path: "k", Service: "postgres"}} {
			source, err := k.Source(Place{Name: "main"})
			if err != nil {
				t.Fatal(err)
			}
			known := watcher.Snapshot{}
			for _, q := range source.Queries(nil) {
				a := watcher.Answer{Presence: watcher.Present, Value: watcher.Pair{Path: "k", Value: text, ModifyIndex: 3}}
				if q.Kind == watcher.Service {
					a.Value = []*watcher.Instance{
						{Node: node, ID: text, Name: "postgres", Address: address, Port: port, Status: watcher.Passing, Tags: watcher.Tags{text}},
						{Node: node, ID: "b", Name: "postgres", Address: "10.0.0.2", Port: 5432, Status: watcher.Critical},
					}
				}
				known[q] = a
			}
			c := source.Decode(Cluster{}, known)
			wellMeant(t, c)
			if c.Leader == nil && len(c.Problems) == 0 {
				t.Errorf("%q names nobody, and nobody is told", text)
			}
			if c.Leader != nil && source.Decode(c, known).Key != c.Key {
				t.Errorf("%q again is another leader", text)
			}
		}
	})
}
