//go:build amd64

package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCatalogue: each fault names a test that is there, and the docs have its row.
func TestCatalogue(t *testing.T) {
	page, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range Catalogue {
		for _, f := range g.Faults {
			name, _, _ := strings.Cut(strings.Trim(f.Test, "^$"), "$")
			if !hasTest(t, "../../"+f.Package, name) {
				t.Errorf("%s: %s has no test %s", f.Name, f.Package, name)
			}
			if !strings.Contains(string(page), "\n| "+f.Name+" | ") {
				t.Errorf("docs/reliability.md has no row for %q: make chaos", f.Name)
			}
		}
	}
}

// hasTest says whether a package's sources have a test of that name.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		source, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"(t *testing.T) {", "(f *testing.F) {"} {
			if strings.Contains(string(source), "\nfunc "+name+kind) {
				return true
			}
		}
	}
	return false
}
