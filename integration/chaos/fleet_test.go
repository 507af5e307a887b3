//go:build amd64

package chaos

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// fleet is one pgbaton with many clusters, on a real Consul in which the test writes
// their keys.
type fleet struct {
	consul *servertest.ConsulServer
	dir    string
	listen string // its status listener
	daemon *servertest.Process
	leads  []int // by cluster: which of its two members
	beats  int
}

func newFleet(t *testing.T, n int) *fleet {
	t.Helper()
	f := &fleet{consul: servertest.Consul(t), dir: t.TempDir(), leads: make([]int, n)}
	f.listen = fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	f.fill(t)
	var config strings.Builder
	fmt.Fprintf(&config, "state_dir = %q\nconsul {\n  address = %q\n}\nstatus {\n  listen = %q\n}\n", filepath.Join(f.dir, "state"), f.consul.Addr, f.listen)
	for i := range n {
		fmt.Fprintf(&config, `
cluster "patroni" "c%[1]d" {
  scope   = "c%[1]d"
  confirm = ["none"]
}
target "exec" "c%[1]d" {
  template {
    contents    = "{{ (cluster \"c%[1]d\").Leader.Name }}"
    destination = "%[2]s/c%[1]d"
  }
  command = ["true"]
}
`, i, f.dir)
	}
	f.daemon = servertest.Start(t, beside(binary, "run", "-config", servertest.File(t, filepath.Join(f.dir, "pgbaton.hcl"), config.String(), 0o644)))
	f.follows(t)
	return f
}

// fill writes every key, as after a restart of a Consul that keeps nothing.
func (f *fleet) fill(t *testing.T) {
	t.Helper()
	var ops api.TxnOps
	for i := range f.leads {
		ops = append(ops, set(i, "initialize", fmt.Sprint(7226+i)), set(i, "leader", fmt.Sprint("pg", f.leads[i])))
		for m := range 2 {
			ops = append(ops, f.heartbeat(i, m))
		}
	}
	f.write(t, ops)
}

func set(cluster int, key, value string) *api.TxnOp {
	return &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVSet, Key: fmt.Sprintf("service/c%d/%s", cluster, key), Value: []byte(value)}}
}

// heartbeat is a member's key with another position.
func (f *fleet) heartbeat(cluster, member int) *api.TxnOp {
	f.beats++
	return set(cluster, fmt.Sprint("members/pg", member), fmt.Sprintf(
		`{"conn_url":"postgres://10.0.%d.%d:5432/postgres","state":"running","role":"replica","xlog_location":%d,"timeline":1}`, cluster, member+1, f.beats))
}

// move gives a cluster's leader key to its other member.
func (f *fleet) move(cluster int) api.TxnOps {
	f.leads[cluster] = 1 - f.leads[cluster]
	gone := &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVDelete, Key: fmt.Sprintf("service/c%d/leader", cluster)}}
	return api.TxnOps{gone, set(cluster, "leader", fmt.Sprint("pg", f.leads[cluster]))}
}

// write writes keys, as many in one transaction as Consul takes.
func (f *fleet) write(t *testing.T, ops api.TxnOps) {
	t.Helper()
	for len(ops) > 0 {
		n := min(len(ops), 64)
		servertest.Eventually(t, "consul takes a transaction", func() error {
			ok, response, _, err := f.consul.Client.Txn().Txn(ops[:n], nil)
			if err == nil && !ok {
				err = fmt.Errorf("%v", response.Errors)
			}
			return err
		})
		ops = ops[n:]
	}
}

// follows waits until every file shows who leads.
func (f *fleet) follows(t *testing.T) {
	t.Helper()
	servertest.Eventually(t, "every leader is followed", func() error {
		for i, leads := range f.leads {
			content, err := os.ReadFile(filepath.Join(f.dir, fmt.Sprint("c", i)))
			if err == nil && string(content) != fmt.Sprint("pg", leads) {
				err = fmt.Errorf("c%d shows %s, not pg%d", i, content, leads)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// usage is what the daemon holds.
type usage struct{ memory, files, threads, goroutines int } // memory in kB

func (f *fleet) usage(t *testing.T) (is usage) {
	t.Helper()
	servertest.Eventually(t, "pgbaton shows its metrics", func() error {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
		resp, err := client.Get("http://" + f.listen + "/metrics")
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		page, err := io.ReadAll(resp.Body)
		for line := range strings.Lines(string(page)) {
			_, _ = fmt.Sscanf(line, "go_goroutines %d", &is.goroutines)
		}
		if err == nil && is.goroutines == 0 {
			err = fmt.Errorf("there is no go_goroutines in %s", page)
		}
		return err
	})
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.daemon.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "RssAnon: %d", &is.memory)
		_, _ = fmt.Sscanf(line, "Threads: %d", &is.threads)
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", f.daemon.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	is.files = len(open)
	return is
}

// TestBurst makes 10,000 changes as fast as Consul takes them, among 60 clusters.
func TestBurst(t *testing.T) {
	const changes = 10_000
	f := newFleet(t, 60)
	for range rounds(t) {
		before := f.usage(t).memory
		for n := 0; n < changes; {
			var ops api.TxnOps
			for range 30 {
				cluster := rand.IntN(len(f.leads))
				ops = append(ops, f.heartbeat(cluster, rand.IntN(2)))
				if rand.IntN(20) == 0 {
					ops = append(ops, f.move(cluster)...)
				}
			}
			f.write(t, ops)
			n += len(ops)
		}
		written := time.Now()
		f.follows(t)
		after := f.usage(t).memory
		t.Logf("%d kB before, %d kB after; followed %v after the last change", before, after, time.Since(written).Round(time.Millisecond))
		if after > before+32<<10 {
			t.Errorf("it grew from %d kB to %d kB", before, after)
		}
	}
	t.Logf("injected %d times", rounds(t)*changes)
}

// TestSoak lets a day go by in minutes: a cluster's keys change about 26,000 times
// a day, for its heartbeats. Between them leaders move, Consul restarts, the config
// is read again. Nothing that is held may grow.
func TestSoak(t *testing.T) {
	f := newFleet(t, 20)
	round := func(n int) {
		var ops api.TxnOps
		for i := range f.leads {
			for range 12 {
				ops = append(ops, f.heartbeat(i, rand.IntN(2)))
			}
			ops = append(ops, f.move(i)...)
		}
		f.write(t, ops)
		if n%5 == 0 {
			f.consul.Restart(t)
			f.fill(t)
		}
		if n%3 == 0 {
			f.daemon.Signal(t, syscall.SIGHUP)
		}
		f.follows(t)
	}
	const warm, counted = 15, 30
	for n := range warm {
		round(n)
	}
	was := f.usage(t)
	for n := range counted * rounds(t) {
		round(n)
	}
	now := f.usage(t)
	t.Logf("after %d changes: memory %d kB (%d before), %d files (%d), %d threads (%d), %d goroutines (%d)", f.beats, now.memory, was.memory, now.files, was.files, now.threads, was.threads, now.goroutines, was.goroutines)
	// A thread is made for each file that is synced at the same time as others, and stays.
	if now.memory > was.memory+was.memory/4+8<<10 || now.files > was.files+20 || now.threads > max(2*was.threads, 100) || now.goroutines > was.goroutines+50 {
		t.Error("it has grown")
	}
	t.Logf("injected %d times", counted*rounds(t))
}
