package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// scrape is what a scrape of a pgbaton gave, by series.
func (l listener) scrape(t *testing.T) (map[string]float64, error) {
	t.Helper()
	code, body, err := l.get(t, "/metrics")
	if err != nil || code != 200 {
		return nil, fmt.Errorf("%d %s: %w", code, body, err)
	}
	all := map[string]float64{}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		space := strings.LastIndexByte(line, ' ')
		if all[line[:space]], err = strconv.ParseFloat(strings.TrimSpace(line[space:]), 64); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	return all, nil
}

// counts waits until series have values.
func (l listener) counts(t *testing.T, what string, want map[string]float64) map[string]float64 {
	t.Helper()
	return l.measures(t, what, func(all map[string]float64) error {
		for series, value := range want {
			if got, shown := all[series]; !shown || got != value {
				return fmt.Errorf("%s is %v (%v), not %v", series, got, shown, value)
			}
		}
		return nil
	})
}

// measures waits until a scrape is as cond wants it.
func (l listener) measures(t *testing.T, what string, cond func(map[string]float64) error) (all map[string]float64) {
	t.Helper()
	servertest.Eventually(t, what, func() (err error) {
		if all, err = l.scrape(t); err == nil {
			err = cond(all)
		}
		return err
	})
	return all
}

// measured is a config with a cluster whose leader is where its file says.
func measured(l listener, targets ...string) string {
	config := l.block() + `
file {
  path = "state.yaml"
}
cluster "patroni" "main" {
  scope   = "batman"
  confirm = ["none"]
}
`
	for _, name := range targets {
		config += fmt.Sprintf(`
target "exec" %[1]q {
  template {
    contents    = "{{ with cluster \"main\" }}{{ .Leader.Host }}{{ end }} {{ key \"name\" }}\n"
    destination = %[1]q
  }
  check   = ["sh", "-c", "! grep bad {file}"]
  command = ["sh", "-c", "! grep worse $PGBATON_DESTINATION"]
}
`, name)
	}
	return config
}

// putLeader makes a member the leader of the cluster, and a name what files are to show.
func putLeader(t *testing.T, dir, leader, name string) {
	t.Helper()
	state := fmt.Sprintf("kv:\n  name: %q\n  service/batman/initialize: \"7420871337042069420\"\n  service/batman/leader: %s\n", name, leader)
	for i, member := range []string{"pg1", "pg2"} {
		role := "replica"
		if member == leader {
			role = "primary"
		}
		state += fmt.Sprintf("  service/batman/members/%s: {conn_url: \"postgres://10.0.0.1%d:5432/postgres\", role: %s, state: running, timeline: 3, xlog_location: %d}\n",
			member, i+1, role, 1000-i*100)
	}
	next := servertest.File(t, filepath.Join(dir, "state.yaml.next"), state, 0o644)
	if err := os.Rename(next, filepath.Join(dir, "state.yaml")); err != nil {
		t.Fatal(err)
	}
}

// TestMetricsOfWhatHappens: what becomes of a pgbaton and its targets is what its metrics
// say.
func TestMetricsOfWhatHappens(t *testing.T) {
	dir, page := servertest.PostgresDir(t), listener{servertest.FreePort(t)}
	putLeader(t, dir, "pg1", "shop")
	p := startDaemon(t, dir, measured(page, "app", "other"))
	defer stopDaemon(t, p)

	first := page.counts(t, "all is well", map[string]float64{
		`pgbaton_ok`: 1, `pgbaton_ready`: 1, `pgbaton_config_last_load_successful`: 1,
		`pgbaton_target_in_sync{target="exec.app"}`:                                                1,
		`pgbaton_target_state{state="in_sync",target="exec.app"}`:                                  1,
		`pgbaton_target_follows_info{cluster="main",leader="pg1",target="exec.app"}`:               1,
		`pgbaton_target_applied_total{target="exec.app",why="start"}`:                              1,
		`pgbaton_target_applied_total{target="exec.app",why="leader"}`:                             0,
		`pgbaton_target_failures_total{kind="check",target="exec.app"}`:                            0,
		`pgbaton_target_change_to_applied_seconds_count{target="exec.app",why="start"}`:            1,
		`pgbaton_target_change_to_applied_seconds_bucket{target="exec.app",why="start",le="+Inf"}`: 1,
		`pgbaton_target_frozen{target="exec.app"}`:                                                 0,
		`pgbaton_target_held{by="pgbaton",target="exec.app"}`:                                      0,
		`pgbaton_cluster_phase{cluster="main",phase="steady"}`:                                     1,
		`pgbaton_cluster_leader_info{cluster="main",confirmed_by="none",leader="pg1"}`:             1,
		`pgbaton_cluster_timeline{cluster="main"}`:                                                 3,
		`pgbaton_cluster_replicas_serving{cluster="main"}`:                                         1,
		`pgbaton_replica_serves{cluster="main",member="pg2"}`:                                      1,
		`pgbaton_replica_lag_bytes{cluster="main",member="pg2"}`:                                   100,
		`pgbaton_store_state{state="answers",store="file"}`:                                        1,
		`pgbaton_store_stale{store="file"}`:                                                        0,
		`promhttp_metric_handler_errors_total{cause="gathering"}`:                                  0,
	})
	if since := time.Since(time.Unix(int64(first["pgbaton_start_timestamp_seconds"]), 0)); since < 0 || since > servertest.Deadline {
		t.Errorf("it started %v ago", since)
	}
	if first[`pgbaton_store_watches{store="file"}`] < 2 {
		t.Errorf("%v watches", first[`pgbaton_store_watches{store="file"}`])
	}
	for _, step := range []string{"render", "check", "reload"} {
		series := fmt.Sprintf(`pgbaton_target_step_seconds_count{step=%q,target="exec.app"}`, step)
		if first[series] != 1 {
			t.Errorf("%s is %v", series, first[series])
		}
	}

	putLeader(t, dir, "pg2", "shop")
	page.counts(t, "another leader", map[string]float64{
		`pgbaton_target_applied_total{target="exec.app",why="leader"}`:                   1,
		`pgbaton_target_change_to_applied_seconds_count{target="exec.app",why="leader"}`: 1,
		`pgbaton_target_step_seconds_count{step="render",target="exec.app"}`:             2,
		`pgbaton_target_follows_info{cluster="main",leader="pg2",target="exec.app"}`:     1,
		`pgbaton_cluster_leader_info{cluster="main",confirmed_by="none",leader="pg2"}`:   1,
		`pgbaton_replica_serves{cluster="main",member="pg1"}`:                            1,
	})

	putLeader(t, dir, "pg2", "bad")
	page.counts(t, "the check refuses", map[string]float64{
		`pgbaton_ok`: 0, `pgbaton_ready`: 1,
		`pgbaton_target_in_sync{target="exec.app"}`:               0,
		`pgbaton_target_state{state="failing",target="exec.app"}`: 1,
		`pgbaton_target_error{kind="check",target="exec.app"}`:    1,
		`pgbaton_target_error{kind="reload",target="exec.app"}`:   0,
	})
	page.measures(t, "each try is counted", func(all map[string]float64) error {
		if n := all[`pgbaton_target_failures_total{kind="check",target="exec.app"}`]; n < 2 {
			return fmt.Errorf("%v failures", n)
		}
		return nil
	})

	putLeader(t, dir, "pg2", "worse")
	page.measures(t, "the command fails", func(all map[string]float64) error {
		if n := all[`pgbaton_target_failures_total{kind="reload",target="exec.app"}`]; n < 1 || all[`pgbaton_target_error{kind="reload",target="exec.app"}`] != 1 {
			return fmt.Errorf("%v failures", n)
		}
		return nil
	})
	putLeader(t, dir, "pg2", "store")
	page.counts(t, "all is well again", map[string]float64{
		`pgbaton_ok`: 1,
		`pgbaton_target_consecutive_failures{target="exec.app"}`:         0,
		`pgbaton_target_error{kind="reload",target="exec.app"}`:          0,
		`pgbaton_target_applied_total{target="exec.app",why="content"}`:  1,
		`pgbaton_target_in_sync{target="exec.app"}`:                      1,
		`pgbaton_target_held_seconds_count{target="exec.app"}`:           0,
		`pgbaton_target_drifted_files{target="exec.app"}`:                0,
		`pgbaton_target_failures_total{kind="guard",target="exec.app"}`:  0,
		`pgbaton_target_applied_total{target="exec.other",why="leader"}`: 1,
	})

	operator := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(binary, append(args, "-config", filepath.Join(dir, "pgbaton.hcl"))...).CombinedOutput(); err != nil {
			t.Fatalf("pgbaton %v: %v\n%s", args, err, out)
		}
	}
	operator("freeze", "-target", "exec.app", "-for", "1h", "-reason", "SECRET-reason")
	putLeader(t, dir, "pg2", "frozen")
	frozen := page.counts(t, "frozen", map[string]float64{
		`pgbaton_target_frozen{target="exec.app"}`:                    1,
		`pgbaton_target_state{state="frozen",target="exec.app"}`:      1,
		`pgbaton_target_frozen{target="exec.other"}`:                  0,
		`pgbaton_target_in_sync{target="exec.other"}`:                 1,
		`pgbaton_target_applied_total{target="exec.app",why="start"}`: 1,
	})
	since, until := frozen[`pgbaton_target_frozen_since_timestamp_seconds{target="exec.app"}`], frozen[`pgbaton_target_frozen_until_timestamp_seconds{target="exec.app"}`]
	if until-since != 3600 {
		t.Errorf("frozen from %v to %v", since, until)
	}
	_, body, err := page.get(t, "/metrics")
	if err != nil || strings.Contains(body, "SECRET") || strings.Contains(body, "10.0.0.") {
		t.Errorf("%v; it tells words of an operator, or addresses:\n%s", err, body)
	}
	check := exec.Command(servertest.Need(t, "promtool"), "check", "metrics")
	check.Stdin = strings.NewReader(body)
	judged(t, check)
	operator("apply", "-force", "-target", "exec.app")
	page.counts(t, "forced", map[string]float64{`pgbaton_target_applied_total{target="exec.app",why="forced"}`: 1, `pgbaton_target_frozen{target="exec.app"}`: 1})
	operator("thaw")
	page.counts(t, "thawed", map[string]float64{`pgbaton_target_frozen{target="exec.app"}`: 0, `pgbaton_target_in_sync{target="exec.app"}`: 1})

	// What was counted stays over a SIGHUP, but for a target that is gone.
	config := filepath.Join(dir, "pgbaton.hcl")
	good := fmt.Sprintf("state_dir = %q\n", filepath.Join(dir, "state"))
	servertest.File(t, config, good+"broken", 0o644)
	p.Signal(t, syscall.SIGHUP)
	page.counts(t, "a config is refused", map[string]float64{`pgbaton_config_last_load_successful`: 0, `pgbaton_ok`: 0, `pgbaton_target_in_sync{target="exec.other"}`: 1})
	servertest.File(t, config, good+measured(page, "app"), 0o644)
	p.Signal(t, syscall.SIGHUP)
	last := page.counts(t, "a config is taken up", map[string]float64{
		`pgbaton_ok`: 1, `pgbaton_config_last_load_successful`: 1,
		`pgbaton_target_applied_total{target="exec.app",why="leader"}`: 1,
		`pgbaton_target_applied_total{target="exec.app",why="forced"}`: 1,
		`pgbaton_start_timestamp_seconds`:                              first["pgbaton_start_timestamp_seconds"],
	})
	if last["pgbaton_config_last_load_success_timestamp_seconds"] <= first["pgbaton_config_last_load_success_timestamp_seconds"] {
		t.Error("the config is as old as before")
	}
	for series := range last {
		if strings.Contains(series, "exec.other") {
			t.Errorf("%s is shown of a target that is gone", series)
		}
	}
}
