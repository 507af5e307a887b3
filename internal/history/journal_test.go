package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/internal/state"
)

var day = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// ms is so many milliseconds into the day.
func ms(n int) time.Time { return day.Add(time.Duration(n) * time.Millisecond) }

func veil(texts ...string) []string {
	out := slices.Clone(texts)
	for i := range out {
		out[i] = strings.ReplaceAll(out[i], "secret", "<hidden>")
	}
	return out
}

func kind(_ error, committed bool) string {
	if committed {
		return "reload"
	}
	return "check"
}

func attempt(hash string, seen, at int) Attempt {
	return Attempt{Target: "exec.app", Why: Content, Hash: hash, Seen: ms(seen), At: ms(at), Render: time.Millisecond}
}

func moved(hash string, seen, at int) Attempt {
	a := attempt(hash, seen, at)
	a.Why = Leader
	a.Signs = []Sign{{
		Move:    Move{Cluster: "main", From: "pg1", To: "pg2", Address: "127.0.0.1:5002", Timeline: 2},
		Stirred: ms(seen - 1500), Named: ms(seen - 60), Confirmed: ms(seen),
	}}
	return a
}

// story is the newest changes after some events, a line each, the oldest first.
func story(events ...Event) string {
	j := New(veil, kind)
	for _, e := range events {
		j.Note(e)
	}
	list, _ := j.Changes()
	slices.Reverse(list)
	var lines []string
	for _, c := range list {
		line := fmt.Sprintf("%d %s %s began=%v", c.ID, c.Why, c.Outcome, c.Began.Sub(day))
		if !c.Ended.IsZero() {
			line += fmt.Sprintf(" ended=%v", c.Ended.Sub(day))
		}
		s := c.Steps
		for _, step := range []struct {
			name string
			took Millis
		}{
			{"detect", s.Detect},
			{"confirm", s.Confirm},
			{"hold", s.Hold},
			{"render", s.Render},
			{"check", s.Check},
			{"reload", s.Reload},
			{"verify", s.Verify},
			{"release", s.Release},
			{"held", s.Held},
			{"applied", s.Applied},
			{"total", s.Total},
		} {
			if step.took > 0 {
				line += fmt.Sprintf(" %s=%v", step.name, step.took)
			}
		}
		for _, more := range []string{c.Led(), c.Reason} {
			if more != "" {
				line += " (" + more + ")"
			}
		}
		if c.Tries > 0 {
			line += fmt.Sprintf(" tries=%d", c.Tries)
		}
		if c.Error != nil {
			line += fmt.Sprintf(" %s: %s", c.Error.Kind, c.Error.Words)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestStories(t *testing.T) {
	held := Held{Target: "exec.app", Cluster: "main", Began: ms(-1400), At: ms(-1395), Took: 5 * time.Millisecond}
	released := Released{Target: "exec.app", Cluster: "main", At: ms(40), Held: 1430 * time.Millisecond, Took: 10 * time.Millisecond, Reason: "leadership is steady"}
	applied := Applied{Attempt: moved("b", 0, 30), Proof: "followed"}
	applied.Reload, applied.Verify = 20*time.Millisecond, 5*time.Millisecond
	failed := Failed{Attempt: attempt("c", 100, 120), Error: errors.New("secret is no port")}
	again := Failed{Attempt: attempt("c", 100, 620), Error: errors.New("it does not follow"), Committed: true}
	for name, tt := range map[string]struct {
		events []Event
		want   string
	}{
		"content": {[]Event{Applied{Attempt: attempt("a", 0, 10)}}, "1 content applied began=0s ended=10ms render=1 applied=10 total=10"},
		"a switchover, held": {
			[]Event{held, applied, released},
			"1 leader applied began=-1.5s ended=40ms detect=1440 confirm=60 hold=5 render=1 reload=20 verify=5 release=10 held=1430 applied=30 total=1540 (main: pg1 to pg2) (leadership is steady)",
		},
		"held again by a daemon that restarted": {
			[]Event{held, held, applied, released},
			"1 leader applied began=-1.5s ended=40ms detect=1440 confirm=60 hold=5 render=1 reload=20 verify=5 release=10 held=1430 applied=30 total=1540 (main: pg1 to pg2) (leadership is steady)",
		},
		"a switchover that is not held": {
			[]Event{applied},
			"1 leader applied began=-1.5s ended=30ms detect=1440 confirm=60 render=1 reload=20 verify=5 applied=30 total=1530 (main: pg1 to pg2)",
		},
		"called off":       {[]Event{held, released}, "1 hold released began=-1.4s ended=40ms hold=5 release=10 held=1430 total=1440 (leadership is steady)"},
		"still held":       {[]Event{held}, "1 hold open began=-1.4s hold=5"},
		"held and applied": {[]Event{held, applied}, "1 leader applied began=-1.5s detect=1440 confirm=60 hold=5 render=1 reload=20 verify=5 applied=30 (main: pg1 to pg2)"},
		"released before it was applied": {
			[]Event{held, released, applied},
			"1 hold released began=-1.4s ended=40ms hold=5 release=10 held=1430 total=1440 (leadership is steady)\n" +
				"2 leader applied began=-1.5s ended=30ms detect=1440 confirm=60 render=1 reload=20 verify=5 applied=30 total=1530 (main: pg1 to pg2)",
		},
		"failed, and then not": {
			[]Event{failed, again, Applied{Attempt: attempt("c", 100, 900)}},
			"1 content applied began=100ms ended=900ms render=1 applied=800 total=800 tries=2",
		},
		"failed": {[]Event{failed, again}, "1 content failed began=100ms ended=620ms render=1 applied=520 total=520 tries=2 reload: it does not follow"},
		"failed, and overtaken": {
			[]Event{failed, Applied{Attempt: attempt("d", 200, 210)}},
			"1 content failed began=100ms ended=120ms render=1 applied=20 total=20 tries=1 check: <hidden> is no port\n2 content applied began=200ms ended=210ms render=1 applied=10 total=10",
		},
		"another target's hold": {
			[]Event{Held{Target: "exec.other", Cluster: "main", Began: ms(0)}, Applied{Attempt: attempt("a", 0, 10)}},
			"1 hold open began=0s\n2 content applied began=0s ended=10ms render=1 applied=10 total=10",
		},
		"a release of what nobody knows": {[]Event{released}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := story(tt.events...); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestItRemembersAcrossRestarts(t *testing.T) {
	folder := state.Folder{Dir: t.TempDir()}
	run := func(use func(*Journal)) []Change {
		j := New(veil, kind)
		if err := j.Keep(folder); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- j.Run(ctx) }()
		use(j)
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		list, _ := j.Changes()
		return list
	}
	run(func(j *Journal) {
		j.Note(Applied{Attempt: attempt("a", 0, 10), Files: []File{{Path: "/etc/app", Mode: 0o640, Before: []byte("one\nkey secret\n"), After: []byte("two\nkey secret\n")}}})
		j.Note(Held{Target: "exec.app", Cluster: "main", Began: ms(20)})
		servertest.Eventually(t, "the files are compared", func() error {
			if list, _ := j.Changes(); list[1].Files[0].Text == "" {
				return errors.New("not yet")
			}
			return nil
		})
	})
	got := run(func(j *Journal) { j.Note(Applied{Attempt: attempt("b", 100, 110)}) })
	if len(got) != 3 || got[0].ID != 3 || got[1].ID != 2 || got[2].ID != 1 {
		t.Fatalf("got %+v", got)
	}
	if c := got[1]; c.Outcome != Canceled || c.Reason != "pgbaton ended meanwhile" {
		t.Errorf("what was open when it ended is %+v", c)
	}
	text := got[2].Files[0].Text
	if !strings.Contains(text, "-one\n+two\n key <hidden>\n") {
		t.Errorf("the diff is\n%s", text)
	}
	if public := got[2].Public(false).Files[0]; public.Text != "" || public.Path != "/etc/app" {
		t.Errorf("everybody sees %+v of a file that not everybody may read", public)
	}
	if got[2].Public(true).Files[0].Text != text || got[2].Files[0].Text != text {
		t.Error("the diff is gone")
	}
	all, err := Load(folder)
	if err != nil || len(all) != 3 || all[0].ID != 3 {
		t.Errorf("on disk are %+v, %v", all, err)
	}
}

func TestTwoShareAFolder(t *testing.T) {
	folder := state.Folder{Dir: t.TempDir()}
	a, b := New(veil, kind), New(veil, kind)
	for i, j := range []*Journal{a, b} {
		if err := j.Keep(folder); err != nil {
			t.Fatal(err)
		}
		e := Applied{Attempt: attempt("a", i, 10)}
		e.Target = fmt.Sprintf("exec.%d", i)
		j.Note(e)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		defer func() {
			if err := j.Run(ctx); err != nil {
				t.Error(err)
			}
			all, err := Load(folder)
			if want := 2 - i; err != nil || len(all) != want {
				t.Errorf("%d changes are on disk, not %d: %v", len(all), want, err)
			}
		}()
	}
}

func TestItForgets(t *testing.T) {
	j := New(veil, kind)
	for i := range most + 10 {
		j.Note(Applied{Attempt: attempt(fmt.Sprint(i), i, i+1), Files: []File{{Path: "/f", After: []byte("x")}}})
		select {
		case c := <-j.compare:
			j.compared(c)
		default:
			t.Fatal("its files are not to be compared")
		}
	}
	list, _ := j.Changes()
	with := 0
	for _, c := range list {
		if c.Files[0].Text != "" {
			with++
		}
	}
	if len(list) != most || list[0].ID != most+10 || with != diffs {
		t.Errorf("%d changes up to %d, %d with a diff", len(list), list[0].ID, with)
	}
}

func TestItTellsInOrder(t *testing.T) {
	j := New(veil, kind)
	var heard []string
	j.Tell(func(e Event) { heard = append(heard, e.of()) })
	_, changed := j.Changes()
	j.Note(Held{Target: "exec.a"})
	j.Note(Released{Target: "exec.b"})
	if got := strings.Join(heard, " "); got != "exec.a exec.b" {
		t.Errorf("heard %q", got)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was woken")
	}
}
