package target

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/state"
)

// FuzzStateFiles: whatever stands in the files of the state folder, a record counts
// as followed only if it is this target's own and says so, a hold that is read ends,
// and what can't be read is an error that names the file.
func FuzzStateFiles(f *testing.F) {
	for _, text := range []string{
		`{"version":1,"target":"test.t","paths":["/etc/x"],"followed":"abc","mark":{"proof":1},"led":{"main":{"leader":"pg1"}}}`,
		`{"version":1,"target":"test.u","paths":["/etc/x"],"followed":"abc"}`,
		`{"version":1,"target":"test.t","paths":["/etc/y"],"followed":"abc"}`,
		`{"version":2,"target":"test.t","paths":["/etc/x"],"followed":"abc"}`,
		`{"version":1,"target":"test.t","recipe":{"kind":"x"},"holds":[{"cluster":"main","names":["a"],"began":"2026-01-01T00:00:00Z","until":"2026-01-01T00:01:00Z"}]}`,
		`{"version":1,"holds":[{"cluster":"main","names":["a"],"until":"9999-01-01T00:00:00Z"}]}`,
		`{"version":1,"holds":[null]}`, `{"version":1,"since":"x"}`, `{"version":1,"until":"2026-01-01T00:00:00Z","by":"root"}`,
		`null`, `[]`, `{`, ``, "\x00", `{"version":"1"}`, `{"version":1,"pending":[null]}`, `{"version":1e400}`,
	} {
		f.Add(text)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		folder := state.Folder{Dir: dir}
		names := func(err error, file string) {
			if err != nil && !strings.Contains(err.Error(), file) {
				t.Errorf("an error that does not name %s: %v", file, err)
			}
		}
		put := func(name string) {
			if err := os.WriteFile(folder.Path(name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		paths := []string{"/etc/x"}
		put("test.t")
		r, err := Records{folder}.Load("test.t", paths)
		names(err, "test.t")
		if r.Version != recordVersion || r.Target != "test.t" || !slices.Equal(r.Paths, paths) {
			t.Errorf("the record of another target is taken: %+v", r)
		}
		if r.Followed != "" && (err != nil || !strings.Contains(strings.ToLower(text), "followed")) {
			t.Errorf("%q counts as followed: %+v, error %v", text, r, err)
		}

		put("held.test.t")
		now := time.Now()
		k := newKeeper(Spec{Kind: "test", Name: "t", Daemon: bouncing(), Hold: true}, folder, hclog.NewNullLogger(), func() {})
		for name, h := range k.held {
			if long := h.Until.Sub(h.Began); h.Until.After(time.Now().Add(long)) && long > 0 {
				t.Errorf("the hold of %q is longer than %v: until %v", name, long, h.Until)
			}
		}

		put(FrozenPrefix + "test.t")
		if freeze, frozen := LoadFreeze(folder, "test.t", now); frozen && freeze.Over(now) {
			t.Errorf("frozen until %v, at %v", freeze.Until, now)
		}
	})
}
