package pgbouncer_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/pgbouncer"
)

// hung is a pgbouncer whose leader has stopped with a query in flight, and that
// has been told of the next one.
type hung struct {
	*bouncer
	daemon interface {
		reload.Daemon
		reload.Holder
		reload.Cutter
	}
	old, leader, elsewhere *server
	stuck                  <-chan answer // on the old leader
	idle                   *client       // of the same database, not in a query
	other                  <-chan answer // a query on another cluster that goes on all the time
	letOther               func()
}

// hang brings one about. Beside what more says, app moves; with other there is a
// database of another cluster.
func hang(t *testing.T, withOther bool, ways ...string) *hung {
	t.Helper()
	h := &hung{bouncer: newBouncer(t), old: newServer(t, "old"), leader: newServer(t, "leader")}
	entries := func(to *server) string {
		text := to.entry("app")
		if withOther {
			text += "\n" + h.elsewhere.entry("other")
		}
		return text
	}
	if withOther {
		h.elsewhere = newServer(t, "elsewhere")
	}
	h.commit(t, h.config(entries(h.old), transactions))
	h.start(t)
	d := h.bouncer.daemon(t, h.here())
	t.Cleanup(func() { _ = d.(io.Closer).Close() })
	pgbouncer.Allow(d, ways...)
	h.daemon = d.(interface {
		reload.Daemon
		reload.Holder
		reload.Cutter
	})
	if withOther {
		query, let := h.elsewhere.latch(t)
		h.other, h.letOther = h.client(t, "other").begin(query), let
	}
	h.idle = h.client(t, "app")
	if _, err := h.idle.ask(where); err != nil {
		t.Fatal(err)
	}
	stuck := h.client(t, "app")
	if _, err := stuck.ask(where); err != nil {
		t.Fatal(err)
	}
	h.old.freeze(t)
	h.stuck = stuck.begin(where)
	servertest.Eventually(t, "the query is in flight", func() error {
		for line := range strings.Lines(h.console(t, "SHOW SERVERS")) {
			if strings.Contains(line, "database=app ") && strings.Contains(line, "state=active ") {
				return nil
			}
		}
		return errors.New("it is not")
	})
	want := h.commit(t, h.config(entries(h.leader), transactions))
	if _, err := h.daemon.Follow(t.Context(), want, reload.Mark{}); err != nil {
		t.Fatal(err)
	}
	stillWaits(t, "the query in flight", h.stuck)
	return h
}

func (h *hung) cut(t *testing.T, want string) {
	t.Helper()
	start := time.Now()
	how, err := h.daemon.Cut(t.Context(), []reload.Address{{Host: "10.9.9.9", Port: 1}, h.old.address()})
	took := time.Since(start)
	if err != nil {
		t.Fatalf("cut: %v (hint: %s)", err, hint.Of(err))
	}
	t.Logf("Cut: %q in %v", how, took)
	if how != want {
		t.Errorf("how: %q, want %q", how, want)
	}
	// The first second of query_timeout has to go by.
	if took > 1900*time.Millisecond {
		t.Errorf("Cut took %v", took)
	}
}

// ended looks whether the query in flight has failed.
func (h *hung) ended(t *testing.T) {
	t.Helper()
	if got := awaitAnswer(t, "query in flight", h.stuck); got.err == nil {
		t.Errorf("the query in flight: %q", got.value)
	}
	how, err := h.daemon.Cut(t.Context(), []reload.Address{h.old.address()})
	if how != "" || err != nil {
		t.Errorf("a second Cut: %q, %v", how, err)
	}
	if got, err := h.client(t, "app").ask(where); got != "leader" || err != nil {
		t.Errorf("a new client: %q, %v", got, err)
	}
	config := h.console(t, "SHOW CONFIG")
	for _, key := range []string{"key=server_login_retry value=15 ", "key=query_timeout value=0 "} {
		if !strings.Contains(config, key) {
			t.Errorf("%s was not put back", key)
		}
	}
}

func (h *hung) othersGoOn(t *testing.T) {
	t.Helper()
	stillWaits(t, "query of another cluster", h.other)
	h.letOther()
	if got := awaitAnswer(t, "query of another cluster", h.other); got.err != nil {
		t.Errorf("query of another cluster: %v", got.err)
	}
}

func (h *hung) idleGoesOn(t *testing.T) {
	t.Helper()
	if got, err := h.idle.ask(where); got != "leader" || err != nil {
		t.Errorf("idle client: %q, %v", got, err)
	}
}

func TestCutDestroysSockets(t *testing.T) {
	needNetAdmin(t)
	h := hang(t, true, "destroy", "kill_client", "query_timeout", "kill")
	h.cut(t, fmt.Sprintf("destroyed 1 connection to 127.0.0.1:%d", h.old.port))
	h.ended(t)
	h.idleGoesOn(t)
	h.othersGoOn(t)
}

func needNetAdmin(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("to destroy sockets takes CAP_NET_ADMIN: run the tests as root")
	}
}

func TestCutKillsClients(t *testing.T) {
	h := hang(t, true, "kill_client", "query_timeout", "kill")
	if !strings.Contains(h.console(t, "SHOW CLIENTS"), " id=") {
		// Before 1.24 there is no such command: the next way that hurts nobody
		// elsewhere is the last.
		h.cut(t, fmt.Sprintf("killed every client of the databases of 1 connection to 127.0.0.1:%d", h.old.port))
		h.ended(t)
		h.othersGoOn(t)
		return
	}
	h.cut(t, fmt.Sprintf("killed the clients of 1 connection to 127.0.0.1:%d", h.old.port))
	h.ended(t)
	h.idleGoesOn(t)
	h.othersGoOn(t)
}

func TestCutByQueryTimeout(t *testing.T) {
	h := hang(t, false, "query_timeout")
	h.cut(t, fmt.Sprintf("timed out 1 connection to 127.0.0.1:%d", h.old.port))
	h.ended(t)
	h.idleGoesOn(t)
}

// What waits must not pay for what hangs: only the older is timed out.
func TestCutByQueryTimeoutSparesTheYounger(t *testing.T) {
	h := hang(t, false, "query_timeout")
	h.age(t, 6*time.Second)
	query, let := h.leader.latch(t)
	younger := h.client(t, "app").begin(query)
	h.age(t, 7*time.Second)
	h.cut(t, fmt.Sprintf("timed out 1 connection to 127.0.0.1:%d", h.old.port))
	h.ended(t)
	let()
	if got := awaitAnswer(t, "younger query", younger); got.err != nil {
		t.Errorf("younger query: %v", got.err)
	}
}

// age waits until pgbouncer says that the query in flight is that old.
func (h *hung) age(t *testing.T, old time.Duration) {
	t.Helper()
	servertest.Eventually(t, "the query gets old", func() error {
		_, rest, _ := strings.Cut(h.console(t, "SHOW SERVERS"), "request_time=")
		asked, err := time.Parse("2006-01-02 15:04:05 MST", rest[:23])
		if err != nil {
			t.Fatal(err)
		}
		if is := time.Since(asked); is < old {
			return fmt.Errorf("it is %v old", is)
		}
		return nil
	})
}

func TestCutByQueryTimeoutIsRefusedWhereOthersAre(t *testing.T) {
	h := hang(t, true, "query_timeout")
	_, err := h.daemon.Cut(t.Context(), []reload.Address{h.old.address()})
	if err == nil || !strings.Contains(err.Error(), "not every database has moved") || !strings.Contains(hint.Of(err), "CAP_NET_ADMIN") {
		t.Errorf("error %v, hint %q", err, hint.Of(err))
	}
	stillWaits(t, "the query in flight", h.stuck)
	h.othersGoOn(t)
}

func TestCutKillsDatabases(t *testing.T) {
	h := hang(t, true, "query_timeout", "kill")
	h.cut(t, fmt.Sprintf("killed every client of the databases of 1 connection to 127.0.0.1:%d", h.old.port))
	if h.isPaused(t, "app") {
		t.Error("KILL without RESUME")
	}
	h.ended(t)
	h.othersGoOn(t)
}

func TestCutWithoutTheCapability(t *testing.T) {
	const without = "PGBATON_TEST_WITHOUT_NET_ADMIN"
	if os.Getenv(without) == "" {
		// A process cannot give it up for all its threads at once; its child can.
		cmd := exec.Command(servertest.Need(t, "setpriv"), "--bounding-set=-net_admin", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), without+"=1")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Error(err)
		}
		return
	}
	h := hang(t, true, "destroy", "kill")
	h.old.port++ // where nothing hangs
	h.cut(t, "")
	h.old.port--
	stillWaits(t, "the query in flight", h.stuck)
	h.cut(t, fmt.Sprintf("killed every client of the databases of 1 connection to 127.0.0.1:%d", h.old.port))
	h.ended(t)
	h.othersGoOn(t)
}

// While traffic is held, who waits is not killed with who hangs.
func TestCutSparesWhoWaits(t *testing.T) {
	h := hang(t, true, "query_timeout", "kill")
	names := flowing(t, h.daemon, h.leader)
	hold(t, h.daemon, names)
	waiting := h.client0(t, "app")
	h.awaitWaiting(t, "app", 1)
	h.cut(t, fmt.Sprintf("left hanging 1 connection to 127.0.0.1:%d: to be cut once traffic is released", h.old.port))
	stillWaits(t, "the query in flight", h.stuck)
	start := time.Now()
	release(t, h.daemon, names)
	t.Logf("Release with a Cut: %v", time.Since(start))
	if got := awaitAnswer(t, "held client", waiting); got.value != "leader" || got.err != nil {
		t.Errorf("held client: %q, %v", got.value, got.err)
	}
	h.ended(t)
	h.othersGoOn(t)
}

// One that destroys sockets need not wait for the release.
func TestCutWhileHeld(t *testing.T) {
	needNetAdmin(t)
	h := hang(t, false, "destroy")
	names := flowing(t, h.daemon, h.leader)
	hold(t, h.daemon, names)
	waiting := h.client0(t, "app")
	h.awaitWaiting(t, "app", 1)
	h.cut(t, fmt.Sprintf("destroyed 1 connection to 127.0.0.1:%d", h.old.port))
	stillWaits(t, "held client", waiting)
	release(t, h.daemon, names)
	if got := awaitAnswer(t, "held client", waiting); got.value != "leader" || got.err != nil {
		t.Errorf("held client: %q, %v", got.value, got.err)
	}
	h.ended(t)
}

// A database that is meant to read from the old leader goes on.
func TestCutSparesWhatIsMeantToLeadThere(t *testing.T) {
	old, leader := newServer(t, "old"), newServer(t, "leader")
	b := newBouncer(t)
	b.commit(t, b.config(old.entry("app")+"\n"+old.entry("reads"), transactions))
	b.start(t)
	d := b.daemon(t, b.here())
	t.Cleanup(func() { _ = d.(io.Closer).Close() })
	query, let := old.latch(t)
	reads, app := b.client(t, "reads").begin(query), b.client(t, "app").begin("SELECT pg_sleep(300)")
	servertest.Eventually(t, "queries run", func() error {
		if n := strings.Count(b.console(t, "SHOW SERVERS"), "state=active "); n != 2 {
			return fmt.Errorf("%d run", n)
		}
		return nil
	})
	want := b.commit(t, b.config(leader.entry("app")+"\n"+old.entry("reads"), transactions))
	if _, err := d.Follow(t.Context(), want, reload.Mark{}); err != nil {
		t.Fatal(err)
	}
	// A name has to be resolved.
	left := []reload.Address{{Host: "localhost", Port: old.port}}
	// As a config names it.
	left = append(left, old.address())
	if how, err := d.(reload.Cutter).Cut(t.Context(), left); err != nil || !strings.Contains(how, "destroyed 1 connection") {
		t.Errorf("%q, %v (hint: %s)", how, err, hint.Of(err))
	}
	if got := awaitAnswer(t, "app", app); got.err == nil {
		t.Error("app was not cut")
	}
	let()
	if got := awaitAnswer(t, "reads", reads); got.err != nil {
		t.Errorf("reads: %v", got.err)
	}
}

// The open sessions of a session pool are linked all the time, and RELOAD does
// not move them: with the server hung they end.
func TestCutInSessionMode(t *testing.T) {
	needNetAdmin(t)
	old, leader := newServer(t, "old"), newServer(t, "leader")
	b := newBouncer(t)
	b.commit(t, b.config(old.entry("app"), "pool_mode = session"))
	b.start(t)
	d := b.daemon(t, b.here())
	t.Cleanup(func() { _ = d.(io.Closer).Close() })
	busy, idle := b.client(t, "app"), b.client(t, "app")
	for _, c := range []*client{busy, idle} {
		if _, err := c.ask(where); err != nil {
			t.Fatal(err)
		}
	}
	old.freeze(t)
	stuck := busy.begin(where)
	want := b.commit(t, b.config(leader.entry("app"), "pool_mode = session"))
	if _, err := d.Follow(t.Context(), want, reload.Mark{}); err != nil {
		t.Fatal(err)
	}
	stillWaits(t, "the query in flight", stuck)
	how, err := d.(reload.Cutter).Cut(t.Context(), []reload.Address{old.address()})
	if want := fmt.Sprintf("destroyed 2 connections to 127.0.0.1:%d", old.port); how != want || err != nil {
		t.Errorf("%q, %v, want %q", how, err, want)
	}
	if got := awaitAnswer(t, "the query in flight", stuck); got.err == nil {
		t.Errorf("the query in flight: %q", got.value)
	}
	if got, err := b.client(t, "app").ask(where); got != "leader" || err != nil {
		t.Errorf("a new session: %q, %v", got, err)
	}
}

// With the old leader dead, clients would wait up to 15 s for the next try.
func TestCutLetsTheNewServerBeTriedAtOnce(t *testing.T) {
	old, leader := newServer(t, "old"), newServer(t, "leader")
	b := newBouncer(t)
	b.commit(t, b.config(old.entry("app"), transactions))
	b.start(t)
	d := b.daemon(t, b.here())
	t.Cleanup(func() { _ = d.(io.Closer).Close() })
	c := b.client(t, "app")
	if _, err := c.ask(where); err != nil {
		t.Fatal(err)
	}
	old.process.Kill()
	servertest.Eventually(t, "pgbouncer notices", func() error {
		if servers := b.console(t, "SHOW SERVERS"); servers != "" {
			return errors.New(servers)
		}
		return nil
	})
	waiting := c.begin(where)
	b.awaitWaiting(t, "app", 1)
	want := b.commit(t, b.config(leader.entry("app"), transactions))
	if _, err := d.Follow(t.Context(), want, reload.Mark{}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if how, err := d.(reload.Cutter).Cut(t.Context(), []reload.Address{old.address()}); how != "" || err != nil {
		t.Errorf("%q, %v", how, err)
	}
	t.Logf("Cut of nothing: %v", time.Since(start))
	if got := awaitAnswer(t, "client", waiting); got.value != "leader" || got.err != nil {
		t.Errorf("%q, %v", got.value, got.err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it waited for %v", took)
	}
}
