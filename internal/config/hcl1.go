package config

import (
	"bytes"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	legacy "github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/token"
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/pgbaton/pgbaton/render"
)

// legacyBody is a body in the syntax of HCL 1, in which consul-template's users
// write: ${ and %{ are plain text, a block may stand on one line, keys may be
// quoted, numbers that begin with 0 are octal. What decodes HCL 2 decodes it too.
type legacyBody struct {
	file   string
	items  []*ast.ObjectItem
	hidden map[string]bool // names that were taken out of it
	at     hcl.Range
}

// parseLegacy reads a file in the syntax of HCL 1.
func parseLegacy(path string, text []byte) (*hcl.File, error) {
	file, err := legacy.ParseBytes(text) // JSON too
	if err != nil {
		return nil, err
	}
	list, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, fmt.Errorf("it is a %T", file.Node)
	}
	if err := readable(list, text); err != nil {
		return nil, err
	}
	nest(list)
	body := &legacyBody{file: path, items: list.Items}
	body.at = hcl.Range{Filename: path, Start: hcl.InitialPos, End: hcl.InitialPos}
	return &hcl.File{Body: body, Bytes: text}, nil
}

// readable looks whether each text and number has a value: HCL 1 panics at one
// that its scanner took and its reader does not. It finds the places of those in
// JSON, which HCL 1 does not tell.
func readable(list *ast.ObjectList, text []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read value: %v", r)
		}
	}()
	end := 0 // of what was found last: the tree is in the order of the text
	look := func(t *token.Token) {
		_ = t.Value()
		if !t.JSON || t.Pos.IsValid() { // blocks have names in common
			return
		}
		if i := bytes.Index(text[end:], []byte(t.Text)); i >= 0 {
			begin := end + i
			line := bytes.LastIndexByte(text[:begin], '\n') + 1
			t.Pos = token.Pos{Offset: begin, Line: 1 + bytes.Count(text[:begin], []byte("\n")), Column: 1 + utf8.RuneCount(text[line:begin])}
			end = begin + len(t.Text)
		}
	}
	ast.Walk(list, func(n ast.Node) (ast.Node, bool) {
		switch n := n.(type) {
		case *ast.LiteralType:
			look(&n.Token)
		case *ast.ObjectKey:
			look(&n.Token)
		}
		return n, true
	})
	return nil
}

// nest puts blocks of JSON into one another again: HCL 1 has {"consul": {"ssl": {…}}}
// as an item with both names, and one more for each block beside ssl.
func nest(list *ast.ObjectList) {
	var items []*ast.ObjectItem
	for _, item := range list.Items {
		if object, is := item.Val.(*ast.ObjectType); is {
			nest(object.List)
		}
		if len(item.Keys) < 2 || !item.Keys[0].Token.JSON {
			items = append(items, item)
			continue
		}
		inner := *item
		inner.Keys = item.Keys[1:]
		if n := len(items); n > 0 && items[n-1].Keys[0] == item.Keys[0] { // the same in the text
			within := items[n-1].Val.(*ast.ObjectType).List
			within.Items = append(within.Items, &inner)
			nest(within)
			continue
		}
		outer := *item
		within := &ast.ObjectList{Items: []*ast.ObjectItem{&inner}}
		nest(within)
		outer.Keys, outer.Val = item.Keys[:1], &ast.ObjectType{List: within}
		items = append(items, &outer)
	}
	list.Items = items
}

// Content implements hcl.Body.
func (b *legacyBody) Content(schema *hcl.BodySchema) (*hcl.BodyContent, hcl.Diagnostics) {
	content, rest, diags := b.PartialContent(schema)
	for _, item := range rest.(*legacyBody).shown() {
		name, at := b.key(item, 0)
		what := "argument"
		if blocks(item) != nil && !item.Assign.IsValid() {
			what = "block"
		}
		detail := fmt.Sprintf("There is no %s named %q here.", what, name)
		if near := render.Nearest(name, names(schema)); near != "" {
			detail += fmt.Sprintf(" Did you mean %q?", near)
		}
		diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Unsupported " + what, Detail: detail, Subject: &at})
	}
	return content, diags
}

// PartialContent implements hcl.Body.
func (b *legacyBody) PartialContent(schema *hcl.BodySchema) (*hcl.BodyContent, hcl.Body, hcl.Diagnostics) {
	content := &hcl.BodyContent{Attributes: hcl.Attributes{}, MissingItemRange: b.MissingItemRange()}
	rest := &legacyBody{file: b.file, items: b.items, at: b.at, hidden: map[string]bool{}}
	for name := range b.hidden {
		rest.hidden[name] = true
	}
	var diags hcl.Diagnostics
	for _, a := range schema.Attributes {
		for _, item := range b.shown() {
			if name, at := b.key(item, 0); name == a.Name {
				content.Attributes[name] = b.attribute(name, at, item) // the last one counts
			}
		}
		rest.hidden[a.Name] = true
		if a.Required && content.Attributes[a.Name] == nil {
			at := b.MissingItemRange()
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagError, Summary: "Missing required argument", Detail: fmt.Sprintf("The argument %q is required.", a.Name), Subject: &at,
			})
		}
	}
	for _, s := range schema.Blocks {
		rest.hidden[s.Type] = true
	}
	for _, item := range b.shown() {
		name, at := b.key(item, 0)
		for _, s := range schema.Blocks {
			if s.Type != name {
				continue
			}
			found, bad := b.blocks(name, at, s, item)
			content.Blocks, diags = append(content.Blocks, found...), append(diags, bad...)
		}
	}
	return content, rest, diags
}

// JustAttributes implements hcl.Body.
func (b *legacyBody) JustAttributes() (hcl.Attributes, hcl.Diagnostics) {
	all := hcl.Attributes{}
	for _, item := range b.shown() {
		name, at := b.key(item, 0)
		all[name] = b.attribute(name, at, item)
	}
	return all, nil
}

// MissingItemRange implements hcl.Body.
func (b *legacyBody) MissingItemRange() hcl.Range { return b.at }

func (b *legacyBody) shown() []*ast.ObjectItem {
	var list []*ast.ObjectItem
	for _, item := range b.items {
		if name, _ := b.key(item, 0); len(item.Keys) > 0 && !b.hidden[name] {
			list = append(list, item)
		}
	}
	return list
}

// key is a key of an item, the name or a label, without its quotes.
func (b *legacyBody) key(item *ast.ObjectItem, i int) (string, hcl.Range) {
	if i >= len(item.Keys) {
		return "", b.at
	}
	t := item.Keys[i].Token
	name := t.Text
	if text, ok := t.Value().(string); ok && t.Type == token.STRING {
		name = text
	}
	return name, b.span(t)
}

func (b *legacyBody) span(t token.Token) hcl.Range {
	start := hcl.Pos{Line: t.Pos.Line, Column: t.Pos.Column, Byte: t.Pos.Offset}
	end := start
	end.Column, end.Byte = end.Column+len(t.Text), end.Byte+len(t.Text)
	return hcl.Range{Filename: b.file, Start: start, End: end}
}

// blocks are the objects that an item holds: one, or a list of them.
func blocks(item *ast.ObjectItem) []*ast.ObjectType {
	switch v := item.Val.(type) {
	case *ast.ObjectType:
		return []*ast.ObjectType{v}
	case *ast.ListType:
		var list []*ast.ObjectType
		for _, element := range v.List {
			object, is := element.(*ast.ObjectType)
			if !is {
				return nil
			}
			list = append(list, object)
		}
		return list
	}
	return nil
}

func (b *legacyBody) blocks(name string, at hcl.Range, s hcl.BlockHeaderSchema, item *ast.ObjectItem) (hcl.Blocks, hcl.Diagnostics) {
	objects := blocks(item)
	if text, is := item.Val.(*ast.LiteralType); is && name == "wait" {
		objects = waitObject(text.Token)
	}
	if objects == nil {
		return nil, hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: "Unsupported argument", Detail: fmt.Sprintf("%q is a block: write it with braces.", name), Subject: &at,
		}}
	}
	block := &hcl.Block{Type: name, TypeRange: at, DefRange: at}
	for i := range s.LabelNames {
		if i+1 >= len(item.Keys) {
			return nil, hcl.Diagnostics{{
				Severity: hcl.DiagError, Summary: "Missing " + s.LabelNames[i] + " for " + name,
				Detail: fmt.Sprintf("All %s blocks must have %d labels (%s).", name, len(s.LabelNames), strings.Join(s.LabelNames, ", ")), Subject: &at,
			}}
		}
		label, where := b.key(item, i+1)
		block.Labels, block.LabelRanges = append(block.Labels, label), append(block.LabelRanges, where)
	}
	if extra := len(s.LabelNames) + 1; extra < len(item.Keys) {
		_, where := b.key(item, extra)
		return nil, hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: "Extraneous label for " + name,
			Detail: fmt.Sprintf("%q blocks have %d labels.", name, len(s.LabelNames)), Subject: &where,
		}}
	}
	var list hcl.Blocks
	for _, object := range objects {
		one := *block
		one.Body = &legacyBody{file: b.file, items: object.List.Items, at: at}
		list = append(list, &one)
	}
	return list, nil
}

func (b *legacyBody) attribute(name string, at hcl.Range, item *ast.ObjectItem) *hcl.Attribute {
	value := b.value(item.Val)
	if literal, is := item.Val.(*ast.LiteralType); is && name == "perms" && literal.Token.Type == token.NUMBER {
		// A number is a mode as it stands: 0640 is octal, and so 416 is the same.
		if n, err := strconv.ParseUint(literal.Token.Text, 0, 32); err == nil {
			value = cty.StringVal(fmt.Sprintf("%#o", n))
		}
	}
	return &hcl.Attribute{Name: name, Expr: hcl.StaticExpr(value, at), Range: at, NameRange: at}
}

func (b *legacyBody) value(node ast.Node) cty.Value {
	switch v := node.(type) {
	case *ast.LiteralType:
		return literal(v.Token)
	case *ast.ListType:
		list := make([]cty.Value, 0, len(v.List))
		for _, element := range v.List {
			list = append(list, b.value(element))
		}
		return cty.TupleVal(list)
	case *ast.ObjectType:
		object := map[string]cty.Value{}
		for _, item := range v.List.Items {
			name, _ := b.key(item, 0)
			object[name] = b.value(item.Val)
		}
		return cty.ObjectVal(object)
	}
	return cty.NilVal
}

func literal(t token.Token) cty.Value {
	switch t.Type {
	case token.NUMBER, token.FLOAT:
		if n, err := strconv.ParseInt(t.Text, 0, 64); err == nil {
			return cty.NumberIntVal(n)
		}
		if f, _, err := big.ParseFloat(t.Text, 10, 512, big.ToNearestEven); err == nil {
			return cty.NumberVal(f)
		}
		return cty.StringVal(t.Text)
	case token.BOOL:
		return cty.BoolVal(t.Text == "true")
	}
	text, _ := t.Value().(string)
	return cty.StringVal(text)
}

// waitObject is the block that wait = "MIN:MAX" stands for.
func waitObject(t token.Token) []*ast.ObjectType {
	text, _ := t.Value().(string)
	least, most, _ := strings.Cut(text, ":")
	file, err := parser.Parse(fmt.Appendf(nil, "min = %q\nmax = %q", least, most))
	if err != nil {
		return nil
	}
	list := file.Node.(*ast.ObjectList)
	for _, item := range list.Items {
		item.Keys[0].Token.Pos = t.Pos // where the text stands
	}
	return []*ast.ObjectType{{List: list}}
}
