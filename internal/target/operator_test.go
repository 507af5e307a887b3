package target

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbaton/pgbaton/internal/state"
)

// says leaves an operator's word, and lets it be seen.
func (b *bench) says(name string, word any) {
	b.t.Helper()
	folder := Operator(state.Folder{Dir: b.path("state")})
	if err := folder.Save(name+"test.t", word); err != nil {
		b.t.Fatal(err)
	}
	b.store.set(folder.Dir+"/.", time.Now().String())
}

func TestFrozen(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		b.store.set("k", "one")
		b.start()
		b.expect("start", "one")
		b.says(FrozenPrefix, Freeze{Version: OperatorVersion, Until: time.Now().Add(time.Hour), Reason: "lunch", By: "me"})
		b.store.set("k", "two")
		b.expect("frozen", "one")
		if s := b.loop.State(); !strings.Contains(s.Frozen, "by me") || !strings.Contains(s.Frozen, "lunch") || s.InSync {
			t.Errorf("state %+v", s)
		}
		b.stop()
		b.start()
		defer func() { b.stop() }()
		b.expect("it outlives a restart", "one")
		time.Sleep(time.Hour)
		b.expect("it ends by itself", "one two")
		if s := b.loop.State(); s.Frozen != "" || !s.InSync {
			t.Errorf("state %+v", s)
		}
	})
}

func TestForced(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		b.spec.MaxRemoval = 0.5
		long := strings.Repeat("line\n", 20)
		b.store.set("k", long)
		b.start()
		defer func() { b.stop() }()
		b.expect("start", long)
		b.store.set("k", "short")
		b.expect("too much would go", long)
		if s := b.loop.State(); s.Err == nil || !strings.Contains(s.Err.Error(), "19 of its 20 lines would go") {
			t.Errorf("state %+v", s)
		}
		b.says(ForcePrefix, Force{Version: OperatorVersion, Until: time.Now()})
		b.expect("a word that nobody waits for any more", long)
		b.says(ForcePrefix, Force{Version: OperatorVersion, Until: time.Now().Add(time.Hour)})
		b.expect("forced", long+" short")
		if Operator(state.Folder{Dir: b.path("state")}).Has(ForcePrefix + "test.t") {
			t.Error("a word that was obeyed stays")
		}
		b.store.set("k", long)
		b.expect("more lines are no removal", long+" short "+long)
		b.store.set("k", strings.Repeat("other\n", 11))
		b.expect("less than half", long+" short "+long+" "+strings.Repeat("other\n", 11))
		b.says(ForcePrefix, Force{Version: OperatorVersion, Until: time.Now().Add(time.Hour)})
		b.expect("forced with nothing to do", long+" short "+long+" "+strings.Repeat("other\n", 11))
		if Operator(state.Folder{Dir: b.path("state")}).Has(ForcePrefix + "test.t") {
			t.Error("a word with nothing to do waits for the next change")
		}
	})
}

// TestGuardLooksAtWhatWasWritten: not at what somebody else made of it, and not only
// while the daemon follows.
func TestGuardLooksAtWhatWasWritten(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		b.spec.MaxRemoval = 0.5
		long := strings.Repeat("line\n", 20)
		b.store.set("k", long)
		b.start()
		defer func() { b.stop() }()
		b.expect("start", long)
		b.edit(write(strings.Repeat("by hand\n", 500)))
		b.expect("what somebody added is taken away", long+" "+long)
		b.daemon.set(func(o *obedient) { o.follow = func(string) error { return errors.New("gone") } })
		b.store.set("k", long+"more\n")
		b.expect("committed, and not followed", long+" "+long)
		b.store.set("k", "short")
		b.expect("too much would go", long+" "+long)
		if have := b.content("out"); have != long+"more\n" {
			t.Errorf("it holds %q", have)
		}
	})
}

// TestTimersLookAtTheClock: a clock that is set moves no timer.
func TestTimersLookAtTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		<-after(begun.Add(24 * time.Hour))
		if waited := time.Since(begun); waited > lookAtClock {
			t.Errorf("the end of a freeze is looked at after %v", waited)
		}
		<-after(time.Now().Add(time.Second))
		if waited := time.Since(begun); waited != lookAtClock+time.Second {
			t.Errorf("the next second comes after %v", waited-lookAtClock)
		}
	})
}
