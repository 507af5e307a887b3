package target

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// throne is a store whose one cluster is led as the test says.
type throne struct {
	mu      sync.Mutex
	baton   cluster.Baton
	rev     uint64
	changed chan struct{}
}

func (s *throne) set(b cluster.Baton) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.baton = b
	s.rev++
	if s.changed != nil {
		close(s.changed)
	}
	s.changed = make(chan struct{})
}

func (s *throne) Fetch(ctx context.Context, _ watcher.Query, after uint64) (watcher.Answer, error) {
	for {
		s.mu.Lock()
		b, rev, changed := s.baton, s.rev, s.changed
		s.mu.Unlock()
		if rev != after {
			return watcher.Answer{Presence: watcher.Present, Value: b, Rev: rev}, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return watcher.Answer{}, ctx.Err()
		}
	}
}

// named is a cluster whose leader key names a member.
func named(leader string, created uint64) cluster.Cluster {
	pairs := []watcher.Pair{
		{Path: "service/batman/leader", Value: leader, CreateIndex: created},
		{Path: "service/batman/members/pg1", Value: `{"conn_url":"postgres://a:1/x","role":"primary","state":"running"}`},
		{Path: "service/batman/members/pg2", Value: `{"conn_url":"postgres://b:2/x","role":"replica","state":"running"}`},
	}
	c := cluster.DecodePatroni("batman", "service/batman/", pairs)
	c.Name = "main"
	return c
}

// TestRehearses: what a candidate's confirmation will want is checked before,
// and not again.
func TestRehearses(t *testing.T) {
	for name, c := range map[string]struct {
		refuse string // a content that the check refuses
		want   string // what was checked, in order; ! is a follow
	}{
		"proved before it is needed":  {want: "leader=pg1 !leader=pg1 leader=pg2 !leader=pg2"},
		"refused: checked once again": {refuse: "leader=pg2", want: "leader=pg1 !leader=pg1 leader=pg2 leader=pg2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var story []string
				note := func(s string) {
					mu.Lock()
					defer mu.Unlock()
					story = append(story, s)
				}
				daemon := &obedient{
					check: func(_ context.Context, content string) error {
						note(content)
						if content == c.refuse {
							return reload.Refuse("no")
						}
						return nil
					},
					follow: func(content string) error {
						note("!" + content)
						return nil
					},
				}
				b := newBench(t, dir, `leader={{ (cluster "main").Leader.Name }}`)
				b.daemon, b.spec.Daemon = daemon, daemon
				keys := &throne{}
				policy := cluster.Policy{Confirm: []cluster.Way{cluster.WayRole}}
				steady := cluster.Next(cluster.Baton{}, named("pg1", 7), policy, nil, time.Now())
				keys.set(steady)

				b.startOn(map[string]watcher.Store{watcher.Clusters: keys})
				defer func() { b.stop() }()

				synctest.Wait()
				promoting := cluster.Next(steady, named("pg2", 9), policy, nil, time.Now())
				keys.set(promoting)
				time.Sleep(time.Second)
				synctest.Wait()
				if have := b.content("out"); have != "leader=pg1" {
					t.Errorf("while pg2 is not confirmed the file is %q", have)
				}
				presumed, _ := promoting.Presumed()
				keys.set(presumed)
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if have := strings.Join(story, " "); have != c.want {
					t.Errorf("checked and followed %q, want %q", have, c.want)
				}
			})
		})
	}
}
