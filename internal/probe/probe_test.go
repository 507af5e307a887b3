package probe_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/probe"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

var both = []cluster.Way{cluster.WayAPI, cluster.WaySQL, cluster.WayRole}

// diary keeps what a look told.
type diary struct {
	mu  sync.Mutex
	all []cluster.Evidence
}

func (d *diary) tell(e cluster.Evidence) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, e)
}

// until waits for a verdict among what was told after the first n.
func (d *diary) until(t *testing.T, n int, v cluster.Verdict) cluster.Evidence {
	t.Helper()
	var found cluster.Evidence
	servertest.Eventually(t, "evidence: "+v.String(), func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, e := range d.all[n:] {
			if e.Verdict == v {
				found = e
				return nil
			}
		}
		return fmt.Errorf("told so far: %v", d.all)
	})
	return found
}

func (d *diary) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all)
}

func newProber(t *testing.T, c probe.Config) *probe.Prober {
	t.Helper()
	p, err := probe.New(c, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// looking runs a look until the test ends, or stop is called.
func looking(t *testing.T, look func(context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		look(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

func member(m *servertest.PatroniMember) cluster.Member {
	return cluster.Member{
		Name: m.Name, Host: m.Host, Port: m.Port, API: m.API() + "/patroni",
		Endpoints: []cluster.Endpoint{{Host: m.Host, Port: m.Port}},
	}
}

// TestMembers asks and watches the members of a real cluster.
func TestMembers(t *testing.T) {
	c := servertest.Patroni(t, servertest.Consul(t), 2)
	leader, replica := c.Members[0], c.Members[1]
	p := newProber(t, probe.Config{Ways: both})
	system := ""

	for _, way := range []cluster.Way{cluster.WayAPI, cluster.WaySQL} {
		one := newProber(t, probe.Config{Ways: []cluster.Way{way}})
		e, err := one.Ask(t.Context(), member(leader))
		if err != nil || e.Verdict != cluster.Writable || e.Way != way || e.Timeline != 1 || e.System == "" || e.Member != leader.Name {
			t.Errorf("the leader, by %s: %+v, error %v", way, e, err)
		}
		system = e.System
		if e, err := one.Ask(t.Context(), member(replica)); err != nil || e.Verdict != cluster.ReadOnly || e.System != system {
			t.Errorf("a replica, by %s: %+v, error %v", way, e, err)
		}
	}
	if failing := p.Failing(t.Context(), member(leader)); len(failing) != 0 {
		t.Errorf("ways that fail: %v", failing)
	}

	t.Run("sessions", func(t *testing.T) { sessions(t, leader, replica) })

	t.Run("the port alone, where nobody may log in", func(t *testing.T) {
		strange := newProber(t, probe.Config{Ways: both, SQL: probe.SQL{User: "nobody-here"}})
		failing := strange.Failing(t.Context(), member(leader))
		if err := failing[cluster.WaySQL]; err == nil || !strings.Contains(hint.Of(err), "sql block") || failing[cluster.WayAPI] != nil {
			t.Errorf("ways that fail: %v", failing)
		}
		var d diary
		looking(t, func(ctx context.Context) { strange.Pulse(ctx, member(leader), d.tell) })
		d.until(t, 0, cluster.Unclear)
	})

	t.Run("a role without the right to the control file", func(t *testing.T) {
		conn, err := pgx.Connect(t.Context(), leader.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		if _, err := conn.Exec(t.Context(), "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC; CREATE ROLE watcher LOGIN"); err != nil {
			t.Fatal(err)
		}
		meek := newProber(t, probe.Config{Ways: []cluster.Way{cluster.WaySQL}, SQL: probe.SQL{User: "watcher"}})
		if e, err := meek.Ask(t.Context(), member(leader)); err != nil || e.Verdict != cluster.Writable || e.Timeline != 1 || e.System != "" {
			t.Errorf("told %+v, error %v", e, err)
		}
		var d diary
		looking(t, func(ctx context.Context) { meek.Pulse(ctx, member(leader), d.tell) })
		d.until(t, 0, cluster.Writable)
	})

	var pulse, port, candidate diary
	looking(t, func(ctx context.Context) { p.Pulse(ctx, member(leader), pulse.tell) })
	strange := newProber(t, probe.Config{Ways: both, SQL: probe.SQL{User: "nobody-here"}})
	looking(t, func(ctx context.Context) { strange.Pulse(ctx, member(leader), port.tell) })
	pulse.until(t, 0, cluster.Writable)
	port.until(t, 0, cluster.Unclear)

	t.Run("an administrator who ends the connection alarms nobody", func(t *testing.T) {
		n := pulse.count()
		conn, err := pgx.Connect(t.Context(), leader.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		if _, err := conn.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgbaton'"); err != nil {
			t.Fatal(err)
		}
		// A new connection asks in full, with the timeline.
		servertest.Eventually(t, "it is back", func() error {
			pulse.mu.Lock()
			defer pulse.mu.Unlock()
			for _, e := range pulse.all[n:] {
				if e.Verdict != cluster.Writable {
					t.Errorf("told %+v", e)
				}
			}
			if len(pulse.all) < n+2 {
				return fmt.Errorf("%d told", len(pulse.all)-n)
			}
			return nil
		})
	})

	t.Run("silence", func(t *testing.T) {
		n, m := pulse.count(), port.count()
		leader.FreezePostgres(t)
		begun := time.Now()
		e := pulse.until(t, n, cluster.Silent)
		if took := e.At.Sub(begun); took < time.Second {
			t.Errorf("silence counted after %v", took)
		}
		port.until(t, m, cluster.Silent)
		n, m = pulse.count(), port.count()
		leader.Thaw(t)
		pulse.until(t, n, cluster.Writable)
		port.until(t, m, cluster.Unclear)
	})

	t.Run("a restart in place", func(t *testing.T) {
		n, m := pulse.count(), port.count()
		c.Ctl(t, "restart", c.Scope, leader.Name, "--force")
		gone := pulse.until(t, n, cluster.Gone)
		pulse.until(t, n, cluster.Writable)
		port.until(t, m, cluster.Gone)
		if gone.Member != leader.Name {
			t.Errorf("told of %s", gone.Member)
		}
	})

	t.Run("a candidate", func(t *testing.T) {
		stop := looking(t, func(ctx context.Context) { p.Confirm(ctx, member(replica), candidate.tell) })
		candidate.until(t, 0, cluster.ReadOnly)
		n := candidate.count()
		c.Switchover(t, replica)
		if e := candidate.until(t, n, cluster.Writable); e.System != system {
			t.Errorf("told %+v", e)
		}
		stop()
	})

	t.Run("nobody there", func(t *testing.T) {
		n := pulse.count()
		leader.Kill()
		pulse.until(t, n, cluster.Gone)
		if _, err := p.Ask(t.Context(), member(leader)); err == nil {
			t.Error("a member that is gone answered")
		}
	})
}

// TestAPI: what Patroni's answer means, over TLS and with a password.
func TestAPI(t *testing.T) {
	answer, code := "", http.StatusOK
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "ops" || password != "secret" || r.URL.Path != "/patroni" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	dir := t.TempDir()
	password := servertest.File(t, filepath.Join(dir, "password"), "secret\nmore\n", 0o600)
	ca := servertest.File(t, filepath.Join(dir, "ca.pem"), pemOf(server.Certificate().Raw), 0o600)
	m := cluster.Member{Name: "pg1", API: server.URL + "/patroni"}
	ways := []cluster.Way{cluster.WayAPI}
	good := newProber(t, probe.Config{Ways: ways, API: probe.API{User: "ops", PasswordFile: password, CAFile: ca}})

	for text, want := range map[string]cluster.Verdict{
		`{"state":"running","role":"primary","timeline":7,"database_system_identifier":"42"}`: cluster.Writable,
		`{"state":"running","role":"master"}`:                                                 cluster.Writable,
		`{"state":"running","role":"replica"}`:                                                cluster.ReadOnly,
		`{"state":"running","role":"standby_leader"}`:                                         cluster.ReadOnly,
	} {
		answer = text
		if e, err := good.Ask(t.Context(), m); err != nil || e.Verdict != want {
			t.Errorf("%s: %+v, error %v", text, e, err)
		}
	}
	for _, text := range []string{`{"state":"starting","role":"primary"}`, `{"state":"running","role":"king"}`, `nothing`, strings.Repeat("[", 2<<20)} {
		answer = text
		if e, err := good.Ask(t.Context(), m); err == nil {
			t.Errorf("%.50s: %+v", text, e)
		}
	}
	answer, code = `{"state":"stopped","role":"primary"}`, http.StatusServiceUnavailable
	if e, err := good.Ask(t.Context(), m); err == nil {
		t.Errorf("a stopped server: %+v", e)
	}

	for want, c := range map[string]probe.API{
		"set user and password_file": {CAFile: ca},
		"":                           {User: "ops", PasswordFile: password}, // an authority that nobody knows
	} {
		p := newProber(t, probe.Config{Ways: ways, API: c})
		if err := p.Failing(t.Context(), m)[cluster.WayAPI]; err == nil || !strings.Contains(hint.Of(err), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v, hint %q", c, err, hint.Of(err))
		}
	}
	lax := newProber(t, probe.Config{Ways: ways, API: probe.API{User: "ops", PasswordFile: password, Insecure: true}})
	answer, code = `{"state":"running","role":"primary"}`, http.StatusOK
	if _, err := lax.Ask(t.Context(), m); err != nil {
		t.Errorf("without verification: %v", err)
	}
}

// A name that nobody can look up is no server that is silent.
func TestNoName(t *testing.T) {
	p := newProber(t, probe.Config{Ways: []cluster.Way{cluster.WaySQL}})
	m := cluster.Member{Name: "pg1", Endpoints: []cluster.Endpoint{{Host: "pg1.invalid", Port: 5432}}}
	var d diary
	looking(t, func(ctx context.Context) { p.Pulse(ctx, m, d.tell) })
	d.until(t, 0, cluster.Unclear)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.all {
		if e.Verdict != cluster.Unclear {
			t.Errorf("told %+v", e)
		}
	}
}

// What is in the environment for other clients is none of ours.
func TestEnvironment(t *testing.T) {
	for _, name := range []string{"PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGHOST", "PGSSLMODE", "PGTARGETSESSIONATTRS"} {
		t.Setenv(name, "/not/there")
	}
	newProber(t, probe.Config{Ways: both})
}

func TestBadConfig(t *testing.T) {
	empty := servertest.File(t, filepath.Join(t.TempDir(), "empty"), "", 0o600)
	for want, c := range map[string]probe.Config{
		"read ca_file":                 {API: probe.API{CAFile: "/not/there"}},
		"holds no certificate":         {API: probe.API{CAFile: empty}},
		"there is no cert_file":        {API: probe.API{KeyFile: empty}},
		"read cert_file":               {API: probe.API{CertFile: empty}},
		"read password_file":           {SQL: probe.SQL{PasswordFile: "/not/there"}},
		"read the cluster's sql block": {SQL: probe.SQL{SSLMode: "maybe"}},
	} {
		if _, err := probe.New(c, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func pemOf(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
