package patroni

import (
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

func prefixQuery(path string) watcher.Query {
	return watcher.Query{Kind: watcher.Prefix, Path: path}
}

// FuzzAnswers decodes whatever a member may answer with, all the way to a cluster. No host
// that comes out can end a line or a word of a config.
func FuzzAnswers(f *testing.F) {
	f.Add(`{"members":[{"name":"pg1","role":"leader","state":"running","api_url":"http://10.0.0.1:8008/patroni","host":"10.0.0.1","port":5432,"timeline":4}]}`,
		`{"state":"running","role":"master","timeline":4,"database_system_identifier":"7","xlog":{"location":5},"patroni":{"version":"3.0.2","scope":"s"}}`, `{"ttl":30}`)
	f.Add(`{"members":[{"name":"a\nb","host":"[::1]","port":"5\n"}],"pause":true,"scheduled_switchover":{"at":"x"}}`, `{"role":null}`, `{"ttl":1e300,"pause":1}`)
	f.Add(`{"members":[{"name":"é","role":"standby_leader","host":"fe80::1%eth0","port":-1,"lag":-5,"timeline":"99999999999999999999","tags":{"a":{"b":[]}}}]}`, `{"xlog":{"location":"x"}}`, `[]`)
	f.Add(`{"members":[{"name":"x","role":"leader","host":"a,b@c?d#e%0a"}]}`, `{"dcs_last_seen":9223372036854775807}`, ``)
	f.Fuzz(func(t *testing.T, body, self, config string) {
		v, err := decodeView([]byte(body))
		if err != nil {
			return
		}
		a := answer{base: "http://10.0.0.1:8008", remote: "10.0.0.1:8008", view: v, config: config}
		a.live, _ = decodeLive([]byte(self))
		var object map[string]any
		if decode([]byte(config), &object) != nil {
			a.config = ""
		}
		c, err := tally([]answer{a}, 0)
		if err != nil {
			return
		}
		k := &known{}
		k.learn(c, time.Now())
		first := k.keys(c.view)
		k.learn(c, time.Now())
		if !same(contents{pairs: first}, contents{pairs: k.keys(c.view)}) {
			t.Error("the same answer again is a change")
		}
		got := cluster.DecodePatroni("s", "", first)
		for _, m := range got.Members {
			if strings.ContainsAny(m.Host+m.APIHost(), " \t\r\n\x00'\"\\;{}#@?,") || len(m.Name) > maxName {
				t.Errorf("member %+v got through", m)
			}
		}
		if got.Leader != nil && (got.Leader.Name != v.leader || got.Key.Created == 0) {
			t.Errorf("%+v leads, created %d; the view says %q", got.Leader, got.Key.Created, v.leader)
		}
	})
}
