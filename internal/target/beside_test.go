package target

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pgbaton/pgbaton/reload"
)

// TestWritesBeside: what a template writes beside its own file is one set with
// it.
func TestWritesBeside(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, "")
		b.spec.Templates[0].Text = fmt.Sprintf(`main={{ key "k" }}{{ key "k" | writeToFile %q "" "" "0600" }}`, b.path("made/beside"))
		b.daemon.check = func(_ context.Context, content string) error {
			if content == "main=two" {
				return reload.Refuse("no")
			}
			return nil
		}
		b.store.set("k", "one")
		b.start()
		defer func() { b.stop() }()
		b.expect("at the start", "main=one")
		if have := b.content("made/beside"); have != "one" {
			t.Errorf("beside is %q", have)
		}
		b.store.set("k", "two")
		b.expect("refused", "main=one")
		if have := b.content("made/beside"); have != "one" {
			t.Errorf("beside is %q, and its set was refused", have)
		}
		b.store.set("k", "three")
		b.expect("changed", "main=one main=three")
		if have := b.content("made/beside"); have != "three" {
			t.Errorf("beside is %q", have)
		}
	})
}

func TestWritesBesideItself(t *testing.T) {
	dir := t.TempDir()
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(cwd, filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "out"), relative} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, dir, "")
			b.spec.Templates[0].Rules.Relative = true
			b.spec.Templates[0].Text = fmt.Sprintf(`x{{ "y" | writeToFile %q "" "" "0600" }}`, path)
			b.start()
			defer func() { b.stop() }()
			b.expect("a file written twice", "")
			if err := b.loop.State().Err; err == nil || !strings.Contains(err.Error(), "writes that file already") {
				t.Errorf("%s: error %v", path, err)
			}
		})
	}
}
