package haproxy_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/haproxy"
)

func TestFollowChecksThatPortsAreFree(t *testing.T) {
	one := newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	b.commit(t, leader(b.port, one.addr, ""))
	b.start(t)
	mark := b.follows(t, leader(b.port, one.addr, ""), reload.Mark{})
	before := b.processes(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	more := leader(b.port, one.addr, "") + fmt.Sprintf("listen more\n  bind %s\n  server a %s\n", taken.Addr(), one.addr)
	want := b.commit(t, more)

	// Nobody is refused meanwhile, as happens during a reload that fails.
	ctx, stop := context.WithCancel(t.Context())
	var dials sync.WaitGroup
	dials.Go(func() {
		for ctx.Err() == nil {
			leads(t, b.port, one)
		}
	})
	_, err = daemon(t, haproxy.Config{MasterSocket: b.socket}).Follow(t.Context(), want, mark)
	stop()
	dials.Wait()
	if err == nil || !strings.Contains(err.Error(), "could not listen at "+taken.Addr().String()+" (haproxy.cfg:16)") ||
		!strings.Contains(err.Error(), "address already in use") || !strings.Contains(hint.Of(err), "ss -ltnp") {
		t.Errorf("error %v, hint %q", err, hint.Of(err))
	}
	if after := b.processes(t); after != before {
		t.Errorf("there was a reload: %s, then %s", before, after)
	}
	for at, why := range map[string]string{
		fmt.Sprintf("203.0.113.9:%d", b.port):                 "cannot assign requested address",
		fmt.Sprintf("*:%d", taken.Addr().(*net.TCPAddr).Port): "address already in use",
	} {
		want := b.commit(t, strings.Replace(more, taken.Addr().String(), at, 1))
		if _, err := daemon(t, haproxy.Config{MasterSocket: b.socket}).Follow(t.Context(), want, mark); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: error %v", at, err)
		}
	}
	_ = taken.Close()
	b.follows(t, more, mark)
	if err := b.serves(taken.Addr().(*net.TCPAddr).Port)(); err != nil {
		t.Error(err)
	}

	// A restart in between binds them: what HAProxy has itself is no obstacle.
	b.process.Stop()
	b.start(t)
	b.follows(t, more, mark)
}

// What is taken where pgbaton runs may be free where HAProxy does.
func TestFollowInAnotherNamespace(t *testing.T) {
	namespace := servertest.Namespaces(t, "10.89.7")[0]
	b := newBalancer(t)
	first := leader(b.port, "127.0.0.1:9", "")
	b.commit(t, first)
	b.process = servertest.Start(t, exec.Command(servertest.Need(t, "ip"), "netns", "exec", namespace,
		servertest.Need(t, "haproxy"), "-W", "-S", b.socket, "-f", b.cfg))
	servertest.Eventually(t, "haproxy has a worker", func() error {
		if _, err := os.Stat(b.socket); err != nil {
			return err
		}
		if p := b.processes(t); !strings.Contains(p, "worker") {
			return errors.New(p)
		}
		return nil
	})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	mark := b.follows(t, first+fmt.Sprintf("listen more\n  bind %s\n", taken.Addr()), reload.Mark{})
	if !strings.HasPrefix(mark.How, "reload 1 ") {
		t.Errorf("mark %+v", mark)
	}
}
