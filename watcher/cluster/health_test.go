package cluster

import (
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestCheckNext: each answer is a second after the one before; + is good, - is bad.
func TestCheckNext(t *testing.T) {
	for _, tc := range []struct {
		name     string
		p        Patience
		answers  string
		verdicts string
	}{
		{"the first answer counts", Patience{Rise: 3, Fall: 3}, "+", "+"},
		{"a bad first one too", Patience{Rise: 3, Fall: 3}, "-", "-"},
		{"fall", Patience{Rise: 1, Fall: 3}, "+--+---", "+++++ +-"},
		{"rise", Patience{Rise: 2, Fall: 1}, "+-+-++", "+----+"},
		{"dwell", Patience{Rise: 1, Fall: 1, Dwell: 5 * time.Second}, "+-++++++", "+-----++"},
		{"dwell keeps nobody in", Patience{Rise: 1, Fall: 1, Dwell: 5 * time.Second}, "-++++++-", "-----++-"},
		{"dwell and rise", Patience{Rise: 3, Fall: 1, Dwell: 2 * time.Second}, "+-+++++", "+---+++"},
	} {
		var c Check
		got := ""
		for i, a := range tc.answers {
			why := ""
			if a == '-' {
				why = "down"
			}
			c = c.Next(why, tc.p, noon.Add(time.Duration(i)*time.Second))
			if c.Why != why {
				t.Errorf("%s: answer %d: why %q", tc.name, i, c.Why)
			}
			if got += "-"; c.Healthy {
				got = got[:len(got)-1] + "+"
			}
		}
		if want := strings.ReplaceAll(tc.verdicts, " ", ""); got != want {
			t.Errorf("%s: %s come to %s, want %s", tc.name, tc.answers, got, want)
		}
	}
}

func TestBehind(t *testing.T) {
	at := func(second int) time.Time { return noon.Add(time.Duration(second) * time.Second) }
	var w Trail
	if b := w.Behind(5, noon); b != (Behind{}) {
		t.Errorf("nothing is known, and it says %+v", b)
	}
	w.Note(100, at(0))
	w.Note(200, at(1))
	for s := 2; s <= 60; s++ { // it rests
		w.Note(200, at(s))
	}
	w.Note(300, at(61))
	w.Note(300, at(65))
	if len(w.marks) != 5 {
		t.Errorf("%d marks: %v", len(w.marks), w.marks)
	}
	for _, tc := range []struct {
		name string
		lsn  uint64
		at   int
		want Behind
	}{
		{"it has all", 300, 65, Behind{Known: true, Timed: true}},
		{"it is ahead of what was seen", 310, 65, Behind{Known: true, Timed: true}},
		{"it has all, and nobody writes", 300, 3600, Behind{Known: true, Timed: true}},
		{"it has what was there until the leader went on", 200, 66, Behind{Bytes: 100, Delay: 6 * time.Second, Known: true, Timed: true}},
		{"in between", 250, 66, Behind{Bytes: 50, Delay: 6 * time.Second, Known: true, Timed: true}},
		{"from before the rest", 150, 66, Behind{Bytes: 150, Delay: 66 * time.Second, Known: true, Timed: true}},
		{"from before all that was seen", 50, 66, Behind{Bytes: 250, Known: true}},
	} {
		if got := w.Behind(tc.lsn, at(tc.at)); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
	w.Note(80, at(70)) // another leader, that had less
	if got := w.Behind(80, at(71)); got != (Behind{Known: true, Timed: true}) || len(w.marks) != 1 {
		t.Errorf("after another leader: %+v of %v", got, w.marks)
	}
}

// However long it goes on, what is remembered is bounded, and a delay is never told to be
// less than it is, nor more than a half of itself more.
func TestBehindForgetsTheOld(t *testing.T) {
	var w Trail
	const hours = 3 * 3600
	for s := range hours {
		w.Note(uint64(s), noon.Add(time.Duration(s)*time.Second))
	}
	if len(w.marks) > marksAtMost {
		t.Errorf("%d marks", len(w.marks))
	}
	now := noon.Add((hours - 1) * time.Second)
	for _, back := range []int{1, 5, 60, 600} {
		truth := time.Duration(back) * time.Second
		got := w.Behind(uint64(hours-1-back), now)
		if !got.Timed || got.Delay < truth || got.Delay > truth*3/2+time.Second {
			t.Errorf("%v behind: it says %+v", truth, got)
		}
	}
}

func TestLagLimit(t *testing.T) {
	both := LagLimit{Delay: time.Second, Bytes: 10}
	for _, tc := range []struct {
		limit LagLimit
		b     Behind
		why   string
	}{
		{both, Behind{Known: true, Timed: true}, ""},
		{both, Behind{Known: true, Timed: true, Bytes: 10, Delay: time.Second}, ""},
		{both, Behind{Known: true, Timed: true, Bytes: 11}, "11 bytes of WAL behind, more than 10"},
		{both, Behind{Known: true, Timed: true, Bytes: 1, Delay: 1500 * time.Millisecond}, "1.5s behind, more than 1s"},
		{both, Behind{Known: true, Bytes: 1}, "1 bytes of WAL behind, for an unknown time"},
		{LagLimit{Bytes: 10}, Behind{Known: true, Bytes: 1}, ""},
		{LagLimit{}, Behind{Known: true, Bytes: 1 << 40}, ""},
		{both, Behind{}, "how far behind it is can't be told"},
	} {
		if why := tc.limit.Why(tc.b); why != tc.why {
			t.Errorf("%+v, %+v: %q, want %q", tc.limit, tc.b, why, tc.why)
		}
	}
	if b := (Behind{Known: true, Bytes: 5}).Within(time.Second); !b.Timed || b.Delay != time.Second {
		t.Errorf("what was unknown is within %+v", b)
	}
	if b := (Behind{Known: true, Bytes: 5, Timed: true, Delay: time.Second}).Within(time.Minute); b.Delay != time.Second {
		t.Errorf("the smaller bound counts: %+v", b)
	}
}

// TestHealthIsNoNews: what moves with every answer renders nothing anew; a verdict does.
func TestHealthIsNoNews(t *testing.T) {
	with := func(fit bool, why string, bytes uint64) Baton {
		h := Health{Checks: []Check{{Name: "lag", Kind: ProbeLag, Healthy: fit, Why: why, Since: noon}}, Behind: Behind{Bytes: bytes, Known: true}}
		return Baton{Seen: Cluster{Members: []Member{{Name: "pg2", Host: "b", Role: "replica", State: "running"}}}, Health: map[string]Health{"pg2": h}}
	}
	if !with(true, "", 1).Same(with(true, "late", 2)) {
		t.Error("another lag is news")
	}
	if with(true, "", 1).Same(with(false, "late", 1)) {
		t.Error("another verdict is no news")
	}
	a, b := with(true, "", 1).View(), with(false, "late", 7).View()
	if a.Same(&b) || !a.Members[0].Healthy || b.Members[0].Healthy || b.Members[0].Lag != 7 || b.Replicas[0].Check("lag").Why != "late" || b.Members[0].Check("none") != nil {
		t.Errorf("views %+v and %+v", a.Members, b.Members)
	}
}
