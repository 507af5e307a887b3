package haproxy

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseProcesses(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       processes
	}{
		{"2.6, after a reload with an old worker", `#<PID>          <type>          <reloads>       <uptime>        <version>      
1162            master          5 [failed: 0]   0d00h02m07s     2.6.12-1+deb12u4
# workers
1271            worker          0               0d00h00m00s     2.6.12-1+deb12u4
# old workers
1233            worker          3               0d00h00m43s     2.6.12-1+deb12u4
# programs

`, processes{master: 1162, reloads: 5, workers: map[int]int{1271: 0}, old: []int{1233}, started: at(1271, 1000)}},
		{"2.6, after a reload that failed", `#<PID>          <type>          <reloads>       <uptime>        <version>      
1162            master          6 [failed: 2]   0d00h02m07s     2.6.12
# workers
1271            worker          2               0d00h00m10s     2.6.12
# programs

`, processes{master: 1162, reloads: 6, failed: 2, workers: map[int]int{1271: 2}, started: at(1271, 990)}},
		{"2.4, with one column more", `#<PID>          <type>          <relative PID>  <reloads>       <uptime>        <version>      
1162            master          0               5               0d00h02m07s     2.4.0
# workers
1271            worker          1               0               0d00h00m00s     2.4.0
1272            worker          2               0               0d00h00m00s     2.4.0
# old workers
1233            worker          [was: 1]        3               0d00h00m43s     2.4.0
# programs
1300            prog            -               0               0d00h00m43s     -

`, processes{master: 1162, reloads: 5, workers: map[int]int{1271: 0, 1272: 0}, old: []int{1233}, started: at(1271, 1000, 1272, 1000)}},
		{
			"no workers yet", "#<PID> <type> <reloads> <uptime> <version>\n7 master 1 [failed: 1] 0d00h00m00s 3.0\n\n",
			processes{master: 7, reloads: 1, failed: 1, workers: map[int]int{}, started: at()},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseProcesses(tc.text, time.Unix(1000, 0))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(processes{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, text := range []string{
		"", "\n", "Permission denied\n\n", "#<PID> <type> <reloads>\n", "12 master 3\n",
		"#<PID> <type> <reloads>\nx master 3\n12 master y\n12 master\n",
	} {
		if p, err := parseProcesses(text, time.Unix(0, 0)); !errors.Is(err, errNoMaster) {
			t.Errorf("%q: %+v, %v", text, p, err)
		}
	}
}

func TestFreshWorker(t *testing.T) {
	before := processes{workers: map[int]int{10: 0}}
	for _, tc := range []struct {
		name    string
		workers map[int]int
		want    int
	}{
		{"a new one", map[int]int{11: 0}, 11},
		{"the old one alone", map[int]int{10: 1}, 0},
		{"the old one as it was", map[int]int{10: 0}, 0},
		{"none", nil, 0},
		{"an old one unknown before", map[int]int{9: 4}, 0},
	} {
		if got := (processes{workers: tc.workers}).fresh(before); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.name, got, tc.want)
		}
	}
}

func FuzzParseProcesses(f *testing.F) {
	f.Add("#<PID> <type> <reloads>\n7 master 1 [failed: 1]\n# old workers\n8 worker 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseProcesses(text, time.Unix(0, 0))
		if err != nil {
			return
		}
		if p.master <= 0 || p.reloads < 0 || p.failed < 0 {
			t.Fatalf("no master in %+v", p)
		}
		for _, pid := range append(slices.Collect(maps.Keys(p.workers)), p.old...) {
			if pid <= 0 {
				t.Errorf("a worker %d, which no command can name, in %+v", pid, p)
			}
		}
	})
}

// at makes the starts of workers out of pairs of process ID and second.
func at(pairs ...int) map[int]time.Time {
	starts := map[int]time.Time{}
	for i := 0; i < len(pairs); i += 2 {
		starts[pairs[i]] = time.Unix(int64(pairs[i+1]), 0)
	}
	return starts
}
