//go:build bench

package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// clusters are simulated ones of three members each, with the keys that Patroni
// keeps.
type clusters struct {
	consul   *servertest.ConsulServer
	scopes   []string
	sessions [][2]string // of the two members that take turns, for each scope
	leads    []int       // which of the two leads, or led last
	vacant   int         // the cluster whose leader key is gone
}

const members = 3

func newClusters(t *testing.T, n int) *clusters {
	t.Helper()
	// All but pgbaton need a connection for each key that they look at.
	c := &clusters{consul: servertest.Consul(t, "limits { http_max_conns_per_client = 15000 }"), leads: make([]int, n)}
	for i := range n {
		scope := fmt.Sprintf("c%04d", i+1)
		c.scopes = append(c.scopes, scope)
		c.consul.Put(t, "service/"+scope+"/initialize", fmt.Sprint(7000000000000000000+i))
		c.consul.Put(t, "service/"+scope+"/config", `{"loop_wait":10,"retry_timeout":10,"ttl":30}`)
		var s [2]string
		for m := range s {
			id, _, err := c.consul.Client.Session().CreateNoChecks(&api.SessionEntry{Behavior: "delete", LockDelay: time.Nanosecond}, nil)
			if err != nil {
				t.Fatal(err)
			}
			s[m] = id
		}
		c.sessions = append(c.sessions, s)
		for m := range members {
			c.heartbeat(t, i, m, 1)
		}
		c.take(t, i, 0)
	}
	return c
}

// heartbeat rewrites a member's key with a new position, as its Patroni does
// every loop_wait.
func (c *clusters) heartbeat(t *testing.T, cluster, member int, lsn int64) {
	t.Helper()
	role := "replica"
	if member == c.leads[cluster] {
		role = "master"
	}
	c.consul.Put(t, fmt.Sprintf("service/%s/members/pg%d", c.scopes[cluster], member+1), fmt.Sprintf(
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
	c.consul.Delete(t, "service/"+c.scopes[c.vacant]+"/leader")
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
	ok, _, err := c.consul.Client.KV().Acquire(&api.KVPair{
		Key: "service/" + c.scopes[cluster] + "/leader", Session: c.sessions[cluster][member],
		Value: fmt.Appendf(nil, "pg%d", member+1),
	}, nil)
	if err != nil || !ok {
		t.Fatalf("take the leader key of %s: %v, %v", c.scopes[cluster], ok, err)
	}
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
