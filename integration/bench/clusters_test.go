//go:build bench

package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// clusters are simulated ones of three members each, with the keys that Patroni
// keeps.
type clusters struct {
	store  store
	scopes []string
	leads  []int // which of the two members that take turns leads, or led last
	vacant int   // the cluster whose leader key is gone
}

const members = 3

func newClusters(t *testing.T, s store, n int) *clusters {
	t.Helper()
	c := &clusters{store: s, leads: make([]int, n)}
	for i := range n {
		c.scopes = append(c.scopes, fmt.Sprintf("c%04d", i+1))
		s.Put(t, c.key(i, "initialize"), fmt.Sprint(7000000000000000000+i))
		s.Put(t, c.key(i, "config"), `{"loop_wait":10,"retry_timeout":10,"ttl":30}`)
		s.join(t, 2)
		for m := range members {
			c.heartbeat(t, i, m, 1)
		}
		c.take(t, i, 0)
	}
	return c
}

// key is the path of a key of a cluster.
func (c *clusters) key(cluster int, name string) string {
	return c.store.Root() + "service/" + c.scopes[cluster] + "/" + name
}

// heartbeat rewrites a member's key with a new position, as its Patroni does
// every loop_wait.
func (c *clusters) heartbeat(t *testing.T, cluster, member int, lsn int64) {
	t.Helper()
	role := "replica"
	if member == c.leads[cluster] {
		role = "master"
	}
	c.store.Put(t, c.key(cluster, fmt.Sprintf("members/pg%d", member+1)), fmt.Sprintf(
		`{"conn_url":"postgres://10.%d.%d.%d:5432/postgres","api_url":"http://10.%[1]d.%[2]d.%[3]d:8008/patroni","state":"running",`+
			`"role":"%s","version":"3.0.2","xlog_location":%d,"timeline":1}`, cluster/250, cluster%250, member+1, role, 50331648+lsn*8192))
}

// heartbeats keeps the pace of a loop_wait of 9 s until the test ends: 60
// clusters make 20 a second.
func (c *clusters) heartbeats(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	wg.Go(func() {
		tick := time.NewTicker(9 * time.Second / time.Duration(members*len(c.scopes)))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			// The third member, which never leads, too: its key is below the same prefix.
			i := n % (members * len(c.scopes))
			c.heartbeat(t, i/members, i%members, int64(n+2))
		}
	})
}

// vacate lets a random cluster's leader go.
func (c *clusters) vacate(t *testing.T) {
	t.Helper()
	if n := len(c.scopes); n > 1 {
		c.vacant = (c.vacant + 1 + rand.IntN(n-1)) % n // not the same again
	} else {
		pause(t, spacing)
	}
	c.store.Delete(t, c.key(c.vacant, "leader"))
}

// move gives the key of the cluster that was vacated to the other member, and
// returns the time at which it asked for that.
func (c *clusters) move(t *testing.T) time.Time {
	t.Helper()
	at := time.Now()
	c.take(t, c.vacant, 1-c.leads[c.vacant])
	return at
}

func (c *clusters) take(t *testing.T, cluster, member int) {
	t.Helper()
	c.store.take(t, c.key(cluster, "leader"), fmt.Sprintf("pg%d", member+1), 2*cluster+member)
	c.leads[cluster] = member
}

// spacing is the least time between two changes of one key. consul-template
// looks at a key at most ten times a second; a real switchover leaves it more
// time than that.
const spacing = 105 * time.Millisecond

// pause waits a while that differs from time to time, so that no two clocks
// march in step.
func pause(t *testing.T, least time.Duration) {
	select {
	case <-t.Context().Done():
	case <-time.After(least + rand.N(least/8)):
	}
}
