//go:build amd64 && chaos

package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestChaos injects every fault of the catalogue, as often as PGBATON_CHAOS_ROUNDS
// says, and writes what held into docs/reliability.md.
func TestChaos(t *testing.T) {
	seen := runs{}
	for pkg, tests := range testsByPackage() {
		seen.run(t, pkg, tests)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Seen with `make chaos ROUNDS=%s` on %s: PostgreSQL, Patroni, PgBouncer and HAProxy of Debian 12, Consul 1.22.7.\n", os.Getenv("PGBATON_CHAOS_ROUNDS"), time.Now().UTC().Format(time.DateOnly))
	faults := 0
	for _, g := range Catalogue {
		fmt.Fprintf(&b, "\n**%s**\n\n| fault | injected by | what has to hold | times | held |\n|---|---|---|---|---|\n", g.Name)
		for _, f := range g.Faults {
			n, held := seen.of(f)
			faults += n
			if !held {
				t.Errorf("%s: %s in %s did not pass", f.Name, f.Test, f.Package)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %d | %s |\n", f.Name, f.Inject, f.Holds, n, map[bool]string{true: "yes", false: "**no**"}[held])
		}
	}
	fmt.Fprintf(&b, "\n%d faults in all.\n", faults)
	const page = "../../docs/reliability.md"
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(content), "<!-- chaos -->\n")
	_, after, ends := strings.Cut(rest, "<!-- /chaos -->")
	if !found || !ends {
		t.Fatal("docs/reliability.md has no place for the table")
	}
	text := before + "<!-- chaos -->\n\n" + b.String() + "\n<!-- /chaos -->" + after
	if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// testsByPackage are the tests, without their subtests, that the catalogue names.
func testsByPackage() map[string][]string {
	all := map[string][]string{}
	for _, g := range Catalogue {
		for _, f := range g.Faults {
			test, _, _ := strings.Cut(f.Test, "/")
			if !slices.Contains(all[f.Package], test) {
				all[f.Package] = append(all[f.Package], test)
			}
		}
	}
	return all
}

// runs are what became of tests, by package and name.
type runs map[[2]string]*outcome

// outcome is what became of one test.
type outcome struct {
	action string // the last: pass, fail, skip
	times  int    // how often it says that it injected its fault
}

// injected is the line by which a test says how often.
var injected = regexp.MustCompile(`injected (\d+) times`)

// run runs tests of a package once: those that share servers start them once.
func (r runs) run(t *testing.T, pkg string, tests []string) {
	t.Helper()
	cmd := exec.Command("go", "test", "-json", "-count=1", "-timeout", "120m", "-run", strings.Join(tests, "|"), "./"+pkg)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	for line := range bytes.Lines(out) {
		var e struct{ Action, Test, Output string }
		if json.Unmarshal(line, &e) != nil || e.Test == "" {
			continue
		}
		o := r[[2]string{pkg, e.Test}]
		if o == nil {
			o = &outcome{}
			r[[2]string{pkg, e.Test}] = o
		}
		switch e.Action {
		case "pass", "fail", "skip":
			o.action = e.Action
		case "output":
			if m := injected.FindStringSubmatch(e.Output); m != nil {
				n, _ := strconv.Atoi(m[1])
				o.times += n
			}
		}
	}
	if err != nil {
		t.Errorf("%s: %v\n%s", pkg, err, out)
	}
}

// of says how often a fault was injected, which is what its tests say, or how many
// of the innermost passed; and whether all of them did.
func (r runs) of(f Fault) (times int, held bool) {
	said, leaves := 0, 0
	held = true
	for at, o := range r {
		if at[0] != f.Package || !f.selects(at[1]) {
			continue
		}
		held = held && o.action == "pass"
		said += o.times
		inner := false
		for other := range r {
			inner = inner || other[0] == at[0] && strings.HasPrefix(other[1], at[1]+"/")
		}
		if !inner {
			leaves++
		}
	}
	if said == 0 {
		said = leaves
	}
	return said, held && said > 0
}

// selects says whether -run would select a test for a fault, beside those that only
// lead to it.
func (f Fault) selects(test string) bool {
	patterns, names := strings.Split(f.Test, "/"), strings.Split(test, "/")
	if len(names) < len(patterns) {
		return false
	}
	for i, p := range patterns {
		if !regexp.MustCompile(p).MatchString(names[i]) {
			return false
		}
	}
	return true
}
