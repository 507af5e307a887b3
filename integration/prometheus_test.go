package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// example is the path of a file of the examples.
func example(t *testing.T, path string) string {
	t.Helper()
	return filepath.Join(servertest.ModuleRoot(t), "examples", path)
}

// TestExamplePrometheus: Prometheus's own tool takes the examples, and each alert has
// a test of when it fires and when not.
func TestExamplePrometheus(t *testing.T) {
	promtool(t, "check", "config", example(t, "prometheus/prometheus.yml"))
	promtool(t, "check", "rules", example(t, "prometheus/pgbaton.rules.yml"))
	promtool(t, "test", "rules", example(t, "prometheus/pgbaton.rules.test.yml"))

	var rules struct {
		Groups []struct{ Rules []struct{ Alert string } }
	}
	var tests struct {
		Tests []struct {
			Name string
			Expr []struct {
				Expr    string
				Samples []any `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	for path, into := range map[string]any{"prometheus/pgbaton.rules.yml": &rules, "prometheus/pgbaton.rules.test.yml": &tests} {
		content, err := os.ReadFile(example(t, path))
		if err == nil {
			err = yaml.Unmarshal(content, into)
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	fires, rests := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, e := range test.Expr {
			if want := fmt.Sprintf("ALERTS{alertname=%q, alertstate=\"firing\"}", test.Name); e.Expr != want {
				t.Errorf("%s asks for %s", test.Name, e.Expr)
			}
			fires[test.Name] = fires[test.Name] || len(e.Samples) > 0
			rests[test.Name] = rests[test.Name] || len(e.Samples) == 0
		}
	}
	for _, group := range rules.Groups {
		for _, r := range group.Rules {
			if !fires[r.Alert] || !rests[r.Alert] {
				t.Errorf("%s: a test that it fires: %v, that it does not: %v", r.Alert, fires[r.Alert], rests[r.Alert])
			}
		}
	}
}

// TestExampleGrafana: every expression of the dashboard is one for Prometheus.
func TestExampleGrafana(t *testing.T) {
	content, err := os.ReadFile(example(t, "grafana/pgbaton.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []group `yaml:"groups"`
	}
	rules.Groups = []group{{Name: "dashboard"}}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$__range", "6h").Replace(target.Expr)
			rules.Groups[0].Rules = append(rules.Groups[0].Rules, map[string]string{"record": fmt.Sprintf("x%d", len(rules.Groups[0].Rules)), "expr": expr})
		}
	}
	if n := len(rules.Groups[0].Rules); n < 25 {
		t.Errorf("%d expressions", n)
	}
	file, err := yaml.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", servertest.File(t, filepath.Join(t.TempDir(), "rules.yml"), string(file), 0o644))
}

// group is a group of rules of Prometheus's.
type group struct {
	Name  string              `yaml:"name"`
	Rules []map[string]string `yaml:"rules"`
}

// promtool runs Prometheus's own tool, and wants it to have nothing to say against what
// it is shown.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	judged(t, exec.Command(servertest.Need(t, "promtool"), args...))
}

func judged(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// prometheus is a real one.
type prometheus struct{ port int }

// startPrometheus starts one that scrapes a pgbaton, by the config and the rules of the
// examples, but for their times: it looks five times a second, and an alert fires at once.
func startPrometheus(t *testing.T, l listener) prometheus {
	t.Helper()
	dir, p := t.TempDir(), prometheus{servertest.FreePort(t)}
	for _, name := range []string{"prometheus.yml", "pgbaton.rules.yml"} {
		content, err := os.ReadFile(example(t, "prometheus/"+name))
		if err != nil {
			t.Fatal(err)
		}
		text := regexp.MustCompile(`(?m)^ +for: .*\n`).ReplaceAllString(string(content), "")
		text = strings.ReplaceAll(text, "_interval: 15s", "_interval: 200ms")
		text = strings.ReplaceAll(text, "pooler-1.example.net:9479", fmt.Sprintf("127.0.0.1:%d", l.port))
		text = strings.ReplaceAll(text, "          - pooler-2.example.net:9479\n", "")
		servertest.File(t, filepath.Join(dir, name), text, 0o644)
	}
	servertest.Start(t, exec.Command(servertest.Need(t, "prometheus"),
		"--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+p.address(), "--log.level=warn"))
	return p
}

func (p prometheus) address() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

// sample is a series and its value.
type sample struct {
	Metric map[string]string
	Value  [2]any
}

// query asks for an expression.
func (p prometheus) query(expr string) ([]sample, error) {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get("http://" + p.address() + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Status, Error string
		Data          struct{ Result []sample }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Status != "success" {
		return nil, fmt.Errorf("%s %s: %w", answer.Status, answer.Error, err)
	}
	return answer.Data.Result, nil
}

// says waits until an expression has one value.
func (p prometheus) says(t *testing.T, expr, value string) {
	t.Helper()
	servertest.Eventually(t, expr+" is "+value, func() error {
		list, err := p.query(expr)
		if err == nil && (len(list) != 1 || list[0].Value[1] != value) {
			err = fmt.Errorf("it is %v", list)
		}
		return err
	})
}

// firing waits until just these alerts fire.
func (p prometheus) firing(t *testing.T, want ...string) {
	t.Helper()
	servertest.Eventually(t, fmt.Sprintf("%q fire", want), func() error {
		list, err := p.query(`ALERTS{alertstate="firing"}`)
		if err != nil {
			return err
		}
		fire := map[string]bool{}
		for _, s := range list {
			fire[strings.TrimSpace(s.Metric["alertname"]+" "+s.Metric["target"])] = true
		}
		for _, name := range want {
			if !fire[name] {
				return fmt.Errorf("%s does not: %v", name, fire)
			}
		}
		if len(fire) != len(want) {
			return fmt.Errorf("%v do", fire)
		}
		return nil
	})
}

// TestPrometheusScrapes: a real Prometheus, with the config and the rules of the examples,
// sees how a pgbaton does, and alerts when a target is broken, when pgbaton is gone, and no
// more when all is well.
func TestPrometheusScrapes(t *testing.T) {
	dir, page := servertest.PostgresDir(t), listener{servertest.FreePort(t)}
	putLeader(t, dir, "pg1", "shop")
	config := measured(page, "app", "other")
	p := startDaemon(t, dir, config)
	prom := startPrometheus(t, page)
	prom.says(t, `pgbaton_target_in_sync{target="exec.app"}`, "1")
	prom.says(t, `sum by (leader) (pgbaton_cluster_leader_info{cluster="main"})`, "1")
	prom.says(t, `up{job="pgbaton"}`, "1")
	prom.firing(t)

	putLeader(t, dir, "pg2", "shop")
	prom.says(t, `pgbaton_target_applied_total{target="exec.app", why="leader"}`, "1")
	prom.says(t, `histogram_quantile(0.99, sum by (le) (pgbaton_target_change_to_applied_seconds_bucket{why="leader"})) < bool 60`, "1")

	putLeader(t, dir, "pg2", "bad")
	prom.firing(t, "PgbatonTargetOutOfSync exec.app", "PgbatonTargetOutOfSync exec.other", "PgbatonCheckRefused exec.app", "PgbatonCheckRefused exec.other")
	prom.says(t, `pgbaton_target_in_sync{target="exec.app"}`, "0")
	putLeader(t, dir, "pg2", "store")
	prom.firing(t)

	stopDaemon(t, p)
	prom.firing(t, "PgbatonDown")
	p = startDaemon(t, dir, config)
	prom.says(t, `pgbaton_target_in_sync{target="exec.app"}`, "1")
	prom.firing(t)
	stopDaemon(t, p)
}
