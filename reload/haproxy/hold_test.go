package haproxy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/haproxy"
)

func (b *balancer) holder(t *testing.T) reload.Holder {
	t.Helper()
	h, ok := reload.As[reload.Holder](daemon(t, haproxy.Config{MasterSocket: b.socket}))
	if !ok {
		t.Fatal("haproxy is no Holder")
	}
	return h
}

// patient is a config whose sessions outlast a hold.
func patient(port int, to, options string, more ...string) string {
	return strings.Replace(leader(port, to, options, more...), "timeout connect 1s", "timeout connect 50ms\n  retries 600", 1)
}

// flowing is the one name that leads to a server.
func flowing(t *testing.T, h reload.Holder, to *serve) []string {
	t.Helper()
	traffic, err := h.Traffic(t.Context(), []reload.Address{to.address()})
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, hint.Of(err))
	}
	return traffic.Flowing
}

// begin dials beside the test; where it was led comes later.
func begin(t *testing.T, port int) <-chan string {
	t.Helper()
	done := make(chan string, 1)
	go func() {
		c, err := dial(t, port)
		if err != nil {
			done <- err.Error()
			return
		}
		done <- c.to
	}()
	return done
}

func waits(t *testing.T, c <-chan string) {
	t.Helper()
	select {
	case to := <-c:
		t.Fatalf("a client that is held was led to %q", to)
	case <-time.After(300 * time.Millisecond): // that nothing happens takes a while to see
	}
}

func ledTo(t *testing.T, c <-chan string, to *serve) {
	t.Helper()
	select {
	case at := <-c:
		if at != to.addr {
			t.Fatalf("led to %q, want %s", at, to.addr)
		}
	case <-time.After(servertest.Deadline):
		t.Fatal("a client still waits")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, hint.Of(err))
	}
}

func TestHoldAndRelease(t *testing.T) {
	one, two := newServe(t, "127.0.0.1:0"), newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	content := func(to *serve) string {
		return patient(b.port, to.addr, fmt.Sprintf("check port %d", to.address().Port), "  server a "+one.addr+" disabled", "  server b "+two.addr)
	}
	b.commit(t, content(one))
	b.start(t)
	mark := b.follows(t, content(one), reload.Mark{})
	before := b.processes(t)
	h := b.holder(t)

	// One in maintenance gets nobody, so it is not held.
	names := flowing(t, h, one)
	if want := "primary/leader=" + one.addr + ",check"; len(names) != 1 || names[0] != want {
		t.Fatalf("flowing %q, want %q", names, want)
	}
	old := leads(t, b.port, one)
	must(t, h.Hold(t.Context(), names))
	if again := flowing(t, h, one); len(again) > 0 {
		t.Errorf("held, and flowing: %q", again)
	}
	fresh := begin(t, b.port)
	waits(t, fresh)
	if old.cut(100 * time.Millisecond) {
		t.Error("a session that was there already is gone")
	}

	// Called off: back to where it was, and checked as before.
	must(t, h.Release(t.Context(), names))
	ledTo(t, fresh, one)
	if again := flowing(t, h, one); len(again) != 1 || again[0] != names[0] {
		t.Errorf("released, and flowing: %q", again)
	}

	// The next leader: those who wait are led there by Follow, before Release.
	must(t, h.Hold(t.Context(), names))
	fresh = begin(t, b.port)
	waits(t, fresh)
	mark = b.follows(t, content(two), mark)
	ledTo(t, fresh, two)
	must(t, h.Release(t.Context(), names))
	leads(t, b.port, two)
	// Of several names of one server the last that was held counts.
	must(t, h.Hold(t.Context(), []string{"primary/leader=" + two.addr + ",check"}))
	must(t, h.Release(t.Context(), append(names, "primary/leader="+two.addr+",check")))
	leads(t, b.port, two)
	// A name of before the move holds nobody.
	must(t, h.Hold(t.Context(), names))
	leads(t, b.port, two)
	if again := flowing(t, h, two); !slices.Contains(again, "primary/leader="+two.addr+",check") {
		t.Errorf("after the change, flowing: %q", again)
	}
	if after := b.processes(t); after != before {
		t.Errorf("there was a reload: %s, then %s", before, after)
	}
	if !strings.HasPrefix(mark.How, "moved primary/leader to "+two.addr) {
		t.Errorf("mark %+v", mark)
	}
}

// A leader whose check has failed already refuses clients; held, they wait.
func TestHoldOfOneThatIsDown(t *testing.T) {
	one, two := newServe(t, "127.0.0.1:0"), newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	b.commit(t, patient(b.port, one.addr, "check"))
	b.start(t)
	h := b.holder(t)
	one.die()
	servertest.Eventually(t, "the slot is down", func() error {
		if state := b.ask(t, "@1 show stat"); !strings.Contains(state, "DOWN") {
			return errors.New("it is up")
		}
		return nil
	})
	if _, err := dial(t, b.port); err == nil {
		t.Fatal("it serves")
	}
	names := flowing(t, h, one)
	must(t, h.Hold(t.Context(), names))
	fresh := begin(t, b.port)
	waits(t, fresh)
	b.follows(t, patient(b.port, two.addr, "check"), reload.Mark{})
	ledTo(t, fresh, two)
}

// Sessions that are open can't be held. Where the next leader is named, they end.
func TestEvict(t *testing.T) {
	one, two := newServe(t, "127.0.0.1:0"), newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	// One that serves reads is a replica by the time that somebody else leads.
	b.commit(t, patient(b.port, one.addr, "check", "  server a "+two.addr+" check", "listen ro", "  bind 127.0.0.1:"+fmt.Sprint(servertest.FreePort(t)), "  server b "+two.addr))
	b.start(t)
	h := b.holder(t)
	evictor, ok := reload.As[reload.Evictor](daemon(t, haproxy.Config{MasterSocket: b.socket}))
	if !ok {
		t.Fatal("haproxy is no Evictor")
	}
	old := leads(t, b.port, one)
	names := flowing(t, h, one)
	must(t, h.Hold(t.Context(), names))
	fresh := begin(t, b.port)
	waits(t, fresh)
	begun := time.Now()
	how, err := evictor.Evict(t.Context(), []reload.Address{one.address()})
	must(t, err)
	if t.Logf("%v: %s", time.Since(begun), how); !strings.Contains(how, "ended 1 sessions of worker ") || !old.cut(time.Second) {
		t.Errorf("evicted: %q", how)
	}
	waits(t, fresh)
	if how, err := evictor.Evict(t.Context(), []reload.Address{one.address()}); how != "" || err != nil {
		t.Errorf("evicted again: %q, %v", how, err)
	}
	must(t, h.Release(t.Context(), names))
	ledTo(t, fresh, one)
}

// A backend with several servers has others to take a leader's clients over.
func TestTrafficLeavesOthersAlone(t *testing.T) {
	one, two := newServe(t, "127.0.0.1:0"), newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	b.commit(t, patient(b.port, one.addr, "check", "  server a "+one.addr, "  server b "+two.addr))
	b.start(t)
	h := b.holder(t)
	if names := flowing(t, h, one); len(names) != 1 || !strings.HasPrefix(names[0], "primary/leader=") {
		t.Errorf("flowing %q", names)
	}
	if names := flowing(t, h, two); len(names) > 0 {
		t.Errorf("flowing to a replica: %q", names)
	}
	b.ask(t, "@1 set server replicas/b state maint")
	if names := flowing(t, h, one); len(names) != 2 {
		t.Errorf("flowing %q", names)
	}
	traffic, err := h.Traffic(t.Context(), nil)
	if must(t, err); traffic.Limit < 100 || traffic.Clients > 10 {
		t.Errorf("traffic %+v", traffic)
	}
	leads(t, b.port, one)
	if traffic, err := h.Traffic(t.Context(), nil); err != nil || traffic.Clients == 0 {
		t.Errorf("traffic with a client: %+v, %v", traffic, err)
	}

	// A leader by its name.
	byName := one.address()
	byName.Host = "localhost"
	if traffic, err := h.Traffic(t.Context(), []reload.Address{byName}); err != nil || len(traffic.Flowing) != 2 {
		t.Errorf("traffic by name: %+v, %v", traffic, err)
	}
}

// What is held stays held over changes that do not concern it, a reload too.
func TestFollowLeavesHeldTrafficHeld(t *testing.T) {
	one, two := newServe(t, "127.0.0.1:0"), newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	content := func(leader string, replicas ...string) string {
		return patient(b.port, leader, "check", replicas...)
	}
	b.commit(t, content(one.addr, "  server a "+two.addr))
	b.start(t)
	mark := b.follows(t, content(one.addr, "  server a "+two.addr), reload.Mark{})
	d := daemon(t, haproxy.Config{MasterSocket: b.socket})
	h, _ := reload.As[reload.Holder](d)
	names := flowing(t, h, one)
	must(t, h.Hold(t.Context(), names))

	mark = b.followsBy(t, d, content(one.addr, "  server a "+two.addr+" disabled"), mark)
	if !strings.HasPrefix(mark.How, "disabled replicas/a") {
		t.Errorf("mark %+v", mark)
	}
	stranded := begin(t, b.port)
	waits(t, stranded)
	mark = b.followsBy(t, d, content(one.addr, "  server a "+two.addr, "  server b "+two.addr), mark)
	fresh := begin(t, b.port)
	waits(t, fresh)

	// Another process releases, by the names alone. Whoever waits in the old
	// worker can't be helped; he may come again.
	must(t, b.holder(t).Release(t.Context(), names))
	ledTo(t, fresh, one)
	select {
	case to := <-stranded:
		if to == one.addr || to == two.addr {
			t.Errorf("the old worker, which can't be told anything, led its client to %s", to)
		}
	case <-time.After(servertest.Deadline):
		t.Error("a client waits in the old worker")
	}
	// What was released meanwhile is not held by a reload.
	must(t, h.Release(t.Context(), names))
	mark = b.followsBy(t, d, content(one.addr, "  server a "+two.addr, "  server c "+two.addr), mark)
	leads(t, b.port, one)
	b.follows(t, content(two.addr, "  server a "+two.addr, "  server b "+two.addr), mark)
	leads(t, b.port, two)
}

// A fresh worker, of whoever's reload, lets clients through: they flow again.
func TestTrafficAfterAReload(t *testing.T) {
	one := newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	b.commit(t, patient(b.port, one.addr, "check"))
	b.start(t)
	h := b.holder(t)
	names := flowing(t, h, one)
	must(t, h.Hold(t.Context(), names))
	b.process.Signal(t, syscall.SIGUSR2)
	servertest.Eventually(t, "clients are let through", func() error {
		traffic, err := h.Traffic(t.Context(), []reload.Address{one.address()})
		if err == nil && len(traffic.Flowing) == 0 {
			err = errors.New("nothing flows")
		}
		return err
	})
	must(t, h.Hold(t.Context(), names))
	waits(t, begin(t, b.port))
	must(t, h.Release(t.Context(), names))
}

func TestReleaseWhereNobodyListens(t *testing.T) {
	one := newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	name := fmt.Sprintf("primary/leader=%s,check", one.addr)
	must(t, b.holder(t).Release(t.Context(), []string{name}))
	if err := b.holder(t).Hold(t.Context(), []string{name}); err == nil || !strings.Contains(hint.Of(err), "start haproxy") {
		t.Errorf("hold: %v, hint %q", err, hint.Of(err))
	}
	if _, err := b.holder(t).Traffic(t.Context(), nil); err == nil || !strings.Contains(hint.Of(err), "start haproxy") {
		t.Errorf("traffic: %v, hint %q", err, hint.Of(err))
	}
	b.commit(t, patient(b.port, one.addr, "check"))
	b.start(t)
	// Servers that are gone from the config are no error, names that are none are.
	must(t, b.holder(t).Release(t.Context(), []string{"gone/leader=127.0.0.1:5432"}))
	if err := b.holder(t).Release(t.Context(), []string{"app", "primary/leader=" + one.addr}); err == nil || !strings.Contains(err.Error(), `"app"`) {
		t.Errorf("release of a stranger's name: %v", err)
	}
	leads(t, b.port, one)
	if _, can := reload.As[reload.Holder](daemon(t, haproxy.Config{PIDFile: b.pidFile})); can {
		t.Error("an HAProxy with a PID file alone is a Holder")
	}
}

// TestFrozenMaster: HAProxy's master is stopped where it stands, its worker is not.
// What is asked of it meanwhile is given up, and comes into effect at no later time.
func TestFrozenMaster(t *testing.T) {
	b := newBalancer(t)
	pg1, pg2 := newServe(t, "127.0.0.1:0"), newServe(t, "127.0.0.1:0")
	content := patient(b.port, pg1.addr, "")
	want := b.commit(t, content)
	b.start(t)
	d := daemon(t, haproxy.Config{MasterSocket: b.socket, Timeout: "300ms"})
	h, can := reload.As[reload.Holder](d)
	if !can {
		t.Fatal("it can't hold")
	}
	names := flowing(t, h, pg1)
	b.process.Signal(t, syscall.SIGSTOP)
	for what, err := range map[string]error{
		"follow":  second(d.Follow(t.Context(), b.commit(t, patient(b.port, pg2.addr, "")), reload.Mark{})),
		"traffic": second(h.Traffic(t.Context(), []reload.Address{pg1.address()})),
		"hold":    h.Hold(t.Context(), names),
		"release": h.Release(t.Context(), names),
	} {
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(hint.Of(err), "does not answer") {
			t.Errorf("%s: error %v, hint %q", what, err, hint.Of(err))
		}
	}
	ledTo(t, begin(t, b.port), pg1) // the worker goes on
	b.commit(t, content)
	b.process.Signal(t, syscall.SIGCONT)
	servertest.Eventually(t, "the master answers", func() error { return second(d.Follow(t.Context(), want, reload.Mark{})) })
	if again := flowing(t, h, pg1); !slices.Equal(again, names) {
		t.Errorf("after it went on flows %v, before it was frozen %v", again, names)
	}
	ledTo(t, begin(t, b.port), pg1)
}

func second[T any](_ T, err error) error { return err }
