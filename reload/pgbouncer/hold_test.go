package pgbouncer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/pgbouncer"
)

const transactions = "pool_mode = transaction"

func (b *bouncer) here() pgbouncer.Config {
	return pgbouncer.Config{Socket: b.dir, Port: b.port, User: "root"}
}

// holder is a daemon for a config, whose sessions end with the test.
func (b *bouncer) holder(t *testing.T, c pgbouncer.Config) reload.Holder {
	t.Helper()
	d := b.daemon(t, c)
	h, ok := reload.As[reload.Holder](d)
	if !ok {
		t.Fatal("it cannot hold")
	}
	t.Cleanup(func() { _ = d.(io.Closer).Close() })
	return h
}

func (b *bouncer) console0() string { return fmt.Sprintf("%s:%d", b.dir, b.port) }

// flowing asks for the traffic to a server.
func flowing(t *testing.T, h reload.Holder, to *server) []string {
	t.Helper()
	traffic, err := h.Traffic(t.Context(), []reload.Address{{Host: "elsewhere", Port: 1}, to.address()})
	if err != nil {
		t.Fatalf("traffic: %v (hint: %s)", err, hint.Of(err))
	}
	return traffic.Flowing
}

func hold(t *testing.T, h reload.Holder, names []string) {
	t.Helper()
	start := time.Now()
	if err := h.Hold(t.Context(), names); err != nil {
		t.Fatalf("hold: %v (hint: %s)", err, hint.Of(err))
	}
	t.Logf("Hold of %d names: %v", len(names), time.Since(start))
}

func release(t *testing.T, h reload.Holder, names []string) {
	t.Helper()
	start := time.Now()
	if err := h.Release(t.Context(), names); err != nil {
		t.Fatalf("release: %v (hint: %s)", err, hint.Of(err))
	}
	t.Logf("Release of %d names: %v", len(names), time.Since(start))
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestHoldWhileTheLeaderMoves(t *testing.T) {
	a, z := newServer(t, "a"), newServer(t, "z")
	b := newBouncer(t)
	b.commit(t, b.config(a.entry("app")+"\n"+z.entry("other"), transactions))
	b.start(t)
	h := b.holder(t, b.here())

	in := b.client(t, "app") // in a transaction when the hold begins
	if _, err := in.ask("BEGIN; SELECT 1"); err != nil {
		t.Fatal(err)
	}
	other := b.client(t, "other")
	clients := make([]*client, 5)
	for i := range clients {
		clients[i] = b.client(t, "app")
		if got, err := clients[i].ask(where); got != "a" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}

	start := time.Now()
	names := flowing(t, h, a)
	t.Logf("first Traffic: %v", time.Since(start))
	same(t, "flowing", names, b.console0()+"/app")
	hold(t, h, names)
	var waiting []<-chan answer
	for _, c := range clients {
		waiting = append(waiting, c.begin(where))
	}
	b.awaitWaiting(t, "app", len(clients))
	if got, err := in.ask("SHOW cluster_name; COMMIT"); got != "a" || err != nil {
		t.Errorf("transaction under way: %q, %v", got, err)
	}
	if got, err := other.ask(where); got != "z" || err != nil {
		t.Errorf("another cluster's database: %q, %v", got, err)
	}
	start = time.Now()
	same(t, "flowing while held", flowing(t, h, a))
	t.Logf("later Traffic: %v", time.Since(start))

	// The old leader dies, another takes over.
	a.process.Kill()
	want := b.commit(t, b.config(z.entry("app")+"\n"+z.entry("other"), transactions))
	if _, err := h.(reload.Daemon).Follow(t.Context(), want, reload.Mark{}); err != nil {
		t.Fatal(err)
	}
	for _, w := range waiting {
		stillWaits(t, "client", w)
	}
	start = time.Now()
	served := make(chan time.Duration, 1)
	go func() {
		a := <-waiting[0]
		served <- time.Since(start)
		replay := make(chan answer, 1)
		replay <- a
		waiting[0] = replay
		close(served)
	}()
	release(t, h, names)
	t.Logf("Release to the first answer: %v", <-served)
	<-served
	for _, w := range waiting {
		if got := awaitAnswer(t, "client", w); got.value != "z" || got.err != nil {
			t.Errorf("client: %q, %v", got.value, got.err)
		}
	}
	if config := b.console(t, "SHOW CONFIG"); !strings.Contains(config, "key=server_login_retry value=15 ") {
		t.Error("server_login_retry was not put back")
	}
	same(t, "flowing to the new leader", flowing(t, h, z), b.console0()+"/app", b.console0()+"/other")
	start = time.Now()
	hold(t, h, flowing(t, h, z))
	t.Logf("later Traffic and Hold: %v", time.Since(start))
	release(t, h, []string{b.console0() + "/app", b.console0() + "/other"})
}

func TestHoldLeavesAnOperatorsPauseAlone(t *testing.T) {
	a := newServer(t, "a")
	b := newBouncer(t)
	b.commit(t, b.config(a.entry("app")+"\n"+a.entry("upkeep")+"\n"+a.entry("*"), transactions))
	b.start(t)
	h := b.holder(t, b.here())
	b.console(t, "PAUSE upkeep")
	names := flowing(t, h, a)
	same(t, "flowing", names, b.console0()+"/app")
	hold(t, h, names)
	same(t, "flowing while held", flowing(t, h, a))
	release(t, h, names)
	if !b.isPaused(t, "upkeep") || b.isPaused(t, "app") {
		t.Error("the operator's pause is gone, or ours is left")
	}
	b.console(t, "RESUME upkeep")

	// The other way round: what an operator resumes flows, and is held again.
	names = flowing(t, h, a)
	same(t, "flowing", names, b.console0()+"/app", b.console0()+"/upkeep", b.console0())
	names = names[:2]
	hold(t, h, names)
	b.console(t, "RESUME app")
	same(t, "flowing after an operator's RESUME", flowing(t, h, a)[:1], b.console0()+"/app")
	release(t, h, names)

	// A PAUSE of the whole shows nowhere in SHOW DATABASES.
	b.console(t, "PAUSE")
	same(t, "flowing", flowing(t, h, a))
	hold(t, h, names) // asked for a moment too late
	hold(t, h, []string{b.console0()})
	release(t, h, append(names, b.console0()))
	if !b.pausedAsAWhole(t) {
		t.Error("the operator's PAUSE is gone")
	}
}

func TestHoldOfAllHoldsWhatIsFirstSeen(t *testing.T) {
	a, z := newServer(t, "a"), newServer(t, "z")
	b := newBouncer(t)
	b.commit(t, b.config(a.entry("app")+"\n"+a.entry("*"), transactions))
	b.start(t)
	h := b.holder(t, b.here())
	names := flowing(t, h, a)
	same(t, "flowing", names, b.console0()+"/app", b.console0())
	hold(t, h, names)
	app := b.client0(t, "app")
	fresh := b.client0(t, "never_seen")
	b.awaitWaiting(t, "never_seen", 1)
	same(t, "flowing while held", flowing(t, h, a))
	b.commit(t, b.config(z.entry("app")+"\n"+z.entry("*"), transactions))
	b.console(t, "RELOAD")
	stillWaits(t, "new database", fresh)
	release(t, h, names)
	for _, done := range []<-chan answer{app, fresh} {
		if got := awaitAnswer(t, "client", done); got.value != "z" || got.err != nil {
			t.Errorf("%q, %v", got.value, got.err)
		}
	}

	// Where `*` leads elsewhere, or is not known to lead here, all is not held at once.
	b.commit(t, b.config(a.entry("app")+"\n"+z.entry("*"), transactions))
	b.console(t, "RELOAD")
	same(t, "flowing", flowing(t, h, a), b.console0()+"/app")
	b.commit(t, b.config(a.entry("app")+"\n"+z.entry("more")+"\n"+a.entry("*"), transactions))
	b.console(t, "RELOAD")
	same(t, "flowing", flowing(t, h, a)[:1], b.console0()+"/app")
}

// client0 logs in and asks where it is, beside the test: a login may have to wait.
func (b *bouncer) client0(t *testing.T, database string) <-chan answer {
	t.Helper()
	done := make(chan answer, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), servertest.Deadline)
		defer cancel()
		value, err := b.through(ctx, database, where)
		done <- answer{value: value, err: err}
	}()
	return done
}

func TestHoldInSessionMode(t *testing.T) {
	a := newServer(t, "a")
	b := newBouncer(t)
	b.commit(t, b.config(a.entry("app"), "pool_mode = session"))
	b.start(t)
	h := b.holder(t, b.here())
	c := b.client(t, "app")
	if _, err := c.ask(where); err != nil {
		t.Fatal(err)
	}
	names := flowing(t, h, a)
	start := time.Now()
	hold(t, h, names)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("Hold took %v", took)
	}
	if got, err := c.ask(where); got != "a" || err != nil { // that is what session mode means
		t.Errorf("open session: %q, %v", got, err)
	}
	fresh := b.client0(t, "app")
	b.awaitWaiting(t, "app", 1)
	stillWaits(t, "new session", fresh)
	release(t, h, names)
	if got := awaitAnswer(t, "new session", fresh); got.value != "a" {
		t.Errorf("%q, %v", got.value, got.err)
	}
}

func TestTrafficAfterARestart(t *testing.T) {
	a := newServer(t, "a")
	b := newBouncer(t)
	b.commit(t, b.config(a.entry("app")+"\n"+a.entry("*"), transactions))
	b.start(t)
	h := b.holder(t, b.here())
	names := flowing(t, h, a)
	hold(t, h, names)
	same(t, "flowing while held", flowing(t, h, a))
	b.process.Kill()
	if _, err := h.Traffic(t.Context(), []reload.Address{a.address()}); err == nil || !strings.Contains(hint.Of(err), "start pgbouncer") {
		t.Errorf("traffic while it is away: %v, hint %q", err, hint.Of(err))
	}
	if err := h.Release(t.Context(), names); err != nil {
		t.Errorf("release while it is away: %v", err)
	}
	hold0 := h.Hold(t.Context(), names)
	if hold0 == nil || hint.Of(hold0) == "" {
		t.Errorf("hold while it is away: %v", hold0)
	}
	b.start(t)
	same(t, "flowing after the restart", flowing(t, h, a), names...)
	hold(t, h, names)
	if !b.isPaused(t, "app") || !b.pausedAsAWhole(t) {
		t.Error("not held again")
	}
	release(t, h, names)
	if b.isPaused(t, "app") || b.pausedAsAWhole(t) {
		t.Error("not released")
	}
}

// TestOperatorAfterARestart: a pgbouncer that was restarted has forgotten what was held;
// what somebody pauses there then is his.
func TestOperatorAfterARestart(t *testing.T) {
	a := newServer(t, "a")
	b := newBouncer(t)
	b.commit(t, b.config(a.entry("app")+"\n"+a.entry("ops")+"\n"+a.entry("*"), transactions))
	b.start(t)
	h := b.holder(t, b.here())
	names := flowing(t, h, a)
	hold(t, h, names)
	for _, all := range []bool{false, true} {
		b.process.Kill()
		b.start(t)
		command := map[bool]string{false: "PAUSE ops", true: "PAUSE"}[all]
		b.console(t, command)
		release(t, h, names)
		if !b.isPaused(t, "ops") && !all || all && !b.pausedAsAWhole(t) {
			t.Errorf("%s was undone", command)
		}
		b.console(t, strings.Replace(command, "PAUSE", "RESUME", 1))
		hold(t, h, names)
	}
	release(t, h, names)
	if b.isPaused(t, "app") || b.isPaused(t, "ops") || b.pausedAsAWhole(t) {
		t.Error("not released")
	}
}

func TestHoldIsTaken(t *testing.T) {
	a := newServer(t, "a")
	b := newBouncer(t)
	committed := b.commit(t, b.config(a.entry("app"), transactions, "application_name_add_host = 1"))
	b.start(t)
	b.console(t, "PAUSE app") // by an operator, so it is taken by nobody
	operator := b.holder(t, b.here())
	same(t, "flowing while an operator pauses", flowing(t, operator, a))
	if mark, err := operator.(reload.Verifier).Verify(t.Context(), committed, reload.Mark{}); err != nil || !strings.Contains(mark.How, "clients wait, for somebody's RESUME: app") {
		t.Errorf("verify says %q, %v", mark.How, err)
	}
	b.console(t, "RESUME app")
	first, second := b.holder(t, b.here()), b.holder(t, b.here())
	names := flowing(t, first, a)
	taken := func(h reload.Holder) {
		t.Helper()
		if err := h.Hold(t.Context(), names); !errors.Is(err, reload.ErrTaken) || hint.Of(err) == "" {
			t.Errorf("error %v, hint %q", err, hint.Of(err))
		}
	}
	hold(t, first, names)
	taken(second)
	if _, err := second.Traffic(t.Context(), []reload.Address{a.address()}); !errors.Is(err, reload.ErrTaken) || hint.Of(err) == "" {
		t.Errorf("what another holds already: error %v, hint %q", err, hint.Of(err))
	}
	hold(t, first, names)
	release(t, first, names)
	hold(t, second, names)
	taken(first)
	// A process that ends frees what it held.
	_ = second.(io.Closer).Close()
	servertest.Eventually(t, "it is free", func() error { return first.Hold(t.Context(), names) })
	release(t, first, names)
}

func TestHoldAtTheSameTime(t *testing.T) {
	a := newServer(t, "a")
	b := newBouncer(t)
	b.commit(t, b.config(a.entry("app"), transactions))
	b.start(t)
	names := []string{b.console0() + "/app"}
	for range 5 {
		holders := []reload.Holder{b.holder(t, b.here()), b.holder(t, b.here()), b.holder(t, b.here())}
		errs := make(chan error, len(holders))
		for _, h := range holders {
			go func() { errs <- h.Hold(t.Context(), names) }()
		}
		held := 0
		for range holders {
			if err := <-errs; err == nil {
				held++
			} else if !errors.Is(err, reload.ErrTaken) {
				t.Error(err)
			}
		}
		if held != 1 {
			t.Errorf("%d hold", held)
		}
		for _, h := range holders {
			_ = h.(io.Closer).Close()
		}
		servertest.Eventually(t, "sessions end", func() error {
			if clients := b.console(t, "SHOW CLIENTS"); strings.Contains(clients, "pgbaton hold") {
				return errors.New(clients)
			}
			return nil
		})
	}
}

func TestReleaseByAnotherProcess(t *testing.T) {
	a := newServer(t, "a")
	b := newBouncer(t)
	b.commit(t, b.config(a.entry("app")+"\n"+a.entry("*"), transactions))
	b.start(t)
	first := b.holder(t, b.here())
	names := flowing(t, first, a)
	hold(t, first, names)
	waiting := b.client0(t, "app")
	b.awaitWaiting(t, "app", 1)
	_ = first.(io.Closer).Close()
	second := b.holder(t, b.here())
	same(t, "flowing while held", flowing(t, second, a))
	release(t, b.holder(t, b.here()), append(names, b.console0()+"/gone", b.console0()+"/sp ace\"d"))
	if got := awaitAnswer(t, "client", waiting); got.value != "a" {
		t.Errorf("%q, %v", got.value, got.err)
	}
	err := second.Release(t.Context(), []string{"/nowhere:1/app", b.console0() + "/app"})
	if err == nil || !strings.Contains(err.Error(), "/nowhere:1/app") {
		t.Errorf("a console that is not configured: %v", err)
	}
}

func TestHoldSeveralConsoles(t *testing.T) {
	a := newServer(t, "a")
	one, two := newBouncer(t), newBouncer(t)
	two.port = one.port
	var consoles, want []string
	for i, b := range []*bouncer{one, two} {
		b.commit(t, b.config(a.entry("app"), transactions, "so_reuseport = 1", fmt.Sprintf("max_client_conn = %d", 100-50*i)))
		b.start(t)
		consoles = append(consoles, b.console0())
		want = append(want, b.console0()+"/app")
	}
	c := pgbouncer.Config{Consoles: consoles, User: "root"}
	h := one.holder(t, c)
	traffic, err := h.Traffic(t.Context(), []reload.Address{a.address()})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "flowing", traffic.Flowing, want...)
	if traffic.Limit != 50 || traffic.Clients == 0 {
		t.Errorf("%d clients of %d, want those of the fuller", traffic.Clients, traffic.Limit)
	}
	hold(t, h, want)
	if !one.isPaused(t, "app") || !two.isPaused(t, "app") {
		t.Error("one of them is not held")
	}

	// One that is away keeps the other from nothing.
	one.process.Kill()
	traffic, err = h.Traffic(t.Context(), []reload.Address{a.address()})
	if err == nil || !strings.Contains(err.Error(), one.dir) || strings.Contains(err.Error(), two.dir) {
		t.Errorf("error %v, want one about %s", err, one.dir)
	}
	release(t, h, want[1:])
	traffic, _ = h.Traffic(t.Context(), []reload.Address{a.address()})
	same(t, "flowing", traffic.Flowing, want[1])
	if err := h.Hold(t.Context(), want); err == nil || !two.isPaused(t, "app") {
		t.Errorf("error %v; the other is to be held all the same", err)
	}
	release(t, h, want)
	if two.isPaused(t, "app") {
		t.Error("not released")
	}
}

func TestHoldOverTCPWithAPassword(t *testing.T) {
	a := newServer(t, "a")
	b := newBouncer(t)
	users := filepath.Join(b.dir, "users.txt")
	b.put(t, users, "\"baton\" \"secret\"\n\"other\" \"x\"\n")
	content := b.config(a.entry("app"), "auth_file = "+users, transactions)
	content = strings.ReplaceAll(content, "auth_type = any\nadmin_users = root", "auth_type = scram-sha-256\nadmin_users = baton\nstats_users = other")
	b.commit(t, content)
	b.start(t)
	with := func(user, password string) reload.Holder {
		file := servertest.File(t, filepath.Join(t.TempDir(), "password"), password, 0o600)
		return b.holder(t, pgbouncer.Config{Host: "127.0.0.1", Port: b.port, User: user, PasswordFile: file})
	}
	h := with("baton", "secret\n")
	start := time.Now()
	names := flowing(t, h, a)
	t.Logf("first Traffic: %v", time.Since(start))
	same(t, "flowing", names, fmt.Sprintf("127.0.0.1:%d/app", b.port))
	hold(t, h, names)
	start = time.Now()
	same(t, "flowing", flowing(t, h, a))
	t.Logf("later Traffic: %v", time.Since(start))
	release(t, h, names)
	wrong, other := with("baton", "guess"), with("other", "x")
	if _, err := wrong.Traffic(t.Context(), []reload.Address{a.address()}); !strings.Contains(hint.Of(err), "password_file") {
		t.Errorf("traffic with a wrong password: %v, hint %q", err, hint.Of(err))
	}
	for what, h := range map[string]reload.Holder{"wrong password": wrong, "no admin": other} {
		for _, err := range []error{h.Hold(t.Context(), names), h.Release(t.Context(), names)} {
			if err == nil || !strings.Contains(hint.Of(err), "admin_users") || strings.Contains(err.Error(), "guess") {
				t.Errorf("%s: error %v, hint %q", what, err, hint.Of(err))
			}
		}
	}
}

// A console takes a request to cancel for RESUME, and pgconn sends one when a
// context ends.
func TestGivingUpResumesNothing(t *testing.T) {
	b := newBouncer(t)
	b.commit(t, b.config("app = host=10.0.0.1\n* = host=10.0.0.1", transactions))
	b.start(t)
	h := b.holder(t, b.here())
	if _, err := h.Traffic(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	b.console(t, "PAUSE")
	b.process.Signal(t, syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := h.Traffic(ctx, nil); err == nil {
		t.Error("a frozen console answered")
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v", took)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := h.Release(ctx, []string{b.console0() + "/app"}); err == nil || !strings.Contains(hint.Of(err), "does not answer") {
		t.Errorf("release at a frozen console: %v, hint %q", err, hint.Of(err))
	}
	b.process.Signal(t, syscall.SIGCONT)
	for range 5 { // what was sent before is read before
		if !b.pausedAsAWhole(t) {
			t.Fatal("the operator's PAUSE is gone")
		}
	}
}
