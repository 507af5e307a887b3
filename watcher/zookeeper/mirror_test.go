package zookeeper_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/google/go-cmp/cmp"

	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/watchertest"
	"github.com/pgbaton/pgbaton/watcher/zookeeper"
)

// client is one of another's.
func client(t *testing.T, s *servertest.ZooKeeperServer) *zk.Conn {
	t.Helper()
	c, _, err := zk.Connect([]string{s.Addr}, 10*time.Second, zk.WithLogger(quiet{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// TestWhatAZnodeIs: as keys are elsewhere.
func TestWhatAZnodeIs(t *testing.T) {
	t.Parallel()
	c := servertest.ZooKeeper(t, 1)
	z := client(t, c.Servers[0])
	c.Put(t, "/app/service/batman/config", "{}")
	c.Put(t, "/app/service/batman/members/pg1", "one")
	c.Put(t, "/app/service/batman/empty", "")
	if _, err := z.Create("/app/service/batman/leader", []byte("pg1"), zk.FlagEphemeral, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	if _, err := z.CreateContainer("/app/service/batman/container", nil, zk.FlagContainer, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	if _, err := z.Create("/app/service/batman/container/x", []byte("y"), 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	_, stat, err := z.Get("/app/service/batman/leader")
	if err != nil {
		t.Fatal(err)
	}
	store := open(t, &zookeeper.Config{Chroot: "/app/"}, c.Servers[0].Addr)
	for path, base := range map[string]string{"/service/batman/": "/service/batman/", "service/batman": "service/batman/", "": "service/batman/", "/": "/service/batman/"} {
		var have []watcher.Pair
		for _, p := range watchertest.Next(t, watchertest.Feed(t, store, watcher.Query{Kind: watcher.Prefix, Path: path})).Value.([]watcher.Pair) {
			if p.Key != strings.TrimLeft(strings.TrimPrefix(p.Path, path), "/") {
				t.Errorf("%q: %q is %q", path, p.Path, p.Key)
			}
			if p.Path == base+"leader" && (p.Session != fmt.Sprintf("%x", z.SessionID()) || p.CreateIndex != uint64(stat.Czxid) || p.ModifyIndex != uint64(stat.Mzxid)) {
				t.Errorf("the leader is %+v, want session %x and %+v", p, z.SessionID(), stat)
			}
			if p.Path != base+"leader" && p.Session != "" {
				t.Errorf("somebody holds %+v", p)
			}
			if strings.HasPrefix(p.Path, base) && p.Path != base {
				have = append(have, watcher.Pair{Path: strings.TrimPrefix(p.Path, base), Value: p.Value})
			}
		}
		want := []watcher.Pair{ // a folder is as those that Consul's UI makes
			{Path: "config", Value: "{}"},
			{Path: "container/"},
			{Path: "container/x", Value: "y"},
			{Path: "empty"},
			{Path: "leader", Value: "pg1"},
			{Path: "members/"},
			{Path: "members/pg1", Value: "one"},
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%q (-want +have):\n%s", path, diff)
		}
	}
	if _, err := store.Fetch(t.Context(), watcher.Query{Kind: watcher.Key, Path: "a//b"}, 0); err == nil || !strings.Contains(err.Error(), "invalid path") {
		t.Errorf("a path that is none: %v", err)
	}
}

// TestNothingSlipsThrough: whatever comes and goes, and however fast, who follows has at
// last what is there.
func TestNothingSlipsThrough(t *testing.T) {
	t.Parallel()
	c := servertest.ZooKeeper(t, 1)
	store := open(t, &zookeeper.Config{}, c.Servers[0].Addr)
	type follower struct {
		query watcher.Query
		mu    sync.Mutex
		last  watcher.Answer
	}
	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	var followers []*follower
	for _, q := range []watcher.Query{
		{Kind: watcher.Prefix, Path: "/t/"},
		{Kind: watcher.Prefix, Path: "/t/a/"},
		{Kind: watcher.Prefix, Path: "t/a/b"},
		{Kind: watcher.Key, Path: "/t/a"},
		{Kind: watcher.Key, Path: "/t/b/a"},
	} {
		f := &follower{query: q}
		followers = append(followers, f)
		feed := watchertest.Feed(t, store, q)
		following.Go(func() {
			for {
				a, err := feed.Next(ctx)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					t.Errorf("%s: %v", q, err)
					return
				}
				f.mu.Lock()
				if a.Rev <= f.last.Rev {
					t.Errorf("%s: revision %d follows %d", q, a.Rev, f.last.Rev)
				}
				f.last = a
				f.mu.Unlock()
			}
		})
	}
	var writing sync.WaitGroup
	for range 3 {
		z := client(t, c.Servers[0])
		writing.Go(func() {
			for range 700 {
				if err := disturb(z); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writing.Wait()
	for _, f := range followers {
		servertest.Eventually(t, f.query.String(), func() error {
			is, err := store.Fetch(t.Context(), f.query, 0)
			f.mu.Lock()
			defer f.mu.Unlock()
			if diff := cmp.Diff(is.Value, f.last.Value); diff != "" || is.Presence != f.last.Presence {
				return fmt.Errorf("%v, not %v; error %w; pairs (-is +followed):\n%s", f.last.Presence, is.Presence, err, diff)
			}
			return err
		})
	}
	cancel()
	following.Wait()
}

// disturb does something by chance below /t. That it can't is no error.
func disturb(z *zk.Conn) error {
	path := "/t"
	for range rand.IntN(4) {
		path += "/" + string("abc"[rand.IntN(3)])
	}
	var err error
	switch rand.IntN(5) {
	case 0, 1:
		_, err = z.Create(path, nil, 0, zk.WorldACL(zk.PermAll))
	case 2:
		_, err = z.Create(path, []byte("held"), zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	case 3:
		_, err = z.Set(path, []byte(strconv.Itoa(rand.Int())), -1)
	case 4:
		err = remove(z, path)
	}
	for _, fine := range []error{zk.ErrNoNode, zk.ErrNodeExists, zk.ErrNotEmpty, zk.ErrNoChildrenForEphemerals} {
		if errors.Is(err, fine) {
			return nil
		}
	}
	return err
}

// remove deletes a znode and all below it.
func remove(z *zk.Conn, path string) error {
	names, _, err := z.Children(path)
	for _, name := range names {
		err = errors.Join(err, remove(z, path+"/"+name))
	}
	return errors.Join(err, z.Delete(path, -1))
}

// TestHeartbeats: each costs one read, and neither those nor feeds that come and go leave
// anything behind.
func TestHeartbeats(t *testing.T) { // alone: goroutines are counted
	c := servertest.ZooKeeper(t, 1)
	z := client(t, c.Servers[0])
	for _, name := range []string{"leader", "config", "members/pg1", "members/pg2", "members/pg3"} {
		c.Put(t, "service/batman/"+name, "x")
	}
	store := open(t, &zookeeper.Config{}, c.Servers[0].Addr)
	q := watcher.Query{Kind: watcher.Prefix, Path: "service/batman/"}
	f := watchertest.Feed(t, store, q)
	watchertest.Next(t, f)
	beat := func(n int) {
		if _, err := z.Set("/service/batman/members/pg1", []byte(strconv.Itoa(n)), -1); err != nil {
			t.Error(err)
		}
	}
	server := func(figure string) (n int) {
		text, err := c.Servers[0].Ask("mntr")
		for line := range strings.Lines(text) {
			if name, value, _ := strings.Cut(strings.TrimSpace(line), "\t"); name == figure && err == nil {
				n, err = strconv.Atoi(value)
			}
		}
		if err != nil {
			t.Error(err)
		}
		return n
	}
	type traces struct{ Watches, Watchers, Goroutines int }
	left := func() traces {
		if _, err := store.Fetch(t.Context(), q, 0); err != nil {
			t.Error(err)
		}
		return traces{server("zk_watch_count"), store.Watchers(), runtime.NumGoroutine()}
	}
	before := left()

	packets := server("zk_packets_received")
	for i := range 200 {
		beat(i)
		watchertest.Next(t, f)
	}
	if n := server("zk_packets_received") - packets; n > 2*200+50 { // each is written and read; a few are pings
		t.Errorf("200 heartbeats took %d packets", n)
	}
	// Many more, faster than they can be read.
	var writing sync.WaitGroup
	for i := range 10 {
		writing.Go(func() {
			for j := range 1000 {
				beat(1000*i + j)
			}
		})
	}
	writing.Wait()
	beat(-1)
	for found := false; !found; {
		for _, p := range watchertest.Next(t, f).Value.([]watcher.Pair) {
			found = found || p.Value == "-1"
		}
	}
	for range 300 {
		if _, err := store.Fetch(t.Context(), q, 0); err != nil {
			t.Fatal(err)
		}
	}
	servertest.Eventually(t, "nothing is left behind", func() error {
		if after := left(); after.Watches != before.Watches || after.Watchers != before.Watchers || after.Goroutines > before.Goroutines+5 {
			return fmt.Errorf("before %+v, after %+v", before, after)
		}
		return nil
	})
	t.Logf("%+v", before)
}

// TestManyFeeds: so many that begin at once are served one after the other, over the
// session that there is.
func TestManyFeeds(t *testing.T) {
	t.Parallel()
	const clusters = 500
	c := servertest.ZooKeeper(t, 1)
	z := client(t, c.Servers[0])
	c.Put(t, "service/none", "")
	for i := range clusters {
		at := fmt.Sprintf("/service/c%d", i)
		var all []any
		for _, name := range []string{"", "/leader", "/config", "/initialize", "/history", "/status", "/members", "/members/pg1", "/members/pg2", "/members/pg3"} {
			all = append(all, &zk.CreateRequest{Path: at + name, Data: []byte("x"), Acl: zk.WorldACL(zk.PermAll)})
		}
		if _, err := z.Multi(all...); err != nil {
			t.Fatal(err)
		}
	}
	store := open(t, &zookeeper.Config{}, c.Servers[0].Addr)
	servertest.Eventually(t, "there is a session", says(t, store, "service/none", ""))
	before := store.SessionID()
	begun := time.Now()
	var feeds sync.WaitGroup
	for i := range clusters {
		f := watchertest.Feed(t, store, watcher.Query{Kind: watcher.Prefix, Path: fmt.Sprintf("service/c%d/", i)})
		feeds.Go(func() {
			if a, err := f.Next(t.Context()); err != nil || len(a.Value.([]watcher.Pair)) != 9 {
				t.Errorf("%d: %+v, %v", i, a, err)
			}
		})
	}
	feeds.Wait()
	t.Logf("all of %d after %v", clusters, time.Since(begun))
	if id := store.SessionID(); id != before {
		t.Errorf("session %x follows %x", id, before)
	}
}
