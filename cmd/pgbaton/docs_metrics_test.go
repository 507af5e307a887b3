package main

import (
	"os"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/metrics"
)

// The table of docs/metrics.md is what pgbaton shows; -update writes it anew.
func TestDocsMetrics(t *testing.T) {
	const path = "../../docs/metrics.md"
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "\n| metric | type | labels | meaning |\n|---|---|---|---|\n"
	for _, m := range metrics.All() {
		labels := "none"
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
		}
		want += "| `" + m.Name + "` | " + m.Type + " | " + labels + " | " + m.Help + " |\n"
	}
	before, rest, found := strings.Cut(string(content), "<!-- metrics -->\n")
	have, after, closed := strings.Cut(rest, "\n<!-- end -->")
	switch {
	case !found || !closed:
		t.Fatal("there is no table between <!-- metrics --> and <!-- end -->")
	case *update:
		if err := os.WriteFile(path, []byte(before+"<!-- metrics -->\n"+want+"\n<!-- end -->"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case have != want:
		t.Error("the table is not what pgbaton shows; go test ./cmd/pgbaton -run TestDocsMetrics -update writes it anew")
	}
}
