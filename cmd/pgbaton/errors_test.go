package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/explain"
)

// docs/errors.md is made of the table of codes; -update writes it anew.
func TestDocsErrors(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Errors\n\nEach thing that can go wrong has a code that never changes. It stands in brackets behind an error, as `code=` in the log, and as `code` in the\n" +
		"[status](operations.md#the-format). `pgbaton explain CODE` says what stands here. `go test ./cmd/pgbaton -run TestDocsErrors -update` writes this page.\n")
	for _, e := range explain.Entries {
		b.WriteString("\n## " + e.Code + ": " + e.Slug + "\n\n**" + e.Title + ".** " + e.Meaning + "\n\n" +
			"Meanwhile: " + e.Doing + "\n\nWhat to do: " + e.Remedy + "\n")
	}
	const path = "../../docs/errors.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != b.String() {
		t.Errorf("docs/errors.md is not the table's (%v): go test ./cmd/pgbaton -run TestDocsErrors -update writes it anew", err)
	}
}

// Each code is declared once, is in the table once, in order, and is used by the code.
func TestCodes(t *testing.T) {
	parsed, err := parser.ParseFile(token.NewFileSet(), "../../internal/explain/table.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{} // by code
	ast.Inspect(parsed, func(n ast.Node) bool {
		if spec, is := n.(*ast.ValueSpec); is && len(spec.Values) == 1 {
			if lit, is := spec.Values[0].(*ast.BasicLit); is {
				code, _ := strconv.Unquote(lit.Value)
				if other, taken := names[code]; taken {
					t.Errorf("%s is both %s and %s", code, other, spec.Names[0].Name)
				}
				names[code] = spec.Names[0].Name
			}
		}
		return true
	})
	slugs, last := map[string]bool{}, ""
	for _, e := range explain.Entries {
		if names[e.Code] == "" || e.Code <= last || !regexp.MustCompile(`^PGB\d{3}$`).MatchString(e.Code) {
			t.Errorf("%s is not declared, is no code, or stands behind a higher one", e.Code)
		}
		if slugs[e.Slug] || !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(e.Slug) {
			t.Errorf("%s: the slug %q is there twice, or is none", e.Code, e.Slug)
		}
		if e.Title == "" || e.Meaning == "" || e.Doing == "" || e.Remedy == "" {
			t.Errorf("%s does not say all", e.Code)
		}
		slugs[e.Slug], last = true, e.Code
	}
	if len(names) != len(explain.Entries) || len(names) < 30 {
		t.Errorf("%d codes are declared, %d are in the table", len(names), len(explain.Entries))
	}
	var source strings.Builder
	err = filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && len(entry.Name()) > 2 {
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "internal/explain/") {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for code, name := range names {
		if !regexp.MustCompile(`explain\.` + name + `\b`).MatchString(source.String()) {
			t.Errorf("nothing uses %s, %s", code, name)
		}
	}
}
