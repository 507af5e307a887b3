//go:build amd64

package chaos

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
	"golang.org/x/sys/unix"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestOutOfFileDescriptors: pgbaton can open nothing more while the leader moves.
func TestOutOfFileDescriptors(t *testing.T) {
	consul := servertest.Consul(t)
	k := newKeyed(t, consul.Client, consul.Addr, beside, keyedSettings{})
	leader, led := 1, []int{1}
	for range rounds(t) {
		const says = "too many open files"
		confirmed := fmt.Sprintf("leader confirmed: cluster=main leader=pg%d", 3-leader)
		said, moved := strings.Count(k.daemon.Output(), says), strings.Count(k.daemon.Output(), confirmed)
		raise := k.limit(t, unix.RLIMIT_NOFILE, 3)
		k.lead(t, 3-leader)
		servertest.Eventually(t, "pgbaton says what is wrong", func() error {
			if strings.Count(k.daemon.Output(), says) == said || strings.Count(k.daemon.Output(), confirmed) == moved {
				return fmt.Errorf("it does not say %q:\n%s", says, k.daemon.Output())
			}
			return k.shows(leader)
		})
		raise()
		leader = 3 - leader
		k.follows(t, leader)
		led = append(led, leader)
		k.told(t, led)
	}
	if out := k.daemon.Output(); !strings.Contains(out, "LimitNOFILE") {
		t.Errorf("it does not say what to do:\n%s", out)
	}
	t.Logf("injected %d times", rounds(t))
}

// TestOutOfMemory: pgbaton gets no more memory while the leader moves, and much
// comes with it. It is as if it had been killed: the next one goes on.
func TestOutOfMemory(t *testing.T) {
	consul := servertest.Consul(t)
	k := newKeyed(t, consul.Client, consul.Addr, beside, keyedSettings{})
	leader, led := 1, []int{1}
	for range rounds(t) {
		size, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", k.daemon.Pid()))
		if err != nil {
			t.Fatal(err)
		}
		var pages uint64
		if _, err := fmt.Sscan(string(size), &pages); err != nil {
			t.Fatal(err)
		}
		k.limit(t, unix.RLIMIT_AS, pages*uint64(os.Getpagesize()))
		const large = 40
		for i := range large {
			put(t, k.client, fmt.Sprintf("service/batman/large/%d", i), strings.Repeat("x", 500<<10))
		}
		servertest.Eventually(t, "pgbaton is out of memory", func() error {
			if !k.daemon.Exited() {
				return errors.New("it runs")
			}
			return nil
		})
		k.lead(t, 3-leader)
		if err := k.shows(leader); err != nil {
			t.Error(err)
		}
		for i := range large {
			if _, err := k.client.KV().Delete(fmt.Sprintf("service/batman/large/%d", i), nil); err != nil {
				t.Fatal(err)
			}
		}
		k.start(t)
		leader = 3 - leader
		k.follows(t, leader)
		led = append(led, leader)
		k.told(t, led)
	}
	t.Logf("injected %d times", rounds(t))
}

// limit sets a limit of the daemon, from now on; raise undoes it.
func (k *keyed) limit(t *testing.T, resource int, to uint64) (raise func()) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Prlimit(k.daemon.Pid(), resource, nil, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(k.daemon.Pid(), resource, &unix.Rlimit{Cur: to, Max: before.Max}, nil); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := unix.Prlimit(k.daemon.Pid(), resource, &before, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func put(t *testing.T, client *api.Client, key, value string) {
	t.Helper()
	if _, err := client.KV().Put(&api.KVPair{Key: key, Value: []byte(value)}, nil); err != nil {
		t.Fatal(err)
	}
}
