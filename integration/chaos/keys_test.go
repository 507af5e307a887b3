//go:build amd64

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestFlappingKey moves the leader key ten times a second, or takes it away. The
// file is whole at every instant, and shows the last leader in the end.
func TestFlappingKey(t *testing.T) {
	consul := servertest.Consul(t)
	k := newKeyed(t, consul.Client, consul.Addr, beside, keyedSettings{})
	for range rounds(t) {
		flaps, torn := 40, k.watch(t)
		beat := time.NewTicker(100 * time.Millisecond)
		defer beat.Stop()
		for range flaps {
			<-beat.C
			err := k.delete("leader")
			if n := rand.IntN(4); n > 0 {
				err = errors.Join(err, k.put("leader", fmt.Sprintf("pg%d", n)))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := k.delete("leader"); err != nil {
			t.Fatal(err)
		}
		k.lead(t, 1+rand.IntN(2)) // one more of them
		k.lead(t, 3)
		k.follows(t, 3)
		if err := torn(); err != nil {
			t.Error(err)
		}
		t.Logf("injected %d times", flaps)
	}
}

// watch looks at the file all the time, until it is asked whether it ever was
// something else than the name of a member.
func (k *keyed) watch(t *testing.T) (torn func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	said := make(chan error, 1)
	go func() {
		looks := 0
		for ctx.Err() == nil {
			content, err := os.ReadFile(k.file)
			if err == nil && string(content) != "pg1" && string(content) != "pg2" && string(content) != "pg3" {
				err = fmt.Errorf("the file was %q", content)
			}
			if err != nil {
				said <- err
				return
			}
			looks++
		}
		if looks == 0 {
			said <- errors.New("nobody looked")
		}
		close(said)
	}()
	return func() error {
		cancel()
		return <-said
	}
}

// TestHalfOfTheKeys takes the keys of members away that lead, or are to. Nothing is
// rendered from a half: the file stays until all of it is known.
func TestHalfOfTheKeys(t *testing.T) {
	consul := servertest.Consul(t)
	k := newKeyed(t, consul.Client, consul.Addr, beside, keyedSettings{})
	stays := func(t *testing.T, n int) {
		t.Helper()
		// Whatever was changed before a key that is seen to be there has been seen.
		before := strings.Count(k.daemon.Output(), "bad key")
		if err := k.put("members/witness", fmt.Sprint("no JSON, ", before)); err != nil {
			t.Fatal(err)
		}
		servertest.Eventually(t, "the keys are seen", func() error {
			if strings.Count(k.daemon.Output(), "bad key") == before {
				return fmt.Errorf("pgbaton says:\n%s", k.daemon.Output())
			}
			return nil
		})
		if err := errors.Join(k.shows(n), k.delete("members/witness")); err != nil {
			t.Fatal(err)
		}
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	t.Run("the leader's member key", func(t *testing.T) {
		must(t, k.delete("members/pg1"))
		stays(t, 1)
		must(t, k.member(1))
		stays(t, 1)
	})

	t.Run("the next leader's member key", func(t *testing.T) {
		must(t, errors.Join(k.delete("members/pg2"), k.delete("leader"), k.put("leader", "pg2")))
		stays(t, 1)
		must(t, k.member(2))
		k.follows(t, 2)
	})

	t.Run("the leader key", func(t *testing.T) {
		must(t, k.delete("leader"))
		stays(t, 2)
		k.lead(t, 3)
		k.follows(t, 3)
	})
}

// TestConsulIsFull uses up the connections that Consul allows a client. Nothing
// changes meanwhile, pgbaton says which limit it is, and follows once there is
// room.
func TestConsulIsFull(t *testing.T) {
	const limit = 10
	consul := servertest.Consul(t, fmt.Sprintf("limits { http_max_conns_per_client = %d }", limit))
	// The test is another client, as far as Consul can see.
	elsewhere := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	client, err := api.NewClient(&api.Config{Address: consul.Addr, Transport: &http.Transport{DialContext: elsewhere.DialContext}})
	if err != nil {
		t.Fatal(err)
	}
	k := newKeyed(t, client, consul.Addr, beside, keyedSettings{})
	leader := 1
	for round := range rounds(t) {
		free := crowd(t, consul.Addr)
		k.daemon.Signal(t, syscall.SIGHUP) // it connects anew
		servertest.Eventually(t, "pgbaton names the limit", func() error {
			if strings.Count(k.daemon.Output(), "http_max_conns_per_client") <= round {
				return fmt.Errorf("it says:\n%s", k.daemon.Output())
			}
			return nil
		})
		k.lead(t, 3-leader)
		if err := k.shows(leader); err != nil {
			t.Error(err)
		}
		free()
		leader = 3 - leader
		k.follows(t, leader)
	}
	t.Logf("injected %d times", rounds(t))
}

// crowd opens connections until no more are taken, and keeps those that are ended
// coming back, for other clients of this address leave.
func crowd(t *testing.T, addr string) (free func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	full := make(chan struct{}, 1)
	go func() {
		defer close(done)
		var open []net.Conn
		for ctx.Err() == nil {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			if err != nil {
				continue
			}
			// One that is too many is answered at once, and ended.
			_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				open = append(open, conn)
				continue
			}
			_ = conn.Close()
			select {
			case full <- struct{}{}:
			default:
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
		for _, c := range open {
			_ = c.Close()
		}
	}()
	free = func() {
		cancel()
		<-done
	}
	t.Cleanup(free)
	<-full
	return free
}
