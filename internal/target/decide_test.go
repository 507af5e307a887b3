package target

import (
	"testing"
	"time"
)

func TestDecide(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	settle := Settle{Min: 2 * time.Second, Max: 5 * time.Second}
	fresh := Wanted{Hash: "new", Changed: ago(0), First: ago(0)}
	old := Done{Committed: "old", Followed: "old"}
	for _, c := range []struct {
		name   string
		w      Wanted
		settle Settle
		done   Done
		tries  Tries
		do     Action
		again  time.Duration // from now; 0 is at the next change
	}{
		{name: "nothing wanted yet", do: Rest},
		{name: "in sync", w: Wanted{Hash: "old"}, done: old, do: Rest},
		{name: "first start", w: fresh, do: Apply},
		{name: "the record says it followed, the disk is not known yet", w: Wanted{Hash: "old"}, done: Done{Followed: "old"}, do: Apply},
		{name: "changed", w: fresh, done: old, do: Apply},
		{name: "committed, not followed", w: fresh, done: Done{Committed: "new"}, do: Follow},
		{name: "settling", w: fresh, settle: settle, done: old, do: Rest, again: 2 * time.Second},
		{name: "settled", w: Wanted{Hash: "new", Changed: ago(2 * time.Second), First: ago(2 * time.Second)}, settle: settle, done: old, do: Apply},
		{name: "changes without end", w: Wanted{Hash: "new", Changed: ago(0), First: ago(4 * time.Second)}, settle: settle, done: old, do: Rest, again: time.Second},
		{name: "changes past the maximum", w: Wanted{Hash: "new", Changed: ago(0), First: ago(5 * time.Second)}, settle: settle, done: old, do: Apply},
		{name: "a leader changed", w: Wanted{Hash: "new", Changed: ago(0), First: ago(0), Urgent: true}, settle: settle, done: old, do: Apply},
		{name: "clients wait, and the leader is in doubt", w: Wanted{Hash: "new", Changed: ago(0), First: ago(0), Unsure: true, Urgent: true}, done: old, do: Rest},
		{name: "failed just now", w: fresh, done: old, tries: Tries{Hash: "new", Failures: 1, Last: ago(0)}, do: Rest, again: 500 * time.Millisecond},
		{name: "failed a while ago", w: fresh, done: old, tries: Tries{Hash: "new", Failures: 1, Last: ago(time.Second)}, do: Apply},
		{name: "failed often", w: fresh, done: old, tries: Tries{Hash: "new", Failures: 500, Last: ago(0)}, do: Rest, again: 15 * time.Second},
		{name: "refused often", w: fresh, done: old, tries: Tries{Hash: "new", Failures: 500, Last: ago(0), Refused: true}, do: Rest, again: time.Minute},
		{name: "something else failed", w: fresh, done: old, tries: Tries{Hash: "older", Failures: 5, Last: ago(0)}, do: Apply},
		{name: "reload failed, long ago", w: fresh, done: Done{Committed: "new"}, tries: Tries{Hash: "new", Failures: 3, Last: ago(time.Minute)}, do: Follow},
	} {
		t.Run(c.name, func(t *testing.T) {
			do, again := Decide(c.w, c.settle, c.done, c.tries, now)
			if do != c.do {
				t.Errorf("decided to %s, want %s", do, c.do)
			}
			var wait time.Duration
			if !again.IsZero() {
				wait = again.Sub(now)
			}
			if wait != c.again {
				t.Errorf("looks again after %v, want %v", wait, c.again)
			}
		})
	}
}
