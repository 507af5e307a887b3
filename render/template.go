package render

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"text/template"
	"text/template/parse"
	"unicode/utf8"

	"github.com/agext/levenshtein"
	"github.com/ryanuber/go-glob"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/render/funcs"
)

// Delims are the delimiters of actions; empty ones are {{ and }}.
type Delims struct{ Left, Right string }

// Rules are how a template is read and run. The zero Rules are pgbaton's own.
type Rules struct {
	Delims Delims

	MissingKeys bool     // a key that a map has not is "<no value>", not an error
	Relative    bool     // paths may begin at the working directory
	Denied      []string // functions that fail when they are called; * in a name stands for anything
	Sandbox     string   // the folder outside of which no file is read or written; "" is none
}

// Template is a parsed template. It is parsed once and executed many times,
// one execution at a time.
type Template struct {
	name  string
	text  string
	tree  *template.Template
	world *funcs.World // what the functions of the running execution see
	tick  func() error // interrupts the running execution
	rules Rules
	depth int // of templates that execute templates by name
	calls map[string]*calls
}

// calls are the first arguments that a function is called with.
type calls struct {
	texts   []string
	places  []parse.Pos // of texts
	unknown bool        // some are not written out
}

// tickName is the function that Parse puts into each loop and each definition,
// so that one without an end can be ended.
const tickName = "pgbatonTick"

// Parse parses text. name is what errors call it: its path, or that it came
// from the config.
func Parse(name, text string, r Rules) (*Template, error) {
	if !utf8.ValidString(text) {
		line, col := position(text, invalidAt(text))
		e := &Error{Name: name, Msg: "not valid UTF-8", parsing: true}
		e.at(text, line)
		e.Column, e.Text = col, strings.ToValidUTF8(e.Text, "\uFFFD")
		return nil, hint.Wrap(e, "save the template as UTF-8")
	}
	trees, err := parse.Parse(name, text, r.Delims.Left, r.Delims.Right, known())
	if err != nil {
		return nil, parseError(name, text, err)
	}
	t := &Template{name: name, text: text, rules: r, world: &funcs.World{}, calls: map[string]*calls{}, tick: func() error { return nil }}
	used := map[string]bool{}
	for _, tree := range trees {
		tree.Root.Nodes = slices.Insert(tree.Root.Nodes, 0, tick()) // for templates that call themselves
		walk(tree.Root, func(n parse.Node) {
			switch n := n.(type) {
			case *parse.RangeNode:
				n.List.Nodes = slices.Insert(n.List.Nodes, 0, tick())
			case *parse.CommandNode:
				t.note(n)
			case *parse.IdentifierNode:
				used[n.Ident] = true
			}
		})
	}
	missing := "missingkey=error"
	if r.MissingKeys {
		missing = "missingkey=zero"
	}
	t.tree = template.New(name).Option(missing).Funcs(t.bind(used))
	for part, tree := range trees {
		if _, err := t.tree.AddParseTree(part, tree); err != nil {
			return nil, parseError(name, text, err)
		}
	}
	return t, nil
}

// bind returns the functions that are used, bound to this template's world.
// All of them would be some hundred kilobytes for each template.
func (t *Template) bind(used map[string]bool) template.FuncMap {
	m := template.FuncMap{tickName: func() (string, error) { return "", t.tick() }}
	for name, fn := range funcs.Map(t.world) {
		if used[name] {
			m[name] = fn
		}
		for _, denied := range t.rules.Denied {
			if used[name] && (glob.Glob(denied, name) || slices.ContainsFunc(funcs.Aliases(name), func(a string) bool { return glob.Glob(denied, a) })) {
				m[name] = func(...any) (string, error) { return "", fmt.Errorf("%s is disabled by function_denylist", name) }
			}
		}
	}
	return m
}

// maxDepth is how deep templates may execute each other by name.
const maxDepth = 1000

// define executes a template that this one defines.
func (t *Template) define(name string, data any) (string, error) {
	if t.depth++; t.depth > maxDepth {
		return "", fmt.Errorf("executeTemplate %s: %d templates deep", name, maxDepth)
	}
	defer func() { t.depth-- }()
	var out Capped
	err := t.tree.ExecuteTemplate(&out, name, data)
	return out.String(), err
}

// known are the names of all functions, for the parser: it looks at no more.
var known = sync.OnceValue(func() map[string]any {
	m := map[string]any{tickName: true}
	for _, name := range funcs.Names() {
		m[name] = true
	}
	for _, builtin := range []string{
		"and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or",
		"print", "printf", "println", "slice", "urlquery",
	} {
		m[builtin] = true
	}
	return m
})

// tick makes the node that calls the function which ends endless loops.
func tick() parse.Node {
	trees, err := parse.Parse("", "{{"+tickName+"}}", "", "", map[string]any{tickName: true})
	if err != nil {
		panic(err) // it is a constant
	}
	return trees[""].Root.Nodes[0]
}

// Calls lists the first arguments with which the template calls a function: the
// vars that it may ask for, the clusters that it uses. all is false if some are
// not written out.
func (t *Template) Calls(function string) (texts []string, all bool) {
	c := t.calls[function]
	if c == nil {
		return nil, true
	}
	return c.texts, !c.unknown
}

// Mistaken is an error about the first argument with which the template calls a function,
// where it does so first.
func (t *Template) Mistaken(function, text, format string, args ...any) *Error {
	e := &Error{Name: t.name, Msg: fmt.Sprintf(format, args...)}
	c := t.calls[function]
	if c == nil || !slices.Contains(c.texts, text) {
		return e
	}
	line, column := position(t.text, int(c.places[slices.Index(c.texts, text)]))
	e.at(t.text, line)
	e.Column = 1 + utf8.RuneCountInString(e.Text[:min(column-1, len(e.Text))])
	return e
}

func (t *Template) note(n *parse.CommandNode) {
	fn, isName := n.Args[0].(*parse.IdentifierNode)
	if !isName {
		return
	}
	c := t.calls[fn.Ident]
	if c == nil {
		c = &calls{}
		t.calls[fn.Ident] = c
	}
	if len(n.Args) > 1 {
		if arg, isText := n.Args[1].(*parse.StringNode); isText {
			if !slices.Contains(c.texts, arg.Text) {
				c.texts, c.places = append(c.texts, arg.Text), append(c.places, arg.Pos)
			}
			return
		}
	}
	c.unknown = true
}

// walk visits n and every node below it.
func walk(n parse.Node, visit func(parse.Node)) {
	branch := func(b *parse.BranchNode) {
		walk(b.Pipe, visit)
		walk(b.List, visit)
		if b.ElseList != nil {
			walk(b.ElseList, visit)
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, child := range n.Nodes {
				walk(child, visit)
			}
		}
	case *parse.ActionNode:
		walk(n.Pipe, visit)
	case *parse.PipeNode:
		if n != nil {
			for _, c := range n.Cmds {
				walk(c, visit)
			}
		}
	case *parse.CommandNode:
		visit(n)
		for _, arg := range n.Args {
			walk(arg, visit)
		}
	case *parse.IdentifierNode:
		visit(n)
	case *parse.ChainNode:
		walk(n.Node, visit)
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
		visit(n)
	case *parse.TemplateNode:
		walk(n.Pipe, visit)
	}
}

func invalidAt(text string) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(text)
}

func position(text string, offset int) (line, column int) {
	before := text[:offset]
	return 1 + strings.Count(before, "\n"), offset - strings.LastIndexByte(before, '\n')
}

// Error is a mistake in a template, with its place.
type Error struct {
	Name   string
	Line   int    // from 1; 0 if unknown
	Column int    // from 1, in characters; 0 if unknown
	Msg    string // what is wrong
	Text   string // the offending line; "" if unknown
	Err    error  // the cause, if there is one

	parsing bool // it is in the text, whatever the data
}

// Code is explain's.
func (e *Error) Code() string {
	if e.parsing {
		return explain.TemplateSyntax
	}
	return explain.TemplateExecution
}

func (e *Error) Error() string {
	switch {
	case e.Line == 0:
		return e.Name + ": " + e.Msg
	case e.Column == 0:
		return fmt.Sprintf("%s:%d: %s", e.Name, e.Line, e.Msg)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.Name, e.Line, e.Column, e.Msg)
}

func (e *Error) Unwrap() error { return e.Err }

// placed turns "template: NAME:LINE:COL: message" into an Error.
func placed(name, text string, err error) *Error {
	e := &Error{Name: name, Err: err}
	rest, ok := strings.CutPrefix(err.Error(), "template: "+name+":")
	if !ok {
		e.Msg = strings.TrimPrefix(err.Error(), "template: ")
		return e
	}
	var line, col int
	if n, _ := fmt.Sscanf(rest, "%d:%d:", &line, &col); n == 2 {
		rest = strings.SplitN(rest, ":", 3)[2]
		e.Line, e.Column = line, col+1 // text/template counts columns from 0, and in bytes
	} else if n, _ := fmt.Sscanf(rest, "%d:", &line); n == 1 {
		rest = strings.SplitN(rest, ":", 2)[1]
		e.Line = line
	}
	e.Msg = strings.TrimSpace(rest)
	if lines := strings.Split(text, "\n"); e.Line > 0 && e.Line <= len(lines) {
		e.Text = lines[e.Line-1]
		if e.Column > 0 && e.Column <= len(e.Text)+1 {
			e.Column = 1 + utf8.RuneCountInString(e.Text[:e.Column-1])
		}
	}
	return e
}

// Nearest returns the candidate closest to word, or "" if none is close.
func Nearest(word string, candidates []string) string {
	best, distance := "", 3
	for _, c := range slices.SortedFunc(slices.Values(candidates), cmp.Compare[string]) {
		if d := levenshtein.Distance(word, c, nil); d < distance && d < len(word) {
			best, distance = c, d
		}
	}
	return best
}
