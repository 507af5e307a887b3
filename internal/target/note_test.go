package target

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/reload"
)

// notes are the events that a target told, a line each.
type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) note(e history.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch e := e.(type) {
	case history.Applied:
		line := fmt.Sprintf("%s %s %s took=%v", e.Why, e.Proof, e.How, e.At.Sub(e.Seen))
		for _, f := range e.Files {
			line += fmt.Sprintf(" %q>%q", f.Before, f.After)
		}
		n.lines = append(n.lines, line)
	case history.Failed:
		n.lines = append(n.lines, fmt.Sprintf("%s failed: %v committed=%v", e.Why, e.Error, e.Committed))
	default:
		n.lines = append(n.lines, fmt.Sprintf("%T", e))
	}
}

func (n *notes) expect(t *testing.T, what string, lines ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if got, want := strings.Join(n.lines, "\n"), strings.Join(lines, "\n"); got != want {
		t.Errorf("%s: it told\n%s\nwant\n%s", what, got, want)
	}
	n.lines = nil
}

func TestNotes(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var told notes
		b := newBench(t, dir, keyTemplate)
		b.spec.Note = told.note
		b.daemon.follow = func(string) error { time.Sleep(30 * time.Millisecond); return nil }
		b.store.set("k", "one")
		b.start()
		b.expect("first value", "one")
		told.expect(t, "first value", `start followed obeyed took=30ms "">"one"`)

		b.store.set("k", "two")
		b.expect("second value", "one two")
		told.expect(t, "second value", `content followed obeyed took=30ms "one">"two"`)

		b.daemon.set(func(o *obedient) { o.check = func(context.Context, string) error { return reload.Refuse("no") } })
		b.store.set("k", "bad")
		time.Sleep(400 * time.Millisecond)
		synctest.Wait()
		told.expect(t, "a check that refuses", `content failed: check: check refused the files: no committed=false`)
		b.daemon.set(func(o *obedient) { o.check = nil })
		tries := 0
		b.daemon.set(func(o *obedient) {
			o.follow = func(string) error {
				if tries++; tries == 1 {
					return errors.New("not now")
				}
				return nil
			}
		})
		b.store.set("k", "three")
		b.expect("a reload that fails", "one two three")
		told.expect(t, "a reload that fails",
			`content failed: reload: not now committed=true`,
			`content followed obeyed took=500ms`)

		b.edit(write("by hand"))
		b.expect("somebody else's change", "one two three three")
		told.expect(t, "somebody else's change", `repair followed obeyed took=0s "by hand">"three"`)
		b.stop()

		b.start()
		b.expect("a restart", "one two three three")
		told.expect(t, "a restart")
		b.stop()
	})
}
