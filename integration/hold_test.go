package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestNobodyNoticesASwitchover: planned switchovers of a real cluster cost its
// writers no error and no acknowledged row.
func TestNobodyNoticesASwitchover(t *testing.T) {
	consul := servertest.Consul(t)
	c := servertest.Patroni(t, consul, 3)
	changes := filepath.Join(servertest.PostgresDir(t), "changes")
	e := newEdge(t, consul, c, edgeSettings{target: fmt.Sprintf(
		"on_leader_change = [\"sh\", \"-c\", \"echo $PGBATON_CLUSTER $PGBATON_OLD_LEADER $PGBATON_NEW_LEADER $PGBATON_NEW_ADDRESS $PGBATON_TARGET >> %s\"]", changes)})
	w := startWriters(t, e.port, 8)
	old := c.Leader(t)
	last := old
	var next *servertest.PatroniMember
	for _, next = range c.Replicas(t) {
		said := len(e.daemon.Output())
		c.Switchover(t, next)
		w.Progress(t, 100)
		through(e.port).landsOn(t, next)
		e.recounts(t, last, next, true)
		isStory(t, e.daemon.Output()[said:])
		last = next
		c.AwaitReady(t)
	}
	failed, missing := w.End(t, next)
	failed, underWay := e.noticed(t, failed)
	if len(failed) > 0 || len(missing) > 0 {
		t.Errorf("%d errors, first of them %v; %d acknowledged rows missing; pgbaton:\n%s", len(failed), errors.Join(failed...), len(missing), e.daemon.Output())
	}
	// Each of them as pgbaton's metrics have it.
	e.page.measures(t, "metrics have both switchovers", func(all map[string]float64) error {
		for _, series := range []string{
			`pgbaton_target_applied_total{target="pgbouncer.edge",why="leader"}`,
			`pgbaton_target_change_to_applied_seconds_count{target="pgbouncer.edge",why="leader"}`,
		} {
			if all[series] != 2 {
				return fmt.Errorf("%s is %v", series, all[series])
			}
		}
		if n := all[`pgbaton_target_held_seconds_count{target="pgbouncer.edge"}`]; n < 2 {
			return fmt.Errorf("held %v times", n)
		}
		for _, step := range []string{"detect", "confirm", "hold", "render", "reload", "verify", "release"} {
			if series := fmt.Sprintf(`pgbaton_target_step_seconds_count{step=%q,target="pgbouncer.edge"}`, step); all[series] < 2 {
				return fmt.Errorf("%s is %v", series, all[series])
			}
		}
		return nil
	})
	t.Logf("two switchovers: longest stall %v, %d rows, %d transactions under way lost: %v", w.Stall(), w.Rows(), len(underWay), errors.Join(underWay...))
	servertest.Eventually(t, "the command after each change has run", func() error {
		text, err := os.ReadFile(changes)
		if want := fmt.Sprintf("main %s ", old.Name); err == nil && (!strings.HasPrefix(string(text), want) || strings.Count(string(text), "\n") != 2 ||
			!strings.Contains(string(text), fmt.Sprintf(" %s 127.0.0.1:%d pgbouncer.edge\n", next.Name, next.Port))) {
			err = fmt.Errorf("it wrote %q", text)
		}
		return err
	})
	stopDaemon(t, e.daemon)
}

// TestWaysOutOfAHold: whatever happens while traffic is held, it is released.
func TestWaysOutOfAHold(t *testing.T) {
	consul := servertest.Consul(t)
	c := servertest.Patroni(t, consul, 1)

	t.Run("called off", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{})
		w := startWriters(t, e.port, 4)
		callOff := e.askSwitchover(t)
		e.isHeld(t, true)
		held := e.page.counts(t, "metrics say that it is held", map[string]float64{
			`pgbaton_target_held{by="pgbaton",target="pgbouncer.edge"}`:              1,
			`pgbaton_target_held{by="operator",target="pgbouncer.edge"}`:             0,
			`pgbaton_cluster_phase{cluster="main",phase="switching"}`:                1,
			`pgbaton_target_step_seconds_count{step="hold",target="pgbouncer.edge"}`: 1,
			`pgbaton_target_held_seconds_count{target="pgbouncer.edge"}`:             0,
		})
		if since := time.Since(time.Unix(int64(held[`pgbaton_target_held_since_timestamp_seconds{by="pgbaton",target="pgbouncer.edge"}`]), 0)); since < 0 || since > servertest.Deadline {
			t.Errorf("held for %v", since)
		}
		callOff()
		e.isHeld(t, false)
		over := e.page.counts(t, "metrics say that it was held", map[string]float64{
			`pgbaton_target_held{by="pgbaton",target="pgbouncer.edge"}`:                 0,
			`pgbaton_target_held_seconds_count{target="pgbouncer.edge"}`:                1,
			`pgbaton_target_step_seconds_count{step="release",target="pgbouncer.edge"}`: 1,
		})
		if waited := over[`pgbaton_target_held_seconds_sum{target="pgbouncer.edge"}`]; waited <= 0 {
			t.Errorf("clients waited for %v s", waited)
		}
		w.Progress(t, 100)
		if failed, missing := w.End(t, c.Members[0]); len(failed)+len(missing) > 0 {
			t.Errorf("errors %v, missing rows %v", failed, missing)
		}
	})

	t.Run("hold_timeout", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{cluster: `hold_timeout = "2s"`})
		w := startWriters(t, e.port, 4)
		e.askSwitchover(t)
		e.isHeld(t, true)
		e.isHeld(t, false)
		w.Progress(t, 100)
		if err := e.logged("hold_timeout has passed"); err != nil {
			t.Error(err)
		}
		if failed, _ := w.End(t, c.Members[0]); len(failed) > 0 {
			t.Errorf("errors %v", failed)
		}
	})

	t.Run("near max_client_conn", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{vars: "max_client_conn = 20"})
		callOff := e.askSwitchover(t)
		e.isHeld(t, true)
		ctx, cancel := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		defer clients.Wait()
		defer cancel()
		for range 16 {
			clients.Go(func() {
				// A login waits too where pgbouncer has not met a server since it read its config.
				conn, err := pgx.Connect(ctx, strings.Replace(through(e.port).url, "connect_timeout=5", "connect_timeout=60", 1))
				if err != nil {
					return
				}
				<-ctx.Done()
				_ = conn.Close(context.WithoutCancel(ctx))
			})
		}
		servertest.Eventually(t, "traffic is given up", func() error { return e.logged("clients of 20 are connected") })
		e.isHeld(t, false)
		callOff()
	})

	t.Run("SIGTERM", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{})
		e.askSwitchover(t)
		e.isHeld(t, true)
		stopDaemon(t, e.daemon)
		e.isHeld(t, false)
		e.nothingHeld(t)
	})

	t.Run("kill -9, and the guard", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{cluster: `hold_timeout = "10s"`})
		e.askSwitchover(t)
		e.isHeld(t, true)
		e.daemon.Kill()
		e.isHeld(t, true)
		e.isHeld(t, false)
		e.nothingHeld(t)
	})

	t.Run("kill -9, and the next start", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{})
		w := startWriters(t, e.port, 4)
		callOff := e.askSwitchover(t)
		e.isHeld(t, true)
		e.daemon.Kill()
		e.daemon = startDaemon(t, e.dir, e.config, e.ini)
		servertest.Eventually(t, "the next one takes over", func() error { return e.logged("taking over what the last process held") })
		e.isHeld(t, true)
		callOff()
		e.isHeld(t, false)
		w.Progress(t, 100)
		if failed, missing := w.End(t, c.Members[0]); len(failed)+len(missing) > 0 {
			t.Errorf("errors %v, missing rows %v", failed, missing)
		}
		e.nothingHeld(t)
	})

	t.Run("kill -9, and pgbaton release", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{})
		e.askSwitchover(t)
		e.isHeld(t, true)
		e.daemon.Kill()
		out := e.pgbaton(t, "release", "-config", filepath.Join(e.dir, "pgbaton.hcl"))
		if !strings.Contains(out, "pgbouncer.edge: released") {
			t.Errorf("it said %q", out)
		}
		e.isHeld(t, false)
		e.nothingHeld(t)
	})

	t.Run("pgbaton release beside a daemon", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{})
		e.askSwitchover(t)
		e.isHeld(t, true)
		e.pgbaton(t, "release", "-state-dir", filepath.Join(e.dir, "state"))
		e.isHeld(t, false)
		servertest.Eventually(t, "the daemon leaves it released", func() error { return e.logged("traffic was released by hand") })
		e.isHeld(t, false)
	})

	t.Run("pgbaton hold", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{})
		config := filepath.Join(e.dir, "pgbaton.hcl")
		if out := e.pgbaton(t, "hold", "-config", config, "-target", "edge", "-for", "60s"); !strings.Contains(out, "pgbouncer.edge: held for 1m0s") {
			t.Errorf("it said %q", out)
		}
		e.isHeld(t, true)
		e.pgbaton(t, "release", "-config", config)
		e.isHeld(t, false)
		e.pgbaton(t, "hold", "-config", config, "-for", "2s")
		e.isHeld(t, true)
		e.isHeld(t, false) // nobody released it
		e.nothingHeld(t)
	})

	t.Run("a release that fails", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{})
		config, record := filepath.Join(e.dir, "pgbaton.hcl"), filepath.Join(e.dir, "state", "by-hand.pgbouncer.edge.json")
		e.pgbaton(t, "hold", "-config", config, "-for", "4s")
		e.isHeld(t, true)
		text, err := os.ReadFile(record)
		if err != nil {
			t.Fatal(err)
		}
		as := func(user string) {
			t.Helper()
			if err := os.WriteFile(record, []byte(strings.Replace(string(text), `"User": ""`, `"User": "`+user+`"`, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		as("stranger")
		if out := verb(t, e.dir, 1, "release", "-config", config); !strings.Contains(out, "stranger") {
			t.Errorf("it said %q", out)
		}
		as("") // whoever looks after it finds it where it was
		e.isHeld(t, false)
		e.nothingHeld(t)

		// With nobody to look after it but the daemon.
		e.pgbaton(t, "hold", "-config", config, "-for", "2s")
		servertest.Eventually(t, "its guard is gone", func() error {
			return os.Rename(record, filepath.Join(e.dir, "kept"))
		})
		e.isHeld(t, true)
		servertest.Eventually(t, "it is there again", func() error {
			return os.Rename(filepath.Join(e.dir, "kept"), filepath.Join(e.dir, "state", "releasing.by-hand.pgbouncer.edge.json"))
		})
		e.isHeld(t, false)
		e.nothingHeld(t)
	})

	t.Run("SIGHUP hands it over", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{})
		w := startWriters(t, e.port, 4)
		callOff := e.askSwitchover(t)
		e.isHeld(t, true)
		e.daemon.Signal(t, syscall.SIGHUP)
		servertest.Eventually(t, "the config is taken up", func() error { return e.logged("config taken up") })
		e.isHeld(t, true)
		callOff()
		e.isHeld(t, false)
		w.Progress(t, 100)
		if failed, _ := w.End(t, c.Members[0]); len(failed) > 0 {
			t.Errorf("errors %v", failed)
		}
	})

	t.Run("pgbouncer restarts", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{})
		callOff := e.askSwitchover(t)
		e.isHeld(t, true)
		e.pooler.Kill()
		e.pooler = servertest.PgBouncer(t, e.ini, e.port)
		e.isHeld(t, true)
		if err := e.logged("again=true"); err != nil {
			t.Error(err)
		}
		callOff()
		e.isHeld(t, false)
	})

	t.Run("the store is away", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{cluster: `hold_timeout = "3s"`})
		callOff := e.askSwitchover(t)
		e.isHeld(t, true)
		consul.Freeze(t)
		e.isHeld(t, false)
		consul.Thaw(t)
		callOff()
		e.isHeld(t, false)
	})

	t.Run("the console refuses the login", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{})
		stopDaemon(t, e.daemon)
		e.config = strings.Replace(e.config, "hold   = true", "hold   = true\n  user = \"stranger\"", 1)
		e.daemon = startDaemon(t, e.dir, e.config, e.ini)
		servertest.Eventually(t, "the leader is known again", func() error { return e.logged("leader confirmed") })
		callOff := e.askSwitchover(t)
		servertest.Eventually(t, "it says why nothing is held", func() error { return e.logged("traffic is not held as it should be") })
		e.isHeld(t, false)
		callOff()
		stopDaemon(t, e.daemon)
	})

	t.Run("a second pgbaton", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{})
		second := *e
		second.dir = servertest.PostgresDir(t)
		servertest.File(t, filepath.Join(second.dir, "users"), "\"postgres\" \"\"\n", 0o644)
		second.daemon = startDaemon(t, second.dir, strings.Replace(e.config, e.ini, filepath.Join(second.dir, "pgbouncer.ini"), 1), filepath.Join(second.dir, "pgbouncer.ini"))
		w := startWriters(t, e.port, 4)
		callOff := e.askSwitchover(t)
		e.isHeld(t, true)
		servertest.Eventually(t, "one of them is refused", func() error {
			first, other := e.logged("another pgbaton holds"), second.logged("another pgbaton holds")
			if (first == nil) == (other == nil) {
				return fmt.Errorf("refused are %v and %v", first == nil, other == nil)
			}
			return nil
		})
		callOff()
		e.isHeld(t, false)
		w.Progress(t, 100)
		if failed, _ := w.End(t, c.Members[0]); len(failed) > 0 {
			t.Errorf("errors %v", failed)
		}
	})
}

// nothingHeld waits until no database is paused and nothing is in the state
// folder.
func (e *edge) nothingHeld(t *testing.T) {
	t.Helper()
	servertest.Eventually(t, "nothing is paused", func() error {
		paused, err := e.paused(t)
		if err != nil {
			return err
		}
		for name, is := range paused {
			if is {
				return fmt.Errorf("%s is paused", name)
			}
		}
		return nil
	})
	e.noHolds(t)
}

// noHolds waits until the state folder speaks of none.
func (e *edge) noHolds(t *testing.T) {
	t.Helper()
	servertest.Eventually(t, "no hold is on disk", func() error {
		for _, pattern := range []string{"held.*", "by-hand.*"} {
			if files, _ := filepath.Glob(filepath.Join(e.dir, "state", pattern)); len(files) > 0 {
				return fmt.Errorf("there is still %v", files)
			}
		}
		return nil
	})
}

// pgbaton runs a verb as the user postgres.
func (e *edge) pgbaton(t *testing.T, args ...string) string {
	t.Helper()
	return verb(t, e.dir, 0, args...)
}

// verb runs a verb of pgbaton as the user postgres, and wants an exit code of it.
func verb(t *testing.T, dir string, exit int, args ...string) string {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	servertest.AsPostgres(t, cmd)
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != exit {
		t.Fatalf("pgbaton %s: %v, want exit %d\n%s", strings.Join(args, " "), err, exit, out)
	}
	t.Logf("pgbaton %s: %v", args[0], time.Since(begun).Round(time.Millisecond))
	return string(out)
}
