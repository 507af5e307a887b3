package chaos

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// rounds is how often a test repeats its faults: once, unless `make chaos` asks
// for more.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("PGBATON_CHAOS_ROUNDS")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("PGBATON_CHAOS_ROUNDS is %q, not a number above 0", text)
	}
	return n
}

var (
	errAgain      = errors.New("a file that was right already was written again")
	errNoLeader   = errors.New("it has no leader key")
	errNotRefused = errors.New("nobody is refused")
)

// errorWith is an error, and what the program said.
func errorWith(err error, out []byte) error { return fmt.Errorf("%w\n%s", err, out) }

// changes are the lines of pgbaton's log by which it tells of a change.
func changes(log string) (lines []string) {
	for line := range strings.Lines(log) {
		if strings.Contains(line, "applied:") || strings.Contains(line, "rolling forward") {
			lines = append(lines, line)
		}
	}
	return lines
}
