package target

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// edit does what a hand does to the file, and lets it be seen.
func (b *bench) edit(how func(path string) error) {
	b.t.Helper()
	if err := how(b.path("out")); err != nil {
		b.t.Fatal(err)
	}
	b.store.set(b.path("out"), time.Now().String())
}

func write(text string) func(string) error {
	return func(path string) error { return os.WriteFile(path, []byte(text), 0o644) }
}

func TestDriftIsPutRight(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		b.store.set("k", "one")
		b.start()
		defer func() { b.stop() }()
		b.expect("start", "one")
		b.edit(write("by hand"))
		b.expect("edited", "one one")
		b.edit(os.Remove)
		b.expect("removed", "one one one")
		b.edit(func(path string) error { return os.Chmod(path, 0o600) })
		// What mode it has is not asked for, so that is nobody's drift.
		b.expect("another mode that nobody asked for", "one one one")
		b.edit(func(path string) error { return os.Rename(path, path+".away") })
		b.expect("moved away", "one one one one")
		if b.content("out") != "one" || !b.loop.State().InSync {
			t.Errorf("it holds %q, state %+v", b.content("out"), b.loop.State())
		}
	})
}

func TestDriftOfModeIsPutRight(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		perms := os.FileMode(0o640)
		b.spec.Templates[0].Destination.Perms = &perms
		b.store.set("k", "one")
		b.start()
		defer func() { b.stop() }()
		b.expect("start", "one")
		b.edit(func(path string) error { return os.Chmod(path, 0o666) })
		b.expect("another mode", "one one")
		if info, err := os.Stat(b.path("out")); err != nil || info.Mode() != perms {
			t.Errorf("mode %v, error %v", info.Mode(), err)
		}
	})
}

// TestDriftWhileTheDaemonFollows: what somebody sets in the moment after the swap is his
// change, and not something that the file system does not keep.
func TestDriftWhileTheDaemonFollows(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		perms := os.FileMode(0o640)
		b.spec.Templates[0].Destination.Perms = &perms
		b.store.set("k", "one")
		meddles := true
		b.daemon.follow = func(string) error {
			if !meddles {
				return nil
			}
			meddles = false
			b.store.set(b.path("out"), "changed")
			return os.Chmod(b.path("out"), 0o666)
		}
		b.start()
		defer func() { b.stop() }()
		b.expect("another mode, put right", "one one")
		if info, err := os.Stat(b.path("out")); err != nil || info.Mode() != perms {
			t.Errorf("mode %v, error %v", info.Mode(), err)
		}
	})
}

func TestSomebodyWhoChangesItForEver(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		b.store.set("k", "one")
		b.start()
		defer func() { b.stop() }()
		b.expect("start", "one")
		for range 60 {
			b.edit(write("by hand"))
			time.Sleep(time.Second)
			synctest.Wait()
		}
		// 250 ms, doubled each time, up to 15 s.
		if n := strings.Count(b.daemon.story(), "one"); n < 4 || n > 12 {
			t.Errorf("in a minute it was made to follow %d times", n)
		}
		b.store.set("k", "two")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if b.content("out") != "two" {
			t.Errorf("it holds %q", b.content("out"))
		}
	})
}

func TestDriftIsLeft(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		b.spec.LeaveDrift = true
		b.store.set("k", "one")
		b.start()
		defer func() { b.stop() }()
		b.expect("start", "one")
		b.edit(write("by hand"))
		b.expect("edited", "one")
		if s := b.loop.State(); b.content("out") != "by hand" || s.InSync || s.Err == nil || !strings.Contains(s.Err.Error(), "out: content") {
			t.Errorf("it holds %q, state %+v", b.content("out"), s)
		}
		b.edit(write("one"))
		b.expect("and back", "one")
		if s := b.loop.State(); !s.InSync || s.Err != nil {
			t.Errorf("as it was: state %+v", s)
		}
		b.edit(write("by hand"))
		b.expect("edited again", "one")
		b.store.set("k", "two")
		b.expect("the next change", "one two")
		if s := b.loop.State(); b.content("out") != "two" || !s.InSync {
			t.Errorf("it holds %q, state %+v", b.content("out"), s)
		}
	})
}

func TestDriftThatCannotBePutRight(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		b.store.set("k", "one")
		b.start()
		defer func() { b.stop() }()
		b.expect("start", "one")
		b.edit(func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) })
		b.expect("a folder in its place", "one")
		if s := b.loop.State(); s.InSync || s.Err == nil || !strings.Contains(s.Err.Error(), "not a regular file") {
			t.Errorf("state %+v", s)
		}
		b.edit(os.Remove)
		b.expect("and away", "one one")
		if s := b.loop.State(); !s.InSync || b.content("out") != "one" {
			t.Errorf("it holds %q, state %+v", b.content("out"), s)
		}
	})
}
