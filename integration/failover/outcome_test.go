package failover

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var zero = time.Unix(1000, 0)

// at is a moment, in seconds after zero.
func at(seconds float64) time.Time { return zero.Add(time.Duration(seconds * float64(time.Second))) }

func acks(port int, seconds ...float64) []ack {
	var all []ack
	for i, s := range seconds {
		all = append(all, ack{at: at(s), seq: i + 1, port: port})
	}
	return all
}

func TestLongestStall(t *testing.T) {
	for name, c := range map[string]struct {
		times []time.Time
		want  stall
	}{
		"no write":         {nil, stall{10 * time.Second, true}},
		"in the middle":    {[]time.Time{at(1), at(2), at(7), at(8)}, stall{5 * time.Second, false}},
		"before the first": {[]time.Time{at(6), at(9)}, stall{6 * time.Second, false}},
		"after the last":   {[]time.Time{at(1), at(4)}, stall{6 * time.Second, true}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := longestStall(c.times, at(0), at(10)); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestMeasure(t *testing.T) {
	const before, now = 5432, 5433
	w := window{begin: at(0), key: at(2), took: at(2.1), end: at(10), port: now}
	moved := &diary{
		acks:     append(acks(before, -1, 0.5, 1, 2.5), acks(now, 3, 5, 7, 9)...),
		failures: []failure{{at(-1), "refused"}, {at(2), "shut down"}},
	}
	stuck := &diary{acks: acks(before, -1, 0.5, 1)}
	got := measure([]*diary{moved, stuck}, w)
	want := outcome{
		fleet:  stall{2 * time.Second, false},
		writer: stall{9 * time.Second, true},
		toKey:  time.Second, // the old server's write after the key does not count
		errors: map[string]int{"shut down": 1},
		stuck:  1, of: 2,
		second: -1, other: -1,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{}, stall{})); diff != "" {
		t.Error(diff)
	}

	got.beside(nil, []*diary{{acks: acks(1, 1, 2, 3, 7, 9)}}, w)
	if got.second != -1 || got.other != 0 || got.otherStall != 4*time.Second {
		t.Errorf("beside: %d, %d, %v", got.second, got.other, got.otherStall)
	}

	w.key = time.Time{}
	if got := measure([]*diary{moved}, w).toKey; got >= 0 {
		t.Errorf("the key did not move, and a write came %v after it", got)
	}
}

func TestLate(t *testing.T) {
	onOld := map[row]bool{{0, 1}: true, {0, 2}: true, {0, 3}: true, {0, 4}: true, {1, 1}: true}
	there := map[row]bool{{0, 1}: true}
	// 2 was acknowledged in time, 3 later, 4 never; so was the other writer's only one.
	if got := late(onOld, there, []*diary{{acks: acks(1, 1, 2, 9)}, {}}, at(5)); got != 3 {
		t.Errorf("%d rows late, want 3", got)
	}
}

func TestLost(t *testing.T) {
	there := map[row]bool{{0, 1}: true, {0, 2}: true, {1, 1}: true}
	if got := lost([]*diary{{acks: acks(1, 1, 2)}, {acks: acks(1, 1, 2, 3)}}, there); got != 2 {
		t.Errorf("%d rows lost, want 2", got)
	}
}
