package main

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metricsql"

	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/metrics"
	"github.com/pgbaton/pgbaton/internal/status"
)

// shownSeries is what a scrape shows: the labels of each metric, and all values of each
// label of it.
func shownSeries(t *testing.T) map[string]map[string][]string {
	t.Helper()
	now, lag, delay := time.Now(), uint64(1), 0.5
	m := metrics.New(func() status.Status {
		leader := status.Leader{Cluster: "c", Name: "m"}
		hold := status.Hold{Cluster: "c", Names: []string{"db"}, Since: now, Until: now}
		byHand := hold
		byHand.ByHand = true
		return status.Of(now, status.Process{Started: now, Loaded: now}, []status.Target{{
			ID: "t", State: status.Frozen, Since: now, Frozen: &status.Freeze{Since: now, Until: now}, Held: []status.Hold{hold, byHand}, Follows: []status.Leader{leader},
		}}, []status.Cluster{{
			Name: "c", Phase: "steady", Since: now, Leader: &leader, Reigns: now, Replicas: []status.Replica{{Name: "m", LagBytes: &lag, Delay: &delay, Fit: true, Probes: []status.Probe{{Name: "lag", Fit: true, Since: now}}}},
		}}, []status.Store{{Name: "s", State: status.StoreAnswers, Confirmed: now}})
	}, failure)
	m.Take([]string{"t"})
	for _, why := range []string{history.Leader, history.Content, history.Start, history.Repair, history.Forced} {
		m.Note(history.Applied{Attempt: history.Attempt{Target: "t", Why: why, At: now, Seen: now, Render: 1, Check: 1, Reload: 1, Verify: 1}})
	}
	m.Note(history.Failed{Attempt: history.Attempt{Target: "t"}, Error: errors.New("x")})

	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	// What Prometheus adds.
	all := map[string]map[string][]string{"up": {}}
	pair := regexp.MustCompile(`(\w+)="([^"]*)"`)
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name := line[:strings.IndexAny(line, "{ ")]
		if all[name] == nil {
			all[name] = map[string][]string{}
		}
		for _, p := range pair.FindAllStringSubmatch(line, -1) {
			all[name][p[1]] = append(all[name][p[1]], p[2])
		}
	}
	for _, labels := range all {
		labels["job"], labels["instance"] = []string{"pgbaton"}, nil
	}
	return all
}

// free are labels whose values the config and the members' names make.
var free = []string{"target", "cluster", "leader", "member", "store", "version", "goversion", "confirmed_by", "instance", "le", "step"}

// judge parses an expression, and finds what in it is not shown. It returns the labels
// that its result may have.
func judge(t *testing.T, where, expr string, all map[string]map[string][]string) (labels []string) {
	t.Helper()
	e, err := metricsql.Parse(expr)
	if err != nil {
		t.Errorf("%s: %s: %v", where, expr, err)
		return nil
	}
	var kept []string
	metricsql.VisitAll(e, func(e metricsql.Expr) {
		switch e := e.(type) {
		case *metricsql.AggrFuncExpr:
			kept = append(kept, e.Modifier.Args...)
		case *metricsql.MetricExpr:
			for _, filters := range e.LabelFilterss {
				name := ""
				for _, f := range filters {
					switch values, has := all[name][f.Label]; {
					case f.Label == "__name__":
						if name = f.Value; all[name] == nil {
							t.Errorf("%s: nothing shows %s", where, name)
							return
						}
						for label := range all[name] {
							labels = append(labels, label)
						}
					case !has:
						t.Errorf("%s: %s has no label %s", where, name, f.Label)
					case !slices.Contains(free, f.Label):
						for _, value := range strings.Split(f.Value, "|") {
							if !slices.Contains(values, value) {
								t.Errorf("%s: the %s of %s is never %s", where, f.Label, name, value)
							}
						}
					}
				}
			}
		}
	})
	for _, label := range kept {
		if !slices.Contains(labels, label) {
			t.Errorf("%s: nothing in %s has the label %s", where, expr, label)
		}
	}
	if kept != nil {
		return kept
	}
	return labels
}

// quoted are the labels that a text of Prometheus's or Grafana's shows.
func quoted(pattern, text string) (labels []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		labels = append(labels, m[1])
	}
	return labels
}

// The alerts look at what is shown, say what they promise to, and each has a word in
// docs/operations.md on what to do.
func TestExampleAlerts(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	decode(t, "../../examples/prometheus/pgbaton.rules.yml", &rules)
	_, section, _ := strings.Cut(docs(t)["docs/operations.md"].text, "\n## Alerts\n")
	section, _, _ = strings.Cut(section, "\n## ")
	all, alerts := shownSeries(t), []string{}
	for _, group := range rules.Groups {
		for _, r := range group.Rules {
			alerts = append(alerts, r.Alert)
			labels := judge(t, r.Alert, r.Expr, all)
			if !slices.Contains([]string{"critical", "warning"}, r.Labels["severity"]) {
				t.Errorf("%s has the severity %q", r.Alert, r.Labels["severity"])
			}
			for _, name := range []string{"summary", "description"} {
				if r.Annotations[name] == "" {
					t.Errorf("%s has no %s", r.Alert, name)
				}
				for _, label := range quoted(`\$labels\.(\w+)`, r.Annotations[name]) {
					if !slices.Contains(labels, label) {
						t.Errorf("the %s of %s shows %s, which it has not: %v", name, r.Alert, label, labels)
					}
				}
			}
			if want := "https://github.com/pgbaton/pgbaton/blob/main/docs/operations.md#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
				t.Errorf("the runbook of %s is %s, not %s", r.Alert, r.Annotations["runbook_url"], want)
			}
		}
	}
	if len(alerts) < 10 {
		t.Errorf("%d alerts", len(alerts))
	}
	sameNames(t, "alerts", quoted(`(?m)^### (\w+)$`, section), alerts)
}

// The dashboard shows what is shown.
func TestExampleDashboard(t *testing.T) {
	content, err := os.ReadFile("../../examples/grafana/pgbaton.json")
	if err != nil {
		t.Fatal(err)
	}
	type target struct{ Expr, LegendFormat string }
	var dashboard struct {
		Panels []struct {
			ID          int
			Type, Title string
			Targets     []target
		}
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
		Annotations struct{ List []struct{ Name, Expr string } }
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	all, looked := shownSeries(t), map[string]bool{}
	look := func(where, expr string) []string {
		for _, m := range regexp.MustCompile(`pgbaton_\w+`).FindAllString(expr, -1) {
			looked[m] = true
		}
		return judge(t, where, strings.NewReplacer("$__rate_interval", "5m", "$__range", "6h").Replace(expr), all)
	}
	rows, ids := []string{}, map[int]bool{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the ID %d", p.ID)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			rows = append(rows, p.Title)
		} else if len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			labels := look(p.Title, target.Expr)
			for _, label := range quoted(`\{\{(\w+)\}\}`, target.LegendFormat) {
				if !slices.Contains(labels, label) {
					t.Errorf("%s: the legend shows %s, which it has not: %v", p.Title, label, labels)
				}
			}
		}
	}
	if want := []string{"Verdict", "Targets", "Clusters", "Latency", "Holds", "Store"}; !slices.Equal(rows, want) {
		t.Errorf("its rows are %v", rows)
	}
	for _, v := range dashboard.Templating.List {
		if v.Type == "datasource" {
			continue
		}
		m := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Definition)
		if m == nil || !slices.Contains(look(v.Name, m[1]), m[2]) {
			t.Errorf("the variable %s is %s", v.Name, v.Definition)
		}
	}
	for _, a := range dashboard.Annotations.List {
		look(a.Name, a.Expr)
	}
	if len(looked) < 25 {
		t.Errorf("it looks at %d metrics alone: %v", len(looked), looked)
	}
}

// What the documentation speaks of is shown, and so is what docs/metrics.md lets people
// ask.
func TestDocsQuestions(t *testing.T) {
	all, asked := shownSeries(t), 0
	for _, table := range docs(t)["docs/metrics.md"].tables {
		if table.header[0] != "question" {
			continue
		}
		for _, row := range table.rows {
			for _, expr := range codes(row[1]) {
				judge(t, row[0], expr, all)
				asked++
			}
		}
	}
	if asked < 5 {
		t.Errorf("%d questions", asked)
	}
	for path, d := range docs(t) {
		for _, name := range regexp.MustCompile(`\bpgbaton_\w+`).FindAllString(d.text, -1) {
			if all[name] == nil && all[name+"_count"] == nil {
				t.Errorf("%s: nothing shows %s", path, name)
			}
		}
	}
}
