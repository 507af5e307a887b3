package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/watcher"
)

// memory is a store whose keys the test sets.
type memory struct {
	mu      sync.Mutex
	rev     uint64
	kv      map[string]string
	changed chan struct{}
}

func newMemory() *memory {
	return &memory{rev: 1, kv: map[string]string{}, changed: make(chan struct{})}
}

func (m *memory) set(key, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kv[key] = value
	m.rev++
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory) Fetch(ctx context.Context, q watcher.Query, after uint64) (watcher.Answer, error) {
	for {
		m.mu.Lock()
		value, ok := m.kv[q.Path]
		rev, changed := m.rev, m.changed
		m.mu.Unlock()
		if rev != after {
			if !ok {
				return watcher.Answer{Presence: watcher.Absent, Rev: rev}, nil
			}
			var v any = watcher.Pair{Path: q.Path, Value: value}
			if q.Kind == watcher.File {
				v = value
			}
			return watcher.Answer{Presence: watcher.Present, Value: v, Rev: rev}, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return watcher.Answer{}, ctx.Err()
		}
	}
}

// obedient is a daemon that does as the test says, and remembers.
type obedient struct {
	mu       sync.Mutex
	check    func(ctx context.Context, content string) error
	follow   func(content string) error
	followed []string
}

func (o *obedient) Check(ctx context.Context, staged []reload.File) error {
	content, err := os.ReadFile(staged[0].Staged)
	if err != nil {
		return err
	}
	o.mu.Lock()
	check := o.check
	o.mu.Unlock()
	if check == nil {
		return nil
	}
	return check(ctx, string(content))
}

func (o *obedient) Follow(_ context.Context, want []reload.File, _ reload.Mark) (reload.Mark, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	content, err := os.ReadFile(want[0].Path)
	if err != nil {
		return reload.Mark{}, err
	}
	if o.follow != nil {
		if err := o.follow(string(content)); err != nil {
			return reload.Mark{}, err
		}
	}
	o.followed = append(o.followed, string(content))
	return reload.Mark{Proof: reload.Followed, How: "obeyed"}, nil
}

func (o *obedient) story() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.followed, " ")
}

func (o *obedient) set(change func(*obedient)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o)
}

// bench is a target on a bench.
type bench struct {
	t      *testing.T
	dir    string
	store  *memory
	daemon *obedient
	spec   Spec
	loop   *Loop
	stop   func()
}

func newBench(t *testing.T, dir, text string) *bench {
	b := &bench{t: t, dir: dir, store: newMemory(), daemon: &obedient{}}
	b.spec = Spec{Kind: "test", Name: "t", Daemon: b.daemon, Templates: []Template{{
		Name: "t.tmpl", Text: text, Destination: render.Destination{Path: b.path("out")},
	}}}
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) start() {
	b.startOn(map[string]watcher.Store{watcher.Catalog: b.store, watcher.Local: b.store})
}

func (b *bench) startOn(stores map[string]watcher.Store) {
	w := watcher.New(stores, hclog.NewNullLogger())
	b.loop = NewLoop(b.spec, w.Subscribe(), Records{Folder: state.Folder{Dir: b.path("state")}}, hclog.NewNullLogger(), nil)
	ctx, cancel := context.WithCancel(b.t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	running.Go(func() {
		if err := b.loop.Run(ctx); err != nil {
			b.t.Error(err)
		}
	})
	b.stop = func() {
		cancel()
		running.Wait()
	}
}

// expect lets things come to rest and compares what the daemon followed.
func (b *bench) expect(what, story string) {
	b.t.Helper()
	time.Sleep(2 * time.Minute) // of the bubble's time: every backoff is over
	synctest.Wait()
	if have := b.daemon.story(); have != story {
		b.t.Errorf("%s: the daemon followed %q, want %q", what, have, story)
	}
}

func (b *bench) content(name string) string {
	content, err := os.ReadFile(b.path(name))
	if err != nil {
		return err.Error()
	}
	return string(content)
}

const keyTemplate = `{{ key "k" }}`

func TestAppliesAndRemembers(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		b.start()
		b.expect("absent key", "")
		if s := b.loop.State(); s.InSync || !strings.Contains(s.Waiting, "key k: absent since") {
			t.Errorf("state is %+v", s)
		}
		b.store.set("k", "one")
		b.expect("first value", "one")
		b.store.set("other", "x")
		b.expect("nothing that it uses", "one")
		b.store.set("k", "two")
		b.expect("second value", "one two")
		if s := b.loop.State(); !s.InSync || s.Waiting != "" || s.Err != nil {
			t.Errorf("state is %+v", s)
		}
		b.stop()

		b.start()
		b.expect("a restart", "one two")
		b.stop()

		if err := os.WriteFile(b.path("state/test.t.json"), []byte("corrupt"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.start()
		b.expect("a lost record", "one two two")
		b.stop()
	})
}

func TestFailingReloadIsTriedUntilItSucceeds(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		tries := 0
		b.daemon.follow = func(string) error {
			if tries++; tries < 4 {
				return errors.New("no")
			}
			return nil
		}
		b.store.set("k", "one")
		b.start()
		b.expect("after some tries", "one")
		if tries != 4 {
			t.Errorf("%d tries, want 4", tries)
		}

		// Committed, never followed, stopped: the next start goes on.
		b.daemon.set(func(o *obedient) { o.follow = func(string) error { return errors.New("no") } })
		b.store.set("k", "two")
		b.expect("failing", "one")
		if b.content("out") != "two" || b.loop.State().Err == nil {
			t.Errorf("on disk %q, state %+v", b.content("out"), b.loop.State())
		}
		b.stop()
		b.daemon.set(func(o *obedient) { o.follow = nil })
		b.start()
		b.expect("after the restart", "one two")
		b.stop()
	})
}

func TestGoingBackAfterAFailedReloadFollowsAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		b.store.set("k", "one")
		b.start()
		b.expect("first", "one")
		b.daemon.set(func(o *obedient) {
			o.follow = func(content string) error {
				if content == "two" {
					return errors.New("half applied")
				}
				return nil
			}
		})
		b.store.set("k", "two")
		b.expect("failing", "one")
		b.store.set("k", "one")
		b.expect("back", "one one")
		b.stop()
	})
}

func TestRefusedFilesAreNotCommitted(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		b.daemon.check = func(_ context.Context, content string) error {
			if content == "bad" {
				return fmt.Errorf("line 1: %w", reload.ErrRefused)
			}
			return nil
		}
		b.store.set("k", "good")
		b.start()
		b.expect("good", "good")
		b.store.set("k", "bad")
		b.expect("bad", "good")
		if b.content("out") != "good" || !errors.Is(b.loop.State().Err, reload.ErrRefused) {
			t.Errorf("on disk %q, state %+v", b.content("out"), b.loop.State())
		}
		if _, err := os.Stat(b.path(".out.pgbaton")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the refused file stays staged: %v", err)
		}
		b.store.set("k", "better")
		b.expect("better", "good better")
		b.stop()
	})
}

func TestNewerValueSupersedesAHangingCheck(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		b.daemon.check = func(ctx context.Context, content string) error {
			if content == "hangs" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		b.store.set("k", "hangs")
		b.start()
		b.expect("hanging", "")
		b.store.set("k", "newer")
		b.expect("newer", "newer")
		if s := b.loop.State(); !s.InSync || s.Err != nil {
			t.Errorf("being superseded counts as a failure: %+v", s)
		}
		b.stop()
	})
}

// TestConstantChangeDoesNotStarve changes a value faster than the daemon checks
// it.
func TestConstantChangeDoesNotStarve(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		b.daemon.check = func(ctx context.Context, _ string) error {
			select {
			case <-time.After(3 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		b.start()
		for i := range 60 {
			b.store.set("k", fmt.Sprint(i))
			time.Sleep(time.Second)
		}
		if n := strings.Count(b.daemon.story(), " "); n < 5 {
			t.Errorf("in a minute of changes the daemon followed %q", b.daemon.story())
		}
		time.Sleep(time.Minute)
		if !strings.HasSuffix(b.daemon.story(), " 59") {
			t.Errorf("in the end the daemon followed %q", b.daemon.story())
		}
		b.stop()
	})
}

func TestRefusedAtTheStartIsNotInSync(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		b.store.set("k", "one")
		b.start()
		b.expect("first", "one")
		b.stop()
		if err := os.WriteFile(b.path("out"), []byte("by hand"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.daemon.check = func(context.Context, string) error { return reload.ErrRefused }
		b.start()
		b.expect("refused", "one")
		if s := b.loop.State(); s.InSync || s.Err == nil {
			t.Errorf("the disk holds %q, and the state is %+v", b.content("out"), s)
		}
		b.stop()
	})
}

func TestBrokenEditKeepsTheOldTemplate(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, "")
		b.spec.Templates[0].Source = "/t.tmpl"
		b.store.set("k", "one")
		b.store.set("/t.tmpl", `a {{ key "k" }}`)
		b.start()
		b.expect("first", "a one")
		b.store.set("/t.tmpl", `b {{ kex "k" }}`)
		b.expect("broken", "a one")
		if err := b.loop.State().Err; err == nil || !strings.Contains(err.Error(), "t.tmpl:1:6") {
			t.Errorf("it does not say where it breaks: %v", err)
		}
		b.store.set("k", "two")
		b.expect("data goes on through the old template", "a one a two")
		b.store.set("/t.tmpl", `c {{ key "k" }}`)
		b.expect("mended", "a one a two c two")
		if s := b.loop.State(); !s.InSync || s.Err != nil {
			t.Errorf("state is %+v", s)
		}
		b.stop()
	})
}

func TestSeveralFilesAreOneSet(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		b.spec.Templates = append(b.spec.Templates, Template{
			Name: "second", Text: `{{ key "second" }}`, Destination: render.Destination{Path: b.path("out2")},
		})
		b.store.set("k", "one")
		b.start()
		b.expect("half of it", "")
		if _, err := os.Stat(b.path("out")); err == nil {
			t.Error("a part was written before the whole was complete")
		}
		b.store.set("second", "two")
		b.expect("whole", "one")
		b.stop()

		// Killed between its two renames: the start rolls forward.
		record, err := Records{Folder: state.Folder{Dir: b.path("state")}}.Load("test.t", []string{b.path("out"), b.path("out2")})
		if err != nil {
			t.Fatal(err)
		}
		set, err := render.Stage([]render.File{
			{Destination: render.Destination{Path: b.path("out")}, Content: []byte("three")},
			{Destination: render.Destination{Path: b.path("out2")}, Content: []byte("four")},
		})
		if err != nil {
			t.Fatal(err)
		}
		record.Pending = set.Pending()
		if err := (Records{Folder: state.Folder{Dir: b.path("state")}}).Save(record); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(set.Files[0].Temp, b.path("out")); err != nil {
			t.Fatal(err)
		}
		b.store.set("k", "three")
		b.store.set("second", "four")
		b.start()
		b.expect("rolled forward", "one three")
		if b.content("out2") != "four" {
			t.Errorf("out2 holds %q", b.content("out2"))
		}
		b.stop()
	})
}

func TestSettleHoldsChangesBack(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, keyTemplate)
		b.spec.Settle = Settle{Min: 10 * time.Second, Max: time.Minute}
		b.start()
		for _, v := range []string{"a", "b", "c"} {
			b.store.set("k", v)
			time.Sleep(5 * time.Second)
		}
		b.expect("three changes", "c")
		b.stop()
	})
}

func TestAskingForSomethingNewForEver(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		// Each value of the chain names the next key.
		b := newBench(t, dir, `{{ define "next" }}{{ $v := keyOrDefault . "" }}{{ if $v }}{{ template "next" $v }}{{ end }}{{ end }}{{ template "next" "k0" }}`)
		for i := range 300 {
			b.store.set(fmt.Sprintf("k%d", i), fmt.Sprintf("k%d", i+1))
		}
		b.start()
		b.expect("a chain without end", "")
		if err := b.loop.State().Err; err == nil || !strings.Contains(err.Error(), "asked for something new 100 times in a row") {
			t.Errorf("state is %+v", b.loop.State())
		}
		b.stop()
	})
}

// TestWaitingWhileOthersChange changes a name that is looked up many times
// while something else is absent.
func TestWaitingWhileOthersChange(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, `{{ key "absent" }} {{ keyOrDefault (key "name") "none" }}`)
		b.store.set("name", "n")
		b.start()
		for i := range 3 * maxPasses {
			b.store.set("name", fmt.Sprintf("n%d", i))
			time.Sleep(time.Second)
		}
		b.store.set("absent", "there")
		b.expect("in the end", "there none")
		b.stop()
	})
}

func TestSecondPgbatonIsRefused(t *testing.T) {
	records := Records{Folder: state.Folder{Dir: filepath.Join(t.TempDir(), "state")}}
	first, err := records.Lock("test.t")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := records.Lock("test.t"); err == nil || !strings.Contains(err.Error(), "another pgbaton has it") {
		t.Errorf("a second lock: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := records.Lock("test.t")
	if err != nil {
		t.Fatalf("after the first let go: %v", err)
	}
	_ = second.Close()
}

func TestOnce(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		once := func(b *bench) error {
			w := watcher.New(map[string]watcher.Store{watcher.Catalog: b.store}, hclog.NewNullLogger())
			loop := NewLoop(b.spec, w.Subscribe(), Records{Folder: state.Folder{Dir: b.path("state")}}, hclog.NewNullLogger(), nil)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			var running sync.WaitGroup
			running.Go(func() { _ = w.Run(ctx) })
			err := loop.Once(ctx)
			cancel()
			running.Wait()
			return err
		}
		b := newBench(t, dir, keyTemplate)
		var waiting *WaitingError
		if err := once(b); !errors.As(err, &waiting) || !strings.Contains(err.Error(), "test.t: waiting for key k: absent") {
			t.Errorf("with an absent key: %v", err)
		}
		b.store.set("k", "one")
		if err := once(b); err != nil || b.daemon.story() != "one" {
			t.Errorf("once: %v, followed %q", err, b.daemon.story())
		}
		if err := once(b); err != nil || b.daemon.story() != "one" {
			t.Errorf("once more: %v, followed %q", err, b.daemon.story())
		}
		b.daemon.follow = func(string) error { return errors.New("no") }
		b.store.set("k", "two")
		if err := once(b); err == nil || !strings.Contains(err.Error(), "reload: no") {
			t.Errorf("a failing reload: %v", err)
		}
	})
}

// TestSupersedes: what brings a leader is cancelled for another leader alone, be it that
// a replica lags meanwhile.
func TestSupersedes(t *testing.T) {
	one, two := map[string]string{"main": "pg1"}, map[string]string{"main": "pg2"}
	for _, tc := range []struct {
		name       string
		running    action
		superseded bool
		wanted     Wanted
		want       bool
	}{
		{"the same", action{do: Apply, hash: "a", leaders: one}, false, Wanted{Hash: "a", Leaders: one}, false},
		{"a newer value", action{do: Apply, hash: "a", leaders: one}, false, Wanted{Hash: "b", Leaders: one}, true},
		{"once more", action{do: Apply, hash: "a", leaders: one}, true, Wanted{Hash: "b", Leaders: one}, false},
		{"a leader", action{do: Apply, hash: "a", leaders: one}, true, Wanted{Hash: "b", Leaders: two}, true},
		{"a value, while a leader is brought", action{do: Apply, hash: "a", leaders: one, leads: true}, false, Wanted{Hash: "b", Leaders: one}, false},
		{"the next leader, while one is brought", action{do: Apply, hash: "a", leaders: one, leads: true}, false, Wanted{Hash: "b", Leaders: two}, true},
	} {
		l := Loop{superseded: tc.superseded}
		if got := l.supersedes(tc.wanted, &tc.running, Settle{}, time.Now()); got != tc.want {
			t.Errorf("%s: cancelled is %v", tc.name, got)
		}
	}
}
