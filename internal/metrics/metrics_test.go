package metrics

import (
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/status"
)

var day = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) // 1795694400

// words are what others said: no label may show them.
const words = "SECRET words of others"

// full is a status in which everything is said that can be.
func full() status.Status {
	stale := &status.Stale{Since: day.Add(-90 * time.Second), Query: "kv " + words, Words: words}
	lag, delay := uint64(4096), 1.5
	return status.Of(day, status.Process{
		Version: "v1.2.3", Started: day.Add(-time.Hour), Loaded: day.Add(-time.Minute), Refused: &status.Refused{At: day, Text: words},
	}, []status.Target{
		{
			ID: "pgbouncer.edge", Kind: "pgbouncer", Name: "edge", State: status.InSync, Since: day.Add(-time.Minute), InSync: true, Applied: day,
			Follows: []status.Leader{{Cluster: "main", Name: "pg1", Host: "10.0.0.11", Port: 5432}}, How: words,
			Held: []status.Hold{
				{Cluster: "main", Names: []string{words}, Since: day.Add(-2 * time.Second), Until: day.Add(58 * time.Second)},
				{Cluster: "other", Names: []string{words}, Since: day.Add(-3 * time.Second), Until: day.Add(20 * time.Second)},
				{Cluster: "third", Since: day.Add(-time.Hour), Until: day.Add(time.Hour), ByHand: true}, // of which nothing leads there
			},
		},
		{
			ID: "haproxy.lb", Kind: "haproxy", Name: "lb", State: status.Frozen, Since: day.Add(-time.Hour),
			Error:   &status.Error{Kind: status.KindCheck, Text: words, Words: words, Hint: words, Failures: 3, Again: day},
			Waiting: []status.Wait{{For: "key " + words, Words: words}, {For: "service " + words}},
			Drift:   []string{words},
			Frozen:  &status.Freeze{By: words, Since: day.Add(-time.Hour), Until: day.Add(time.Hour), Reason: words},
			Held:    []status.Hold{{Cluster: "main", Names: []string{words}, Since: day.Add(-time.Second), Until: day.Add(time.Minute), ByHand: true}},
		},
	}, []status.Cluster{
		{
			Name: "main", Scope: "batman", Phase: "leaderless", Since: day.Add(-5 * time.Second), By: "sql", Reigns: day.Add(-time.Hour), Created: 42, Timeline: 7, Paused: true, Standby: true,
			Leader: &status.Leader{Cluster: "main", Name: "pg1", Host: "10.0.0.11", Port: 5432},
			Replicas: []status.Replica{
				{Name: "pg2", Role: "replica", State: words, Serves: true, Sync: true, Lag: status.LagNear, LagBytes: &lag, Delay: &delay, Fit: true, Probes: []status.Probe{{Name: "lag", Fit: true, Since: day, Words: words}}},
				{Name: "pg\xff3", Role: words, State: words, Lag: status.LagUnknown},
				{Name: "pg\xfe3", Role: words, State: words, Lag: status.LagUnknown},
			},
			Alarms: []status.Alarm{{Kind: status.AlarmTwoWriters, Since: day, Text: words}}, Problems: []status.Problem{{Key: words, Words: words}}, Stale: stale,
		},
		{Name: "new", Scope: "robin", Phase: "unknown", Stale: &status.Stale{Never: true, Words: words}},
	}, []status.Store{
		{Name: "consul", State: status.StoreStale, Watches: 3, Failing: 2, Asked: 1, Confirmed: day.Add(-time.Second), Stale: stale},
		{Name: "local", State: status.StoreUnused},
	})
}

func kind(_ error, committed bool) string {
	if committed {
		return status.KindReload
	}
	return status.KindCheck
}

// busy are metrics of which each was put.
func busy() *Metrics {
	m := New(full, kind)
	m.Take([]string{"pgbouncer.edge", "haproxy.lb"})
	attempt := history.Attempt{
		Target: "pgbouncer.edge", At: day.Add(20 * time.Millisecond), Seen: day, Why: history.Leader,
		Render: 900 * time.Microsecond, Check: 8 * time.Millisecond, Reload: 3 * time.Millisecond, Verify: 4 * time.Millisecond,
		Signs: []history.Sign{{Move: history.Move{Cluster: "main", From: "pg1", To: "pg2"}, Stirred: day.Add(-1500 * time.Millisecond), Named: day.Add(-60 * time.Millisecond), Confirmed: day}},
	}
	m.Note(history.Held{Target: "pgbouncer.edge", Cluster: "main", At: day, Began: day, Took: 2 * time.Millisecond})
	m.Note(history.Applied{Attempt: attempt, Proof: "followed", How: words})
	m.Note(history.Released{Target: "pgbouncer.edge", Cluster: "main", At: day, Held: 1200 * time.Millisecond, Took: 7 * time.Millisecond, Reason: words})
	attempt.Target = "haproxy.lb"
	m.Note(history.Failed{Attempt: attempt, Error: errors.New(words)})
	m.Note(history.Failed{Attempt: attempt, Error: errors.New(words), Committed: true})
	m.Note(history.Failed{Attempt: attempt, Error: errors.New(words), Committed: true})
	return m
}

// shown is the page that a scrape gets, less what is not pgbaton's.
func shown(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("%d, %v: %s", w.Code, err, body)
	}
	var ours []string
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "pgbaton_") {
			ours = append(ours, line)
		}
	}
	if !strings.Contains(string(body), "\ngo_goroutines ") || !strings.Contains(string(body), "\nprocess_open_fds ") {
		t.Errorf("nothing of Go and the process in\n%s", body)
	}
	return strings.Join(ours, "")
}

func TestNamesAreGood(t *testing.T) {
	problems, err := testutil.GatherAndLint(busy().registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// What All promises is what is shown, and nothing else is.
func TestAllIsWhatIsShown(t *testing.T) {
	families, err := busy().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	promised := map[string]Metric{}
	for _, m := range All() {
		promised[m.Name] = m
	}
	if len(promised) != len(All()) {
		t.Error("two have the same name")
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "pgbaton_") {
			continue
		}
		want, known := promised[f.GetName()]
		delete(promised, f.GetName())
		if !known || f.GetHelp() != want.Help || strings.ToLower(f.GetType().String()) != want.Type {
			t.Errorf("%s: a %v, %q, is not %+v", f.GetName(), f.GetType(), f.GetHelp(), want)
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName())
			}
			if want := slices.Sorted(slices.Values(want.Labels)); !slices.Equal(labels, want) {
				t.Errorf("%s has the labels %v, not %v", f.GetName(), labels, want)
			}
		}
	}
	for name := range promised {
		t.Errorf("%s is not shown", name)
	}
}

func TestWhatIsShown(t *testing.T) {
	got := shown(t, busy())
	for _, line := range strings.Split(strings.TrimSpace(`
pgbaton_ok 0
pgbaton_ready 0
pgbaton_start_timestamp_seconds 1.7956908e+09
pgbaton_config_last_load_successful 0
pgbaton_config_last_load_success_timestamp_seconds 1.79569434e+09
pgbaton_target_in_sync{target="pgbouncer.edge"} 1
pgbaton_target_in_sync{target="haproxy.lb"} 0
pgbaton_target_state{state="in_sync",target="pgbouncer.edge"} 1
pgbaton_target_state{state="frozen",target="pgbouncer.edge"} 0
pgbaton_target_state{state="frozen",target="haproxy.lb"} 1
pgbaton_target_state_since_timestamp_seconds{target="haproxy.lb"} 1.7956908e+09
pgbaton_target_error{kind="check",target="haproxy.lb"} 1
pgbaton_target_error{kind="reload",target="haproxy.lb"} 0
pgbaton_target_error{kind="check",target="pgbouncer.edge"} 0
pgbaton_target_consecutive_failures{target="haproxy.lb"} 3
pgbaton_target_waits{target="haproxy.lb"} 2
pgbaton_target_waits{target="pgbouncer.edge"} 0
pgbaton_target_drifted_files{target="haproxy.lb"} 1
pgbaton_target_frozen{target="haproxy.lb"} 1
pgbaton_target_frozen{target="pgbouncer.edge"} 0
pgbaton_target_frozen_since_timestamp_seconds{target="haproxy.lb"} 1.7956908e+09
pgbaton_target_frozen_until_timestamp_seconds{target="haproxy.lb"} 1.795698e+09
pgbaton_target_held{by="pgbaton",target="pgbouncer.edge"} 1
pgbaton_target_held{by="operator",target="pgbouncer.edge"} 0
pgbaton_target_held{by="operator",target="haproxy.lb"} 1
pgbaton_target_held_since_timestamp_seconds{by="pgbaton",target="pgbouncer.edge"} 1.795694397e+09
pgbaton_target_held_until_timestamp_seconds{by="pgbaton",target="pgbouncer.edge"} 1.795694458e+09
pgbaton_target_follows_info{cluster="main",leader="pg1",target="pgbouncer.edge"} 1
pgbaton_cluster_phase{cluster="main",phase="leaderless"} 1
pgbaton_cluster_phase{cluster="main",phase="steady"} 0
pgbaton_cluster_phase{cluster="new",phase="unknown"} 1
pgbaton_cluster_phase_since_timestamp_seconds{cluster="main"} 1.795694395e+09
pgbaton_cluster_leader_info{cluster="main",confirmed_by="sql",leader="pg1"} 1
pgbaton_cluster_leader_since_timestamp_seconds{cluster="main"} 1.7956908e+09
pgbaton_cluster_term{cluster="main"} 42
pgbaton_cluster_timeline{cluster="main"} 7
pgbaton_cluster_paused{cluster="main"} 1
pgbaton_cluster_standby{cluster="main"} 1
pgbaton_cluster_standby{cluster="new"} 0
pgbaton_cluster_alarm{cluster="main",kind="two_writers"} 1
pgbaton_cluster_alarm{cluster="main",kind="leader_refused"} 0
pgbaton_cluster_unreadable_keys{cluster="main"} 1
pgbaton_cluster_staleness_seconds{cluster="main"} 90
pgbaton_cluster_staleness_seconds{cluster="new"} 3600
pgbaton_cluster_replicas{cluster="main"} 3
pgbaton_cluster_replicas_serving{cluster="main"} 1
pgbaton_cluster_replicas_serving{cluster="new"} 0
pgbaton_replica_serves{cluster="main",member="pg2"} 1
pgbaton_replica_serves{cluster="main",member="pg�3"} 0
pgbaton_replica_sync{cluster="main",member="pg2"} 1
pgbaton_replica_lag_bytes{cluster="main",member="pg2"} 4096
pgbaton_store_state{state="stale",store="consul"} 1
pgbaton_store_state{state="unused",store="local"} 1
pgbaton_store_stale{store="consul"} 1
pgbaton_store_stale{store="local"} 0
pgbaton_store_staleness_seconds{store="consul"} 90
pgbaton_store_staleness_seconds{store="local"} 0
pgbaton_store_watches{store="consul"} 3
pgbaton_store_watches_failing{store="consul"} 2
pgbaton_store_watches_unanswered{store="consul"} 1
pgbaton_store_last_answer_timestamp_seconds{store="consul"} 1.795694399e+09
pgbaton_target_applied_total{target="pgbouncer.edge",why="leader"} 1
pgbaton_target_applied_total{target="pgbouncer.edge",why="content"} 0
pgbaton_target_applied_total{target="haproxy.lb",why="leader"} 0
pgbaton_target_failures_total{kind="check",target="haproxy.lb"} 1
pgbaton_target_failures_total{kind="reload",target="haproxy.lb"} 2
pgbaton_target_failures_total{kind="apply",target="haproxy.lb"} 0
pgbaton_target_change_to_applied_seconds_sum{target="pgbouncer.edge",why="leader"} 0.02
pgbaton_target_change_to_applied_seconds_bucket{target="pgbouncer.edge",why="leader",le="0.01"} 0
pgbaton_target_change_to_applied_seconds_bucket{target="pgbouncer.edge",why="leader",le="0.025"} 1
pgbaton_target_step_seconds_sum{step="detect",target="pgbouncer.edge"} 1.44
pgbaton_target_step_seconds_sum{step="confirm",target="pgbouncer.edge"} 0.06
pgbaton_target_step_seconds_sum{step="hold",target="pgbouncer.edge"} 0.002
pgbaton_target_step_seconds_sum{step="render",target="pgbouncer.edge"} 0.0009
pgbaton_target_step_seconds_sum{step="check",target="pgbouncer.edge"} 0.008
pgbaton_target_step_seconds_sum{step="reload",target="pgbouncer.edge"} 0.003
pgbaton_target_step_seconds_sum{step="verify",target="pgbouncer.edge"} 0.004
pgbaton_target_step_seconds_sum{step="release",target="pgbouncer.edge"} 0.007
pgbaton_target_held_seconds_sum{target="pgbouncer.edge"} 1.2
pgbaton_target_held_seconds_count{target="haproxy.lb"} 0
`), "\n") {
		if !strings.Contains("\n"+got, "\n"+line+"\n") {
			t.Errorf("it does not show %s", line)
		}
	}
	for _, none := range []string{
		"SECRET", `pgbaton_target_frozen_since_timestamp_seconds{target="pgbouncer.edge"}`, `pgbaton_replica_lag_bytes{cluster="main",member="pg�3"}`,
		`pgbaton_target_held_since_timestamp_seconds{by="operator",target="pgbouncer.edge"}`, `pgbaton_cluster_leader_info{cluster="new"`,
	} {
		if strings.Contains(got, none) {
			t.Errorf("it shows %s", none)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

// A config that is taken up anew keeps what was counted of the targets that go on, and
// forgets the others, whatever they still have to say.
func TestTargetsThatAreGone(t *testing.T) {
	m := busy()
	m.Take([]string{"haproxy.lb", "exec.new"})
	m.Note(history.Applied{Attempt: history.Attempt{Target: "pgbouncer.edge", Why: history.Leader, At: day, Seen: day, Check: time.Second}})
	m.Note(history.Failed{Attempt: history.Attempt{Target: "pgbouncer.edge"}, Error: errors.New("late")})
	m.Note(history.Held{Target: "pgbouncer.edge", Took: time.Second})
	m.Note(history.Released{Target: "pgbouncer.edge", Took: time.Second})
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		counted := slices.ContainsFunc(counted, func(m Metric) bool { return m.Name == f.GetName() })
		if counted && slices.ContainsFunc(f.GetMetric(), func(m *dto.Metric) bool {
			return slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetValue() == "pgbouncer.edge" })
		}) {
			t.Errorf("%s still shows it", f.GetName())
		}
	}
	got := shown(t, m)
	for _, line := range []string{
		`pgbaton_target_failures_total{kind="reload",target="haproxy.lb"} 2`,
		`pgbaton_target_failures_total{kind="reload",target="exec.new"} 0`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("it does not show %s", line)
		}
	}
}

// Scrapes, events and configs that are taken up come at once.
func TestAllAtOnce(t *testing.T) {
	m := New(full, kind)
	m.Take([]string{"a", "b"})
	var all sync.WaitGroup
	for range 4 {
		for _, what := range []func(){
			func() { m.Take([]string{"a", "b"}) },
			func() { m.Note(history.Failed{Attempt: history.Attempt{Target: "a"}, Error: errors.New("x")}) },
			func() { m.Note(history.Released{Target: "a", Held: time.Second, Took: time.Second}) },
			func() { shown(t, m) },
		} {
			all.Go(func() {
				for range 5 {
					what()
				}
			})
		}
	}
	all.Wait()
	got := shown(t, m)
	for _, line := range []string{`pgbaton_target_failures_total{kind="check",target="a"} 20`, `pgbaton_target_held_seconds_count{target="a"} 20`} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("it does not show %s", line)
		}
	}
}

// A word that this package does not know yet is shown all the same.
func TestWordsThatAreNew(t *testing.T) {
	got := map[string]float64{}
	oneOf(func(value float64, labels ...string) { got[strings.Join(labels, " ")] = value }, "asleep", []string{"up", "down"}, "x")
	if want := map[string]float64{"x up": 0, "x down": 0, "x asleep": 1}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

// docs/metrics.md promises how many series there are of each thing.
func TestHowManySeries(t *testing.T) {
	count := func(targets, clusters, members, stores int) int {
		t.Helper()
		lag, delay := uint64(1), 1.5
		leader := status.Leader{Cluster: "c", Name: "m"}
		var (
			list   []status.Target
			ids    []string
			served []status.Cluster
			asked  []status.Store
		)
		for i := range targets {
			ids = append(ids, fmt.Sprint("t", i))
			list = append(list, status.Target{ID: ids[i], State: status.InSync, Since: day, Follows: []status.Leader{leader}})
		}
		for i := range clusters {
			c := status.Cluster{Name: fmt.Sprint("c", i), Phase: "steady", Since: day, Leader: &leader, Reigns: day}
			for j := range members {
				c.Replicas = append(c.Replicas, status.Replica{Name: fmt.Sprint("m", j), LagBytes: &lag, Delay: &delay, Probes: []status.Probe{{Name: "lag", Since: day}}})
			}
			served = append(served, c)
		}
		for i := range stores {
			asked = append(asked, status.Store{Name: fmt.Sprint("s", i), State: status.StoreAnswers, Confirmed: day})
		}
		m := New(func() status.Status { return status.Of(day, status.Process{}, list, served, asked) }, kind)
		m.Take(ids)
		return strings.Count(shown(t, m), "\n")
	}
	none := count(0, 1, 0, 0)
	for what, n := range map[string][2]int{
		"target":  {count(1, 1, 0, 0) - none, 49},
		"cluster": {count(0, 2, 0, 0) - none, 20},
		"member":  {count(0, 1, 1, 0) - none, 6},
		"store":   {count(0, 1, 0, 1) - none, 10},
	} {
		if n[0] != n[1] {
			t.Errorf("a %s has %d series, not %d", what, n[0], n[1])
		}
	}
	m := New(full, kind)
	m.Take([]string{"x"})
	before := strings.Count(shown(t, m), "\n")
	m.Note(history.Applied{Attempt: history.Attempt{Target: "x", Why: history.Leader, At: day, Seen: day, Check: 1}})
	if n := strings.Count(shown(t, m), "\n") - before; n != 2*18 {
		t.Errorf("a reason and a step have %d series", n)
	}
}
