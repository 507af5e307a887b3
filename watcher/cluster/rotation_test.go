package cluster

import (
	"fmt"
	"strings"
	"testing"
)

// ward is a member with its state in a word: ok, lags, down, stopped, leads.
func ward(name, state string, tags map[string]any) (Member, Health) {
	m := Member{Name: name, Host: name + ".example", Role: "replica", State: "streaming", Tags: tags}
	checks := []Check{{Name: "sql", Kind: ProbeSQL, Healthy: true, Since: noon}, {Name: "lag", Kind: ProbeLag, Healthy: true, Since: noon}}
	switch state {
	case "lags":
		checks[1].Healthy = false
	case "down":
		checks[0].Healthy, checks[1].Healthy = false, false
	case "new":
		checks[1] = Check{Name: "lag", Kind: ProbeLag}
	case "stopped":
		m.State = "stopped"
	case "leads":
		m.Role, m.State = "primary", "running"
	}
	return m, Health{Checks: checks}
}

func TestReaders(t *testing.T) {
	tag := func(pairs ...any) map[string]any {
		all := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			all[pairs[i].(string)] = pairs[i+1]
		}
		return all
	}
	none := map[string]any(nil)
	for _, tc := range []struct {
		name    string
		states  string // of a, b, c, d …; a leads
		tags    []map[string]any
		r       Rotation
		readers string // name=weight; ! drains, ~ is stale, - does not serve, / is of another zone
	}{
		{"all well", "leads ok ok", nil, Rotation{}, "a=100- b=100 c=100"},
		{"one lags", "leads lags ok", nil, Rotation{}, "a=100- b=0! c=100"},
		{"none is well", "leads lags down", nil, Rotation{}, "a=100- b=0! c=0!"},
		{"better stale than none", "leads lags down lags", nil, Rotation{Floor: 1}, "a=100- b=100~ c=0! d=100~"},
		{"enough are well", "leads lags ok ok", nil, Rotation{Floor: 2}, "a=100- b=0! c=100 d=100"},
		{"too few are well", "leads lags ok down", nil, Rotation{Floor: 2}, "a=100- b=100~ c=100 d=0!"},
		{"nobody knows it yet", "leads new", nil, Rotation{Floor: 1}, "a=100- b=0!"},
		{"one is stopped", "leads stopped ok", nil, Rotation{Floor: 2}, "a=100- b=100- c=100"},
		{"weights", "leads ok ok ok", []map[string]any{none, tag("w", 7), tag("w", "300"), tag("w", "x")}, Rotation{WeightTag: "w"}, "a=100- b=7 c=256 d=100"},
		{"no load balance", "leads ok ok", []map[string]any{none, tag("noloadbalance", true), none}, Rotation{}, "a=100- c=100"},
		{"zones", "leads ok ok", []map[string]any{tag("z", "1"), tag("z", 1), tag("z", "2")}, Rotation{Zone: "1", ZoneTag: "z"}, "a=100- b=100 c=100/"},
		{"near", "leads ok ok ok", nil, Rotation{Near: []string{"d.example", "b.example"}}, "d=100 b=25 a=6- c=6"},
		{"near, and the nearest lags", "leads ok lags", nil, Rotation{Near: []string{"c.example", "b.example"}}, "c=0! b=25 a=6-"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := Baton{Health: map[string]Health{}}
			for i, state := range strings.Fields(tc.states) {
				var tags map[string]any
				if tc.tags != nil {
					tags = tc.tags[i]
				}
				m, h := ward(string(rune('a'+i)), state, tags)
				b.Seen.Members = append(b.Seen.Members, m)
				b.Health[m.Name] = h
			}
			b.Confirmed = &b.Seen.Members[0]
			view := b.View()
			var got []string
			for _, r := range view.Readers(tc.r) {
				mark := ""
				switch {
				case r.Drains:
					mark = "!"
				case r.Stale:
					mark = "~"
				case !r.Serves:
					mark = "-"
				}
				if !r.Nearby {
					mark += "/"
				}
				got = append(got, fmt.Sprintf("%s=%d%s", r.Name, r.Weight, mark))
			}
			if have := strings.Join(got, " "); have != tc.readers {
				t.Errorf("readers %s, want %s", have, tc.readers)
			}
		})
	}
}
