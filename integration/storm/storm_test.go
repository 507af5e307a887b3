package storm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// Settings of a run, from the environment.
var (
	stepsWanted = setting("PGBATON_STORM_STEPS", 60)
	seedWanted  = setting("PGBATON_STORM_SEED", 0) // 0: another at each run
)

func setting(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// TestStorm rages, and finds nothing. `PGBATON_STORM_SEED=N` repeats a schedule;
// what comes of it depends on the machine too, so the history is kept.
func TestStorm(t *testing.T) {
	seed := uint64(seedWanted)
	if seed == 0 {
		seed = rand.Uint64N(1_000_000)
	}
	h := rage(t, binary, seed, stepsWanted, func(History) bool { return false })
	report(t, h)
	violations := Check(h)
	for _, v := range violations {
		t.Errorf("%s", v)
	}
	if len(violations) > 0 {
		path := filepath.Join(os.TempDir(), fmt.Sprintf("storm-%d.jsonl", seed))
		if f, err := os.Create(path); err == nil { //nolint:gosec // it is to outlive the test
			_ = h.Write(f)
			_ = f.Close()
			t.Logf("the history is in %s", path)
		}
	}
}

// report says how much was seen: a history of nothing breaks no promise.
func report(t *testing.T, h History) {
	t.Helper()
	n := map[Kind]int{}
	for _, e := range h.Events {
		n[e.Kind]++
	}
	t.Logf("seed %d: %d things done, %d terms, %d rows, %d files found, %d checked, %d loaded, %d claims, %d looks at the pooler, settled %d times",
		h.Seed, n[Did], n[Led], n[Row], n[Found], n[Checked], n[Loaded], n[Claimed], n[Paused], n[Settled])
	for _, k := range []Kind{Led, Row, Found, Checked, Loaded, Claimed, Paused, Settled} {
		if n[k] == 0 {
			t.Errorf("nothing was seen of the kind %q", k)
		}
	}
}

// rage runs a schedule of so many steps, and returns its history. It ends early when
// enough says so, which is asked whenever all has settled.
func rage(t *testing.T, binary string, seed uint64, steps int, enough func(History) bool) History {
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
			done += s.step(r, actions, 2)
		}
		if !s.settle() {
			break // what comes after would be a consequence
		}
		if enough(s.history) {
			break
		}
	}
	end()
	end = nil
	return s.history
}

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
	s.did("%s: mended", a.name)
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
	s.note(Event{Kind: Settled, Note: fmt.Sprintf("within %v: %v", settleWithin, err), Begun: begun})
	return false
}

// settled says what is not as it should be: the files, what the program has loaded,
// what is paused, and whether each client's rows go to the leader.
func (s *stage) settled(since time.Duration) error {
	port := fmt.Sprint(s.members[s.leader].Port)
	want := strings.Replace(s.source, "PORT", port, 1)
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
