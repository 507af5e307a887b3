package render_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/file"
)

// sandboxed is a folder with a file in it, beside another one that templates
// must not reach.
func sandboxed(t *testing.T) (in, out string) {
	t.Helper()
	dir := t.TempDir()
	in, out = filepath.Join(dir, "in"), filepath.Join(dir, "out")
	for _, d := range []string{in, filepath.Join(in, "sub"), out} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "f"), []byte(filepath.Base(d)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return in, out
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

// Links are bent after the template has looked where they lead, and before the
// file is read.
func TestSandboxHoldsWhileLinksAreBent(t *testing.T) {
	in, out := sandboxed(t)
	local := file.NewLocal()
	t.Cleanup(func() { _ = local.Close() })
	for name, c := range map[string]struct{ good, bad, bent, path string }{
		"the last":          {"sub/f", out + "/f", "link", "link"},
		"one in the middle": {in + "/sub", out, "dir", "dir/f"}, // an absolute one that stays within is good
		"by dots":           {"sub/f", "../out/f", "dots", "dots"},
		"a chain of them":   {"sub", in + "/sub/away", "chain", "chain/f"},
	} {
		t.Run(name, func(t *testing.T) {
			link(t, out, filepath.Join(in, "sub/away"))
			link(t, c.good, filepath.Join(in, c.bent))
			r := run(t, `{{ file "`+filepath.Join(in, c.path)+`" }}`, render.Rules{Sandbox: in}, render.Input{})
			if r.Err != nil || len(r.Asked) != 1 {
				t.Fatalf("asked %v, %v", r.Asked, r.Err)
			}
			for q := range r.Asked {
				if a, err := local.Fetch(t.Context(), q, 0); err != nil || a.Value != "sub" {
					t.Errorf("before: %+v, %v", a, err)
				}
				link(t, c.bad, filepath.Join(in, c.bent))
				if a, err := local.Fetch(t.Context(), q, 0); err == nil || a.Presence != watcher.Unknown {
					t.Errorf("bent it is read: %+v", a)
				}
			}
		})
	}
}

// Somebody bends a link all the time: it is read as it leads within, or not at
// all.
func TestSandboxHoldsAtEachInstant(t *testing.T) {
	in, out := sandboxed(t)
	path := filepath.Join(in, "link")
	link(t, "sub/f", path)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			_ = os.Symlink([]string{out + "/f", "sub/f"}[i%2], path+".new")
			_ = os.Rename(path+".new", path)
		}
	}()
	within := 0
	for range 4000 {
		content, err := file.ReadWithin(in, path)
		if err == nil && string(content) != "sub" {
			t.Errorf("it read %q", content)
			break
		}
		if err == nil {
			within++
		}
	}
	close(done)
	<-ended
	if within == 0 || within == 4000 {
		t.Errorf("%d of 4000 looks led within: the link was not bent between them", within)
	}
}

// What a template writes beside its own file stays within too, whenever a link
// is bent.
func TestSandboxHoldsWhatIsWritten(t *testing.T) {
	in, out := sandboxed(t)
	stage := func(path string) (*render.Set, error) {
		r := run(t, `{{ writeToFile "`+filepath.Join(in, path)+`" "" "" "0640" "new" }}`, render.Rules{Sandbox: in}, render.Input{})
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		files, err := r.Beside()
		if err != nil {
			t.Fatal(err)
		}
		return render.Stage(files)
	}
	untouched := func() {
		t.Helper()
		entries, err := os.ReadDir(out)
		if content, readErr := os.ReadFile(filepath.Join(out, "f")); err != nil || readErr != nil || len(entries) != 1 || string(content) != "out" {
			t.Errorf("outside is changed: %v, %v, %q", entries, errors.Join(err, readErr), content)
		}
	}
	set, err := stage("new/folder/f")
	if err == nil {
		err = set.Rename()
	}
	if content, readErr := os.ReadFile(filepath.Join(in, "new/folder/f")); err != nil || readErr != nil || string(content) != "new" {
		t.Errorf("within: %v, %q", errors.Join(err, readErr), content)
	}

	link(t, out, filepath.Join(in, "away"))
	link(t, out+"/f", filepath.Join(in, "f"))
	for _, path := range []string{"away/f", "away/g", "away/more/g", "f"} {
		if set, err := stage(path); err == nil {
			t.Errorf("%s is staged at %s", path, set.Files[0].Lies())
		}
		untouched()
	}

	// Staged within, and the folder replaced by a link before it is swapped in.
	set, err = stage("sub/g")
	if err != nil {
		t.Fatal(err)
	}
	pending := set.Pending()
	if err := os.Rename(filepath.Join(in, "sub"), filepath.Join(in, "moved")); err != nil {
		t.Fatal(err)
	}
	link(t, out, filepath.Join(in, "sub"))
	if err := set.Rename(); err == nil {
		t.Error("it is swapped in")
	}
	set.Discard()
	untouched()
	if err := os.WriteFile(filepath.Join(out, ".g.pgbaton"), []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := render.RollForward(pending); err == nil {
		t.Error("it is rolled forward")
	}
	if _, err := os.Stat(filepath.Join(out, "g")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("outside there is g: %v", err)
	}
}
