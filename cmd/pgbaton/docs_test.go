package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/watcher/file"
)

// doc is one Markdown file of the repository.
type doc struct {
	path     string // from the repository's top
	text     string
	snippets []snippet
	tables   []table
}

// snippet is a fenced block: ```LANG INFO.
type snippet struct {
	line             int
	lang, info, text string
}

// table is a table with the last heading above it.
type table struct {
	heading string
	header  []string
	rows    [][]string
}

// docs reads every Markdown file that is documentation.
func docs(t *testing.T) map[string]doc {
	t.Helper()
	all := map[string]doc{}
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*/README.md"} {
		paths, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: no documentation there: %v", pattern, err)
		}
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			path = strings.TrimPrefix(filepath.ToSlash(path), "../../")
			all[path] = parseDoc(path, string(content))
		}
	}
	return all
}

func parseDoc(path, text string) doc {
	d := doc{path: path, text: text}
	heading, inTable := "", false
	var open *snippet
	for i, line := range strings.Split(text, "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			lang, info, _ := strings.Cut(fence, " ")
			open = &snippet{line: i + 1, lang: lang, info: info}
		case isFence:
			d.snippets = append(d.snippets, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		case strings.HasPrefix(line, "|") && !inTable:
			d.tables = append(d.tables, table{heading: heading, header: cells(line)})
		case strings.HasPrefix(line, "|---"):
		case strings.HasPrefix(line, "|"):
			last := &d.tables[len(d.tables)-1]
			last.rows = append(last.rows, cells(line))
		}
		inTable = open == nil && strings.HasPrefix(line, "|")
	}
	return d
}

// cells splits a row at its bars; \| is a bar within a cell.
func cells(row string) []string {
	const bar = "\x00"
	row = strings.Trim(strings.ReplaceAll(row, `\|`, bar), "|")
	out := strings.Split(row, "|")
	for i := range out {
		out[i] = strings.TrimSpace(strings.ReplaceAll(out[i], bar, "|"))
	}
	return out
}

// code is what stands in a cell between backticks.
func code(cell string) string { return strings.TrimSuffix(strings.TrimPrefix(cell, "`"), "`") }

// codes are all texts between backticks in a cell.
func codes(cell string) []string {
	var out []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
		out = append(out, m[1])
	}
	return out
}

// sameNames compares two sets of names.
func sameNames(t *testing.T, what string, documented, real []string) {
	t.Helper()
	for _, name := range real {
		if !slices.Contains(documented, name) {
			t.Errorf("%s: %s is not documented", what, name)
		}
	}
	for _, name := range documented {
		if !slices.Contains(real, name) {
			t.Errorf("%s: %s is documented, and does not exist", what, name)
		}
	}
}

// Every config, state file and template of the documentation is a good one.
func TestDocsSnippets(t *testing.T) {
	for path, d := range docs(t) {
		for _, s := range d.snippets {
			t.Run(path+":"+strconv.Itoa(s.line), func(t *testing.T) {
				switch s.lang {
				case "hcl", "json":
					loadSnippet(t, s)
				case "yaml":
					if _, err := file.ParseCatalog([]byte(s.text)); err != nil {
						t.Error(err)
					}
				case "gotemplate":
					if _, err := render.Parse("snippet", s.text, render.Rules{}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

// loadSnippet loads a config as the verbs do. A part of a target says so, as in
// ```hcl in target exec; a config without a target gets one.
func loadSnippet(t *testing.T, s snippet) {
	t.Helper()
	const template = "template {\ncontents = \"x\"\ndestination = \"x\"\n}\n"
	text := s.text
	if kind, ok := strings.CutPrefix(s.info, "in target "); ok {
		if !strings.Contains(text, "template {") {
			text = template + text
		}
		text = "target \"" + kind + "\" \"x\" {\n" + text + "}\n"
	} else if s.lang == "hcl" && !strings.Contains(text, "target ") {
		text += "target \"exec\" \"x\" {\n" + template + "command = [\"true\"]\n}\n"
	}
	path := filepath.Join(t.TempDir(), "snippet."+s.lang)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, problems := load(sources{paths: []string{path}}); len(problems) > 0 {
		t.Error(problems)
	}
}

func TestDocsLinks(t *testing.T) {
	for path, d := range docs(t) {
		for _, m := range regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`).FindAllStringSubmatch(d.text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join("../..", filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s: link to %s: %v", path, m[1], err)
			}
		}
	}
}

// The README's exit codes are those of main.go, its make targets exist.
func TestDocsReadme(t *testing.T) {
	readme := docs(t)["README.md"]
	documented := map[string][]string{}
	for _, table := range readme.tables {
		for _, row := range table.rows {
			documented[table.header[0]] = append(documented[table.header[0]], strings.Fields(code(row[0]))[0])
		}
	}
	sameNames(t, "verbs", documented["verb"], verbs(t))
	sameNames(t, "exit codes", documented["exit code"], exitCodes(t))

	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z]+)").FindAllStringSubmatch(readme.text, -1) {
		if !strings.Contains(string(makefile), "\n"+m[1]+":") {
			t.Errorf("README has make %s, the Makefile has not", m[1])
		}
	}
}

// exitCodes reads the constants out of main.go.
func exitCodes(t *testing.T) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), "main.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "exit") && len(spec.Values) == 1 {
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
				out = append(out, lit.Value)
			}
		}
		return true
	})
	return out
}
