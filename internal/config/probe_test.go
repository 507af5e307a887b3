package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbaton/pgbaton/internal/probe"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

const plainTarget = "target \"plain\" \"a\" {\n  template {\n    contents    = \"x\"\n    destination = \"/x\"\n  }\n}\n"

func TestProbes(t *testing.T) {
	config, problems, _ := load(t, "c.hcl", `cluster "patroni" "m" {
  probe "tcp" {}
  probe "sql" {
    interval = "500ms"
    timeout  = "2s"
    rise     = 1
    fall     = 5
    dwell    = "0s"
  }
  probe "lag" {
    max_delay = "10s"
    max_bytes = "16MB"
  }
  probe "locks" {
    query  = "SELECT 1"
    expect = ">= 1"
  }
}
`+plainTarget)
	if config == nil {
		t.Fatal(problems)
	}
	usual := cluster.Patience{Rise: 2, Fall: 3, Dwell: 10 * time.Second}
	want := []probe.Probe{
		{Name: "tcp", Kind: cluster.ProbeTCP, Interval: time.Second, Timeout: time.Second, Patience: usual},
		{Name: "sql", Kind: cluster.ProbeSQL, Interval: 500 * time.Millisecond, Timeout: 2 * time.Second, Patience: cluster.Patience{Rise: 1, Fall: 5}},
		{
			Name: "lag", Kind: cluster.ProbeLag, Interval: time.Second, Timeout: time.Second, Patience: cluster.Patience{Rise: 2, Fall: 1, Dwell: 10 * time.Second},
			Limit: cluster.LagLimit{Delay: 10 * time.Second, Bytes: 16 << 20},
		},
		{Name: "locks", Kind: cluster.ProbeQuery, Interval: time.Second, Timeout: time.Second, Patience: usual, Query: "SELECT 1", Want: probe.Comparison{Op: ">=", Value: "1"}},
	}
	if diff := cmp.Diff(want, config.Clusters[0].Probes); diff != "" {
		t.Error(diff)
	}
}

func TestProbesThatCannotBe(t *testing.T) {
	for name, c := range map[string]struct{ body, place, message, hint string }{
		"twice":            {"probe \"tcp\" {}\n  probe \"tcp\" {}", "3:3", `there are two probes named "tcp"`, "another name"},
		"no query":         {`probe "locks" {}`, "2:3", "probe locks has no query", `query = "SELECT`},
		"a query of ours":  {"probe \"sql\" {\n    query = \"SELECT 2\"\n  }", "3:5", "probe sql: it has no query", "a name of its own"},
		"a limit of lag's": {"probe \"sql\" {\n    max_delay = \"1s\"\n  }", "3:5", "probe sql: it has no max_delay", `probe "lag"`},
		"no duration":      {"probe \"lag\" {\n    max_delay = \"soon\"\n  }", "3:5", `max_delay "soon" is no duration`, "5s"},
		"no size":          {"probe \"lag\" {\n    max_bytes = \"16 pages\"\n  }", "3:5", `max_bytes "16 pages" is no size`, "16MB"},
		"too often":        {"probe \"tcp\" {\n    interval = \"1ms\"\n  }", "3:5", `interval "1ms" is too short`, "50ms"},
		"no rise":          {"probe \"tcp\" {\n    rise = 0\n  }", "3:5", "rise is 0", "the first answer"},
		"an operator":      {"probe \"locks\" {\n    query  = \"SELECT 1\"\n    expect = \"== 1\"\n  }", "4:5", `there is no operator "=="`, "did you mean ="},
		"no number":        {"probe \"locks\" {\n    query  = \"SELECT 1\"\n    expect = \"< few\"\n  }", "4:5", `"few" is no number`, "compares numbers"},
		"a name":           {`probe "a b" { query = "SELECT 1" }`, "2:3", `probe name "a b"`, "letters"},
		"a word":           {"probe \"lag\" {\n    max_dealy = \"1s\"\n  }", "3:5", "Unsupported argument", `did you mean "max_delay"?`},
	} {
		t.Run(name, func(t *testing.T) {
			config, problems, _ := load(t, "c.hcl", "cluster \"patroni\" \"m\" {\n  "+c.body+"\n}\n"+plainTarget)
			if config != nil {
				t.Fatal("it was taken")
			}
			for _, p := range problems {
				if strings.HasSuffix(p.Place(), "c.hcl:"+c.place) && strings.Contains(p.Message, c.message) && strings.Contains(p.Hint, c.hint) {
					return
				}
			}
			t.Errorf("want %s: %s, hint %s; have:\n%v", c.place, c.message, c.hint, problems)
		})
	}
}
