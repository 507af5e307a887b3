package status_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbaton/pgbaton/internal/status"
)

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// made is a status of which everything is as it should be, but for what change does.
func made(change func(t *status.Target, c *status.Cluster, s *status.Store)) status.Status {
	t := status.Target{ID: "pgbouncer.edge", State: status.InSync, InSync: true, Applied: at, Since: at}
	c := status.Cluster{Name: "main", Phase: "steady", Leader: &status.Leader{Name: "pg1"}}
	s := status.Store{Name: "consul", State: status.StoreAnswers, Reachable: true}
	change(&t, &c, &s)
	return status.Of(at, status.Process{Config: []string{"/etc/pgbaton"}}, []status.Target{t}, []status.Cluster{c}, []status.Store{s})
}

func TestLine(t *testing.T) {
	local := func(at time.Time) string { return at.Local().Format(time.TimeOnly) }
	for name, c := range map[string]struct {
		change func(t *status.Target, c *status.Cluster, s *status.Store)
		line   string
		ready  bool
	}{
		"well":       {func(*status.Target, *status.Cluster, *status.Store) {}, "1 of 1 targets in sync", true},
		"under way":  {func(t *status.Target, _ *status.Cluster, _ *status.Store) { t.InSync, t.State = false, status.Pending }, "0 of 1 targets in sync", true},
		"never done": {func(t *status.Target, _ *status.Cluster, _ *status.Store) { t.InSync, t.Applied = false, time.Time{} }, "0 of 1 targets in sync", false},
		"waiting": {func(t *status.Target, _ *status.Cluster, _ *status.Store) {
			t.InSync, t.Waiting = false, []status.Wait{{For: "key a: absent", Since: at}, {For: "key b: not answered yet"}}
		}, "0 of 1 targets in sync; pgbouncer.edge waits for key a: absent since " + local(at) + "; key b: not answered yet", true},
		"frozen, and as it is wanted": {func(t *status.Target, _ *status.Cluster, _ *status.Store) { t.Frozen = &status.Freeze{By: "me"} }, "1 of 1 targets in sync, 1 frozen", true},
		"frozen": {func(t *status.Target, _ *status.Cluster, _ *status.Store) {
			t.InSync, t.Frozen = false, &status.Freeze{By: "me", Reason: "lunch"}
		}, "0 of 1 targets in sync, 1 frozen; pgbouncer.edge is frozen by me: lunch", true},
		// A check's words must add no line to what systemd is told, and no colour to a terminal.
		"words with lines": {func(t *status.Target, _ *status.Cluster, _ *status.Store) {
			t.InSync, t.Error = false, &status.Error{Text: "told", Words: "check:\nREADY=1\n\x1b[31mred\x07"}
		}, "0 of 1 targets in sync; pgbouncer.edge: check: READY=1 [31mred", true},
		"two writers": {func(t *status.Target, c *status.Cluster, _ *status.Store) {
			t.InSync, t.Error = false, &status.Error{Text: "no"}
			c.Alarms = []status.Alarm{{Kind: status.AlarmTwoWriters, Text: "pg2 takes writes beside the leader pg1"}}
		}, "0 of 1 targets in sync; cluster main: pg2 takes writes beside the leader pg1; and 1 more", true},
		"fenced": {func(_ *status.Target, c *status.Cluster, _ *status.Store) {
			c.Phase, c.Since, c.Fenced = "leaderless", at, true
		}, "1 of 1 targets in sync; cluster main is leaderless since " + local(at) + ", and fenced", true},
		"leaderless": {func(_ *status.Target, c *status.Cluster, _ *status.Store) { c.Phase, c.Since = "leaderless", at }, "1 of 1 targets in sync; cluster main is leaderless since " + local(at), true},
		"stale": {func(_ *status.Target, _ *status.Cluster, s *status.Store) {
			s.State, s.Stale = status.StoreStale, &status.Stale{Since: at}
		}, "1 of 1 targets in sync; store consul is stale since " + local(at), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := made(c.change)
			if s.Line != c.line {
				t.Errorf("it says   %q\nwant it to %q", s.Line, c.line)
			}
			if want := strings.HasPrefix(c.line, "1 of 1 targets in sync") && !strings.Contains(c.line, ";"); s.OK != want {
				t.Errorf("ok is %v", s.OK)
			}
			if reasons := s.NotReady(); (len(reasons) == 0) != c.ready {
				t.Errorf("not ready: %q", reasons)
			}
		})
	}
	if long := status.OneLine(strings.Repeat("é", 1000)); len([]rune(long)) != 301 || !strings.HasSuffix(long, "é…") {
		t.Errorf("a long text comes to %d characters", len([]rune(long)))
	}
}

// Lists are never null, whatever is in them.
func TestNoListIsNull(t *testing.T) {
	for name, s := range map[string]status.Status{"empty": status.Of(at, status.Process{}, nil, nil, nil), "one": made(func(*status.Target, *status.Cluster, *status.Store) {})} {
		content, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), "null") {
			t.Errorf("%s: %s", name, content)
		}
	}
}

// What others said is in Words, Hint and How, and Public has none of them, wherever they
// are.
func TestPublicHasNoWords(t *testing.T) {
	var full status.Status
	fill(reflect.ValueOf(&full).Elem())
	before, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	public, err := json.Marshal(full.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Words", "Hint", "How"} {
		if !strings.Contains(string(before), "a "+name) {
			t.Errorf("nothing was called %s: %s", name, before)
		}
		if strings.Contains(string(public), "a "+name) {
			t.Errorf("%s are public: %s", name, public)
		}
	}
	for _, name := range []string{"a Text", "a For", "a By", "a Host", "a Key"} {
		if !strings.Contains(string(public), name) {
			t.Errorf("%s is not public: %s", name, public)
		}
	}
	if after, _ := json.Marshal(full); !cmp.Equal(before, after) {
		t.Errorf("Public changed what it was made of:\n%s", cmp.Diff(string(before), string(after)))
	}
}

// fill sets everything to something: texts to what they are called.
func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(at))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Type.Kind() == reflect.String {
				v.Field(i).SetString("a " + v.Type().Field(i).Name)
				continue
			}
			fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.String:
		v.SetString("text")
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Int:
		v.SetInt(1)
	}
}

// Every field of the format has a name in it, and no two structs call the same thing
// differently.
func TestFormat(t *testing.T) {
	var names []string
	var walk func(typ reflect.Type)
	seen := map[reflect.Type]bool{reflect.TypeFor[time.Time](): true}
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			names = append(names, name)
			if name == "" || strings.ToLower(name) != name {
				t.Errorf("%v.%s is called %q", typ, f.Name, name)
			}
			if f.Type.Kind() == reflect.Slice && options != "" {
				t.Errorf("%v.%s: a list is never left out", typ, f.Name)
			}
			if f.Type == reflect.TypeFor[time.Time]() && options == "omitempty" {
				t.Errorf("%v.%s: omitempty leaves out no time", typ, f.Name)
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[status.Status]())
	if !slices.Contains(names, "lag_bytes") {
		t.Errorf("only %d names were looked at", len(names))
	}
}
