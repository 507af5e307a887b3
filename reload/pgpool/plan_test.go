package pgpool

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbaton/pgbaton/reload"
)

func TestPlan(t *testing.T) {
	const up, down = 2, 3
	at := func(port, status int, primary bool) node {
		return node{host: "h", port: port, status: status, primary: primary}
	}
	for _, tc := range []struct {
		name   string
		places []place // of ports 1, 2, 3
		nodes  []node
		silent []int
		want   string
		left   string
	}{
		{"as it should be", []place{primary, standby, detached}, []node{at(1, up, true), at(2, 1, false), at(3, down, false)}, nil, "", ""},
		{"another leads", []place{detached, primary, standby}, []node{at(1, up, true), at(2, up, false), at(3, up, false)}, []int{0}, "promote 1", ""},
		{"nobody leads", []place{primary, standby}, []node{at(1, up, false), at(2, up, false)}, nil, "promote 0", ""},
		{"it is down, and still called primary", []place{primary, standby}, []node{at(1, down, true), at(2, up, false)}, nil, "attach 0", ""},
		{"the leader is not attached", []place{primary, standby}, []node{at(1, down, false), at(2, up, true)}, nil, "attach 0", ""},
		{"nor does it answer", []place{primary, standby}, []node{at(1, down, false), at(2, up, true)}, []int{0}, "", "h:1 does not answer"},
		{"the one before hangs, another serves in between", []place{primary, standby, standby}, []node{at(1, down, false), at(2, up, true), at(3, up, false)}, []int{1}, "promote 2", ""},
		{"the one before hangs, and so does the other", []place{primary, standby, standby}, []node{at(1, down, false), at(2, up, true), at(3, up, false)}, []int{1, 2}, "detach 2, detach 1", ""},
		{"a standby hangs", []place{primary, standby, standby}, []node{at(1, down, false), at(2, up, true), at(3, up, false)}, []int{2}, "detach 2", ""},
		{"standbys come and go", []place{primary, standby, detached}, []node{at(1, up, true), at(2, down, false), at(3, up, false)}, nil, "detach 2, attach 1", ""},
		{"one comes while another hangs", []place{primary, standby, standby}, []node{at(1, up, true), at(2, down, false), at(3, up, false)}, []int{2}, "detach 2", ""},
		{"one comes while the leader hangs", []place{primary, standby, standby}, []node{at(1, up, true), at(2, down, false), at(3, up, false)}, []int{0}, "", "the leader h:1 does not answer"},
		{"one that hangs is not attached", []place{primary, standby, standby}, []node{at(1, up, true), at(2, down, false), at(3, up, false)}, []int{1}, "", "h:2 does not answer"},
		{"not in the file", []place{primary}, []node{at(1, up, true), at(2, up, false), {}}, nil, "detach 1", ""},
		{"renumbered", []place{"", standby, primary}, []node{at(3, up, false), at(2, up, true)}, nil, "promote 0", ""},
		{"not in pgpool, and who led is a standby", []place{primary, standby}, []node{at(2, up, true)}, nil, "", "pgpool has no backend h:1, which is to be primary"},
		{"not in pgpool, and who led is to lead no more", []place{primary, detached, standby}, []node{at(2, up, true), at(3, up, false)}, nil, "promote 1", "pgpool has no backend h:1"},
		{"not in pgpool, and nobody is left", []place{primary, detached}, []node{at(2, up, true)}, nil, "detach 0", "pgpool has no backend h:1"},
		{"no leader is wanted", []place{standby, detached}, []node{at(1, down, false), at(2, up, true)}, nil, "detach 1, attach 0", ""},
		{"nothing is wanted", []place{"", ""}, []node{at(1, down, false), at(2, up, true)}, nil, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &settings{backends: map[int]*backend{}}
			for i, p := range tc.places {
				if p != "" {
					s.backends[i], s.moves = &backend{host: "h", port: i + 1, place: p}, true
				}
			}
			silent := map[int]bool{}
			for _, id := range tc.silent {
				silent[id] = true
			}
			p := s.plan(tc.nodes, silent)
			var have []string
			for _, step := range p.steps {
				have = append(have, step.verb+" "+string(rune('0'+step.id)))
			}
			if diff := cmp.Diff(tc.want, strings.Join(have, ", ")); diff != "" {
				t.Error(diff)
			}
			if left := strings.Join(p.left, "; "); !strings.Contains(left, tc.left) || (tc.left == "") != (left == "") {
				t.Errorf("left %q, want %q", left, tc.left)
			}
		})
	}
}

func TestRead(t *testing.T) {
	s, err := read([]reload.File{{Path: "/c", Content: []byte(`
# pgbaton: backend 0 is primary
backend_hostname0 = '/run/pg' # a comment
BACKEND_PORT0=5433
backend_port0 5434
backend_weight0 = 0.5
  reset_query_list = 'ABORT; SET x = ''a\'b'''
  # port = 1
#pgbaton: backend 0 is standby
`)}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(backend{"/run/pg", 5434, 0.5, primary}, *s.backends[0], cmp.AllowUnexported(backend{})); diff != "" {
		t.Error(diff)
	}
	if l := s.values["reset_query_list"]; l.value != "ABORT; SET x = 'a'b'" || l.number != 7 || len(s.backends) != 1 {
		t.Errorf("%+v", s)
	}
}

func TestSame(t *testing.T) {
	for _, tc := range []struct {
		written, shown string
		want           bool
	}{
		{"on", "1", true},
		{"off", "1", false},
		{"9999", "9999", true},
		{"9998", "9999", false},
		{"1min", "60", true},
		{"1min", "60000", true},
		{"5min", "60", false},
		{"64MB", "67108864", true},
		{"streaming_replication", "1", true}, // what can't be compared
		{"", "(null)", true},
		{"a,b", "a", false},
	} {
		if have := same(tc.written, tc.shown); have != tc.want {
			t.Errorf("%q shown as %q: %v", tc.written, tc.shown, have)
		}
	}
}
