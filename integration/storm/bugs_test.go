package storm

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestBugsCanBePlanted compiles all of them, as many at once as go together: a bug
// that can't be planted any more has to follow the code.
func TestBugsCanBePlanted(t *testing.T) {
	known := map[string]bool{}
	for _, a := range actions {
		known[a.name] = true
	}
	for _, b := range Bugs {
		if _, err := Overlay(servertest.ModuleRoot(t), t.TempDir(), b.Edits); err != nil {
			t.Errorf("%s: %v", b.Name, err)
		}
		for _, s := range b.Stirs {
			if !known[s] {
				t.Errorf("%q names no action %q", b.Name, s)
			}
		}
	}
	for left := Bugs; len(left) > 0 && !t.Failed(); {
		var edits []Edit
		var others []Bug
		for _, b := range left {
			both := slices.Concat(edits, b.Edits)
			if _, err := Overlay(servertest.ModuleRoot(t), t.TempDir(), both); err != nil {
				others = append(others, b)
				continue
			}
			edits = both
		}
		if err := servertest.Build(os.DevNull, "-overlay", overlay(t, edits)); err != nil {
			t.Error(err)
		}
		left = others
	}
}

// overlay is a file for go build's -overlay that plants bugs.
func overlay(t *testing.T, edits []Edit) string {
	t.Helper()
	dir := t.TempDir()
	replace, err := Overlay(servertest.ModuleRoot(t), dir, edits)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	return servertest.File(t, filepath.Join(dir, "overlay.json"), string(text), 0o600)
}

// plant builds a pgbaton with a bug.
func plant(t *testing.T, b Bug) (program string) {
	t.Helper()
	program = filepath.Join(servertest.PostgresDir(t), "pgbaton")
	if err := servertest.Build(program, "-overlay", overlay(t, b.Edits)); err != nil {
		t.Fatal(err)
	}
	return program
}

// TestPlantedBugs lets a storm rage over a pgbaton with a bug, and over the next,
// until each is found. Which of them: PGBATON_STORM_BUGS, all or a part of a name;
// one that is found soon unless it is set.
func TestPlantedBugs(t *testing.T) {
	which := cmp.Or(os.Getenv("PGBATON_STORM_BUGS"), "no check is run")
	rows := make([]string, len(Bugs))
	t.Run("all", func(t *testing.T) {
		for i, b := range Bugs {
			if which == "all" || strings.Contains(b.Name, which) {
				t.Run(b.Name, func(t *testing.T) {
					t.Parallel()
					rows[i] = find(t, b)
				})
			}
		}
	})
	if which == "all" {
		publish(t, "bugs", "| bug | found after | as |\n|---|---|---|\n"+strings.Join(rows, ""))
	}
}

// find lets a storm rage over a bug until it is found, and returns a row of the table.
func find(t *testing.T, b Bug) (row string) {
	t.Helper()
	program := plant(t, b)
	stirred := slices.Clone(actions)
	for _, a := range actions {
		if slices.Contains(b.Stirs, a.name) {
			stirred = append(stirred, slices.Repeat([]action{a}, len(actions))...)
		}
	}
	h := rage(t, program, 1, 200, stirred, func(h History) bool { return len(Check(h)) > 0 })
	var n tally
	n.add(h)
	found := Check(h)
	if len(found) == 0 {
		t.Fatalf("it was not found among %d faults", n.count(Did))
	}
	t.Logf("found after %d faults: %s", n.count(Did), found[0])
	return fmt.Sprintf("| %s | %d faults | %s |\n", b.Name, n.count(Did), found[0].Rule)
}
