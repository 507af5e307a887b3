package storm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// Settings of a run, from the environment.
var (
	stepsWanted = setting("PGBATON_STORM_STEPS", 24)
	seedWanted  = setting("PGBATON_STORM_SEED", 0) // 0: others at each run
)

func setting(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// stretch is how many steps a stage lasts: histories are read as a whole.
const stretch = 250

// TestStorm rages, and finds nothing. PGBATON_STORM_SEED=N repeats a schedule; what
// comes of it depends on the machine too, so the history is kept.
func TestStorm(t *testing.T) {
	seed := uint64(seedWanted) //nolint:gosec // not negative
	if seed == 0 {
		seed = 1 + rand.Uint64N(1_000_000)
	}
	var all tally
	begun := time.Now()
	// The first has all settings; what is left is for others, two at a time.
	t.Run("stretches", func(t *testing.T) {
		for left := stepsWanted; left > 0; left -= stretch {
			own, steps := seed, min(left, stretch)
			seed++
			t.Run(fmt.Sprint("seed ", own), func(t *testing.T) {
				if stepsWanted > stretch {
					t.Parallel()
				}
				h := rage(t, binary, own, steps, actions, func(History) bool { return false })
				all.add(h)
				judge(t, h)
			})
		}
	})
	t.Logf("%v in %v; injected %d times", &all, time.Since(begun).Round(time.Second), all.count(Did))
	publish(t, "storm", fmt.Sprintf("Seen with `make storm STEPS=%d` on %s: %v. The checker found %s.\n",
		stepsWanted, time.Now().UTC().Format(time.DateOnly), &all, map[bool]string{false: "nothing", true: "**something**"}[t.Failed()]))
}

// judge fails the test with what Check finds, and keeps the history then.
func judge(t *testing.T, h History) {
	t.Helper()
	var n tally
	n.add(h)
	t.Logf("seed %d: %v", h.Seed, &n)
	for _, k := range []Kind{Led, Row, Found, Checked, Loaded, Claimed, Paused, Settled} {
		if n.count(k) == 0 {
			t.Errorf("nothing was seen of the kind %q: a history of nothing breaks no promise", k)
		}
	}
	violations := Check(h)
	for _, v := range violations {
		t.Errorf("%s", v)
	}
	if len(violations) == 0 {
		return
	}
	path := filepath.Join(os.TempDir(), fmt.Sprintf("storm-%d.jsonl", h.Seed))
	f, err := os.Create(path) //nolint:gosec // it is to outlive the test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := h.Write(f); err != nil {
		t.Fatal(err)
	}
	t.Logf("the history is in %s", path)
}

// tally counts what was seen, by kind.
type tally struct {
	mu sync.Mutex
	n  map[Kind]int
}

func (a *tally) add(h History) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == nil {
		a.n = map[Kind]int{}
	}
	for _, e := range h.Events {
		if e.Kind != Did || !strings.HasSuffix(e.Note, mended) {
			a.n[e.Kind]++
		}
	}
}

func (a *tally) count(k Kind) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n[k]
}

func (a *tally) String() string {
	return fmt.Sprintf("%d faults, %d leaders, %d acknowledged rows, %d files found at their destinations, %d checks, %d loads, %d times said to follow, %d looks at the pooler, settled %d times",
		a.count(Did), a.count(Led), a.count(Row), a.count(Found), a.count(Checked), a.count(Loaded), a.count(Claimed), a.count(Paused), a.count(Settled))
}

// publish writes text between two marks of docs/reliability.md, if PGBATON_STORM_REPORT
// says so.
func publish(t *testing.T, mark, text string) {
	t.Helper()
	if os.Getenv("PGBATON_STORM_REPORT") == "" {
		return
	}
	page := filepath.Join(servertest.ModuleRoot(t), "docs", "reliability.md")
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(content), "<!-- "+mark+" -->\n")
	_, after, ends := strings.Cut(rest, "<!-- /"+mark+" -->")
	if !begins || !ends {
		t.Fatalf("docs/reliability.md has no place for %s", mark)
	}
	content = []byte(before + "<!-- " + mark + " -->\n\n" + text + "\n<!-- /" + mark + " -->" + after)
	if err := os.WriteFile(page, content, 0o644); err != nil { //nolint:gosec // a page of the docs
		t.Fatal(err)
	}
}

// rage runs a schedule of so many steps, and returns its history. It ends early when
// enough says so, which is asked whenever all has settled.
func rage(t *testing.T, binary string, seed uint64, steps int, from []action, enough func(History) bool) History {
	s := newStage(t, binary, seed)
	end := s.watch()
	defer func() {
		if end != nil {
			end()
		}
	}()
	s.settle()
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a schedule
	for done := 0; done < steps; {
		for range 8 {
			done += s.step(r, from, 2)
		}
		if !s.settle() {
			break // what comes after would be a consequence
		}
		if enough(s.soFar()) {
			break
		}
	}
	end()
	end = nil
	return s.history
}

// soFar is a copy of what was seen until now.
func (s *stage) soFar() History {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.history
	h.Events = slices.Clone(h.Events)
	return h
}

// mended ends what is noted when an action is over.
const mended = ": mended"

// step does one action, and by chance others before it is mended. It returns how
// many.
func (s *stage) step(r *rand.Rand, from []action, depth int) (n int) {
	a := from[r.IntN(len(from))]
	s.did("%s", a.name)
	mend := a.begin(s, r)
	n = 1
	s.wait(r, 150)
	if mend == nil {
		return n
	}
	if depth > 0 && r.IntN(4) > 0 {
		var sound []action
		for _, other := range from {
			if !shares(other.uses, a.hurts) && !shares(other.hurts, a.hurts) {
				sound = append(sound, other)
			}
		}
		n += s.step(r, sound, depth-1)
	} else {
		s.wait(r, 800)
	}
	s.did("%s"+mended, a.name)
	mend()
	return n
}

// shares says whether two lists of words have one in common.
func shares(a, b string) bool {
	for _, word := range strings.Fields(a) {
		if strings.Contains(" "+b+" ", " "+word+" ") {
			return true
		}
	}
	return false
}

// settleWithin is how long all may take to be as it should be, once all is mended.
const settleWithin = 40 * time.Second

// settle waits until everything is as it should be, and says whether it came to that.
func (s *stage) settle() bool {
	begun := s.now()
	var err error
	for s.now()-begun < settleWithin && s.t.Context().Err() == nil {
		if err = s.settled(begun); err == nil {
			s.note(Event{Kind: Settled, Is: true, Begun: begun})
			return true
		}
		pause(s.t.Context(), 20*time.Millisecond)
	}
	s.note(Event{Kind: Settled, Note: fmt.Sprintf("within %v: %v; pgbaton said last:\n%s", settleWithin, err, tailOf(s.daemon.Output())), Begun: begun})
	return false
}

// settled says what is not as it should be: the files, what the program has loaded,
// what is paused, and whether each client's rows go to the leader.
func (s *stage) settled(since time.Duration) error {
	port := fmt.Sprint(s.members[s.leader].Port)
	want := strings.Replace(s.source, "PORT", port, 1)
	for f, file := range s.history.Files {
		_, mode, err := found(s.file("etc/" + f))
		if err == nil && mode != file.Mode {
			err = fmt.Errorf("%s has mode %s, not %s", f, mode, file.Mode)
		}
		if err != nil {
			return err
		}
	}
	one, _, err := found(s.file("etc/one.conf"))
	if err == nil && one != want {
		err = fmt.Errorf("one.conf is %q, not %q", one, want)
	}
	if err != nil {
		return err
	}
	served, _ := os.ReadFile(s.file("served"))
	if string(served) != want+"agrees: port="+port+"\n." {
		return fmt.Errorf("the program has loaded %q", served)
	}
	ini, _, err := found(s.file("etc/pgbouncer.ini"))
	if err == nil && s.history.Files["pgbouncer.ini"].Leader(ini) != name(s.leader) {
		err = fmt.Errorf("pgbouncer.ini leads to %s, not %s", s.history.Files["pgbouncer.ini"].Leader(ini), name(s.leader))
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	for i, p := range s.progress {
		if p.begun < since || p.member != name(s.leader) {
			err = fmt.Errorf("client %d has written nothing to %s: the last was row %d, to %s at %v", i, name(s.leader), p.row, p.member, p.begun)
		}
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	conn, err := s.console(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	paused, err := databases(ctx, conn)
	if err == nil && (paused["app"] || paused["ops"]) {
		err = fmt.Errorf("still paused: %v", paused)
	}
	return err
}

// binary is the pgbaton under test.
var binary string

func TestMain(m *testing.M) { os.Exit(servertest.Main(m, &binary, "-race")) }
