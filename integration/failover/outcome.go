package failover

import (
	"slices"
	"time"
)

// window is the time of one event, as the benchmark saw it.
type window struct {
	begin time.Time // something was done to the cluster
	key   time.Time // the leader key names the new leader; zero if it did not move
	took  time.Time // a server takes writes again: the new leader, or the restarted one; zero if none ever ceased to
	end   time.Time // the last moment that counts for stalls and for who is stuck
	port  int       // of the leader that is expected to take writes in the end
}

// stuckFor is how long a writer had no acknowledged write if it counts as stuck.
const stuckFor = 3 * time.Second

// stall is a time without an acknowledged write. Open: it had not ended when the
// window did.
type stall struct {
	length time.Duration
	open   bool
}

// outcome is what one contestant made of one event.
type outcome struct {
	fleet  stall         // of all writers together
	writer stall         // the worst of any one
	toKey  time.Duration // from the key to the first write on the new leader; negative: there was none
	errors map[string]int
	stuck  int
	of     int // writers

	missing int // acknowledged rows that the final leader lacks
	onOld   int // rows that the old leader took when there was a new one
	second  int // errors of the second database; negative: it has none
	other   int // errors of the second cluster; negative: it has none

	otherStall time.Duration // the worst of any writer on the second cluster
}

// measure reads the diaries of a contestant's writers.
func measure(diaries []*diary, w window) outcome {
	o := outcome{errors: map[string]int{}, of: len(diaries), toKey: -1, second: -1, other: -1}
	var all []time.Time
	for _, d := range diaries {
		acks, failures := d.copied()
		own := within(acks, w)
		for _, a := range acks {
			if a.at.Before(w.begin) || a.at.After(w.end) {
				continue
			}
			if since := a.at.Sub(w.key); !w.key.IsZero() && a.port == w.port && since >= 0 && (o.toKey < 0 || since < o.toKey) {
				o.toKey = since
			}
		}
		if s := longestStall(own, w.begin, w.end); s.length > o.writer.length {
			o.writer = s
		}
		if len(own) == 0 || w.end.Sub(own[len(own)-1]) >= stuckFor {
			o.stuck++
		}
		all = append(all, own...)
		for _, f := range failures {
			if !f.at.Before(w.begin) {
				o.errors[f.class]++
			}
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	o.fleet = longestStall(all, w.begin, w.end)
	return o
}

// within are the times of the acknowledged writes in a window.
func within(acks []ack, w window) []time.Time {
	var times []time.Time
	for _, a := range acks {
		if !a.at.Before(w.begin) && !a.at.After(w.end) {
			times = append(times, a.at)
		}
	}
	return times
}

// beside adds what the writers of the second database and of the second cluster
// lived through; nil if there are none.
func (o *outcome) beside(second, other []*diary, w window) {
	if second != nil {
		o.second = failuresSince(second, w.begin)
	}
	if other == nil {
		return
	}
	o.other = failuresSince(other, w.begin)
	for _, d := range other {
		acks, _ := d.copied()
		o.otherStall = max(o.otherStall, longestStall(within(acks, w), w.begin, w.end).length)
	}
}

// longestStall is the longest time between two of the times, which are sorted,
// between begin and the first, or between the last and end.
func longestStall(times []time.Time, begin, end time.Time) stall {
	var longest stall
	before := begin
	for _, at := range times {
		longest.length = max(longest.length, at.Sub(before))
		before = at
	}
	if rest := end.Sub(before); rest > longest.length {
		longest = stall{length: rest, open: true}
	}
	return longest
}

// failuresSince counts the errors of a fleet from a moment on.
func failuresSince(diaries []*diary, begin time.Time) int {
	n := 0
	for _, d := range diaries {
		_, failures := d.copied()
		for _, f := range failures {
			if !f.at.Before(begin) {
				n++
			}
		}
	}
	return n
}

// row names a row of a contestant's table.
type row struct{ writer, seq int }

// late counts the rows that only the old leader has, and that were not
// acknowledged when the new one took writes: it has committed them since. (Those
// that were are what asynchronous replication loses.)
func late(onOld, there map[row]bool, diaries []*diary, took time.Time) int {
	only := map[row]bool{}
	for r := range onOld {
		if !there[r] {
			only[r] = true
		}
	}
	for writer, d := range diaries {
		acks, _ := d.copied()
		for _, a := range acks {
			if !a.at.After(took) {
				delete(only, row{writer, a.seq})
			}
		}
	}
	return len(only)
}

// lost counts the acknowledged rows that are not there.
func lost(diaries []*diary, there map[row]bool) int {
	n := 0
	for writer, d := range diaries {
		acks, _ := d.copied()
		for _, a := range acks {
			if !there[row{writer, a.seq}] {
				n++
			}
		}
	}
	return n
}
