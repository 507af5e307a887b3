package baton

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// shelf is a store that holds what the test put there.
type shelf struct {
	pairs []watcher.Pair
	err   error
	asked watcher.Query
}

func (s *shelf) Fetch(_ context.Context, q watcher.Query, after uint64) (watcher.Answer, error) {
	s.asked = q
	return watcher.Answer{Presence: watcher.Present, Value: s.pairs, Rev: after + 1}, s.err
}

func (s *shelf) set(leader, location string) {
	s.pairs = []watcher.Pair{
		{Path: "service/batman/leader", Value: leader, CreateIndex: 7},
		{Path: "service/batman/members/pg1", Value: `{"conn_url":"postgres://a:1/x","role":"primary","state":"running","xlog_location":` + location + `}`},
		{Path: "service/batman/members/pg2", Value: `{"conn_url":"postgres://b:1/x","role":"replica","state":"running","xlog_location":` + location + `}`},
	}
}

var query = watcher.Query{Store: watcher.Clusters, Kind: watcher.Cluster, Path: "main"}

func TestTracker(t *testing.T) {
	var log bytes.Buffer
	keys := &shelf{}
	tr := New(keys, []Definition{{Name: "main", Scope: "batman", Namespace: "service", Trust: cluster.TrustKey}},
		hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Info}))
	fetch := func() (cluster.Baton, error) {
		a, err := tr.Fetch(t.Context(), query, 0)
		tr.tell("main")
		b, _ := a.Value.(cluster.Baton)
		return b, err
	}
	keys.set("pg1", "100")
	b, err := fetch()
	if err != nil || b.Term.Leader != "pg1" || b.Seen.Name != "main" || b.Phase != cluster.Steady {
		t.Fatalf("baton %+v, error %v", b, err)
	}
	if want := (watcher.Query{Kind: watcher.Prefix, Path: "service/batman/"}); keys.asked != want {
		t.Errorf("it asked for %v, want %v", keys.asked, want)
	}
	if s := log.String(); !strings.Contains(s, "leader confirmed: cluster=main leader=pg1 address=a:1") {
		t.Errorf("the log has no leader:\n%s", s)
	}
	log.Reset()
	keys.set("pg1", "200")
	if _, err := fetch(); err != nil || log.Len() > 0 {
		t.Errorf("a heartbeat: error %v, log %q", err, log.String())
	}
	keys.err = errors.New("away")
	if _, err := fetch(); err == nil || !strings.Contains(err.Error(), "cluster main: away") {
		t.Errorf("a store that is away: %v", err)
	}
	keys.err = nil
	keys.pairs = keys.pairs[1:] // the leader key is gone
	if b, err := fetch(); err != nil || b.Phase != cluster.Leaderless || b.View().Leader.Name != "pg1" {
		t.Errorf("without a leader key: %+v, error %v", b, err)
	}
	if _, err := tr.Fetch(t.Context(), watcher.Query{Path: "nobody"}, 0); err == nil {
		t.Error("a cluster that is not defined gave an answer")
	}
}

func TestInherit(t *testing.T) {
	keys := &shelf{}
	keys.set("pg1", "100")
	def := Definition{Name: "main", Scope: "batman", Namespace: "service", Trust: cluster.TrustKey}
	old := New(keys, []Definition{def}, hclog.NewNullLogger())
	if _, err := old.Fetch(t.Context(), query, 0); err != nil {
		t.Fatal(err)
	}
	keys.pairs = keys.pairs[1:] // the leader key is gone when the config is read again
	other := def
	other.Scope = "robin"
	for want, d := range map[string]Definition{"pg1": def, "": other} {
		tr := New(keys, []Definition{d}, hclog.NewNullLogger())
		tr.Inherit(old)
		a, err := tr.Fetch(t.Context(), query, 0)
		if b := a.Value.(cluster.Baton); err != nil || b.Term.Leader != want {
			t.Errorf("scope %s: leader %q, error %v; want %q", d.Scope, b.Term.Leader, err, want)
		}
	}
}

func TestPrefix(t *testing.T) {
	for want, d := range map[string]Definition{
		"service/batman/":   {Namespace: "service", Scope: "batman"},
		"service/batman/0/": {Namespace: "service", Scope: "batman", Group: "0"},
		"db/prod/batman/":   {Namespace: "db/prod", Scope: "batman"},
	} {
		if have := d.Prefix(); have != want {
			t.Errorf("prefix is %q, want %q", have, want)
		}
	}
}
