//go:build amd64 && chaos

package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestChaos injects every fault of the catalogue, as often as PGBATON_CHAOS_ROUNDS
// says, and writes what held into docs/reliability.md.
func TestChaos(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, "Seen with `make chaos ROUNDS=%s` on %s: PostgreSQL, Patroni, PgBouncer and HAProxy of Debian 12, Consul 1.22.7.\n", os.Getenv("PGBATON_CHAOS_ROUNDS"), time.Now().UTC().Format(time.DateOnly))
	faults := 0
	for _, g := range Catalogue {
		fmt.Fprintf(&b, "\n**%s**\n\n| fault | injected by | what has to hold | times | held |\n|---|---|---|---|---|\n", g.Name)
		for _, f := range g.Faults {
			t.Run(f.Name, func(t *testing.T) {
				n, held := f.inject(t)
				faults += n
				fmt.Fprintf(&b, "| %s | %s | %s | %d | %s |\n", f.Name, f.Inject, f.Holds, n, map[bool]string{true: "yes", false: "**no**"}[held])
			})
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

// injected is the line by which a test says how often.
var injected = regexp.MustCompile(`injected (\d+) times`)

// inject runs the fault's test. How often it was injected is what the test says, or
// how many of its innermost tests passed.
func (f Fault) inject(t *testing.T) (times int, held bool) {
	t.Helper()
	cmd := exec.Command("go", "test", "-json", "-count=1", "-timeout", "60m", "-run", f.Test, "./"+f.Package)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	said, leaves := 0, map[string]bool{}
	for line := range bytes.Lines(out) {
		var e struct{ Action, Test, Output string }
		if json.Unmarshal(line, &e) != nil || e.Test == "" {
			continue
		}
		switch {
		case e.Action == "pass":
			if _, parent := leaves[e.Test]; !parent { // its subtests came to their end before
				leaves[e.Test] = true
			}
			for parent := e.Test; strings.Contains(parent, "/"); {
				parent = parent[:strings.LastIndex(parent, "/")]
				leaves[parent] = false
			}
		case e.Action == "output":
			if m := injected.FindStringSubmatch(e.Output); m != nil {
				n, _ := strconv.Atoi(m[1])
				said += n
			}
		}
	}
	if said == 0 {
		for _, leaf := range leaves {
			if leaf {
				said++
			}
		}
	}
	if err != nil || said == 0 {
		t.Errorf("%s in %s: %v\n%s", f.Test, f.Package, err, out)
	}
	return said, err == nil && said > 0
}
