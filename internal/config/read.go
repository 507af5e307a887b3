package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
)

func (l *loader) parse(path string) []*hcl.File {
	info, err := os.Stat(path)
	if err != nil {
		err = hint.Wrap(err, "name a config file or folder with -config")
		if errors.Is(err, fs.ErrPermission) {
			err = hint.Wrap(err, "let pgbaton's user read it")
		}
		l.add(Problem{File: path, Message: reason(err), Hint: hint.Of(err), Code: explain.ConfigUnreadable})
		return nil
	}
	paths := []string{path}
	if info.IsDir() {
		if paths = inFolder(path); len(paths) == 0 {
			l.add(Problem{File: path, Code: explain.ConfigMissing, Message: "the folder holds no *.hcl and no *.json", Hint: "name the file itself, or give its name one of these endings"})
		}
	}
	var files []*hcl.File
	for _, p := range paths {
		if file := l.parseFile(p); file != nil {
			files = append(files, file)
		}
	}
	return files
}

// Files are the files that a config is read from, given the files and folders that were
// named, in the order in which they count.
func Files(named []string) (files []string) {
	for _, path := range named {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			files = append(files, inFolder(path)...)
		} else {
			files = append(files, path)
		}
	}
	return files
}

// inFolder are the config files in a folder.
func inFolder(path string) (files []string) {
	entries, _ := os.ReadDir(path) // sorted by name
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".hcl" || ext == ".json") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	return files
}

// parseFile reads a file in HCL 2, native or JSON; or in HCL 1, if it has nothing
// that is pgbaton's own, or if HCL 2 can't read it.
func (l *loader) parseFile(path string) *hcl.File {
	text, err := readWhole(path)
	if err != nil {
		l.add(Problem{File: path, Message: reason(err), Hint: hint.Of(err), Code: explain.ConfigUnreadable})
		return nil
	}
	if !l.sane(path, text) {
		return nil
	}
	parse := l.parser.ParseHCL
	if filepath.Ext(path) == ".json" {
		parse = l.parser.ParseJSON
	}
	file, diags := parse(text, path)
	return l.readable(path, file, diags)
}

// What a config may come to, so that no file can take the memory of a pgbaton that
// runs, or its stack: the parsers descend with each bracket.
const (
	maxSize  = 16 << 20 // bytes of a file
	maxDepth = 500      // brackets that are open
)

// readWhole reads a file that is no larger than a config can be.
func readWhole(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = hint.Wrap(err, "let pgbaton's user read it")
		}
		return nil, err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err == nil && len(text) > maxSize {
		err = fmt.Errorf("it is larger than %d MiB", maxSize>>20)
	}
	return text, err
}

// sane says whether a text can be parsed at all. Brackets in texts count too: more
// than a few of those are closed there as well.
func (l *loader) sane(path string, text []byte) bool {
	depth := 0
	for i, c := range text {
		switch c {
		case '{', '[', '(':
			depth++
		case '}', ']', ')':
			depth = max(depth-1, 0)
		}
		if depth > maxDepth {
			before := text[:i]
			l.add(Problem{
				File: path, Code: explain.ConfigSyntax, Line: bytes.Count(before, []byte("\n")) + 1, Column: i - bytes.LastIndexByte(before, '\n'),
				Message: fmt.Sprintf("more than %d brackets are open here", maxDepth), Hint: "is this a config at all?",
			})
			return false
		}
	}
	return true
}

// parseExtra reads a config that is no file likewise.
func (l *loader) parseExtra(e Extra) *hcl.File {
	parse := l.parser.ParseHCL
	if !l.sane(e.Name, []byte(e.Text)) {
		return nil
	}
	if strings.HasPrefix(strings.TrimSpace(e.Text), "{") {
		parse = l.parser.ParseJSON
	}
	file, diags := parse([]byte(e.Text), e.Name)
	if e.Exact {
		l.diagnose(diags)
		return file
	}
	return l.readable(e.Name, file, diags)
}

// readable is a file as it was parsed, or else as HCL 1 has it.
func (l *loader) readable(path string, file *hcl.File, diags hcl.Diagnostics) *hcl.File {
	if file != nil && (diags.HasErrors() || !isOwn(file.Body) || computes(file.Body)) {
		if old, err := parseLegacy(path, file.Bytes); err == nil {
			return old
		}
	}
	l.diagnose(diags)
	return file
}

// reason is an error of a path without the path, which stands before it.
func reason(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// isOwn says whether a config has what only pgbaton's have.
func isOwn(body hcl.Body) bool {
	content, _, diags := body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
		{Type: "target", LabelNames: []string{"kind", "name"}}, {Type: "cluster", LabelNames: []string{"kind", "name"}}, {Type: "file"},
	}})
	return len(content.Blocks) > 0 || diags.HasErrors()
}

// computes says whether values of a body are more than they say, which no config
// of pgbaton's is: then what looks like an expression is plain text.
func computes(body hcl.Body) bool {
	b, native := body.(*hclsyntax.Body)
	if !native {
		return false
	}
	for _, a := range b.Attributes {
		if !isPlain(a.Expr) {
			return true
		}
	}
	return slices.ContainsFunc(b.Blocks, func(block *hclsyntax.Block) bool { return computes(block.Body) })
}

// isPlain says whether an expression is what it says: nothing is evaluated to
// tell.
func isPlain(e hclsyntax.Expression) bool {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		return true
	case *hclsyntax.UnaryOpExpr: // -1
		return isPlain(e.Val)
	case *hclsyntax.TemplateExpr:
		return !slices.ContainsFunc(e.Parts, func(part hclsyntax.Expression) bool { return !isPlain(part) })
	case *hclsyntax.TupleConsExpr:
		return !slices.ContainsFunc(e.Exprs, func(element hclsyntax.Expression) bool { return !isPlain(element) })
	case *hclsyntax.ObjectConsExpr:
		return !slices.ContainsFunc(e.Items, func(item hclsyntax.ObjectConsItem) bool { return !isPlain(item.ValueExpr) })
	}
	return false
}

func firstOf(paths []string, extra []Extra) string {
	if len(paths) > 0 {
		return paths[0]
	}
	return extra[0].Name
}
