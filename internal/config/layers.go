package config

import (
	"reflect"

	"github.com/hashicorp/hcl/v2"
)

// layered are the bodies of several files as one: their blocks add up, and of a
// setting that several have the last one counts.
type layered []hcl.Body

func layers(files []*hcl.File) hcl.Body {
	var l layered
	for _, f := range files {
		l = append(l, f.Body)
	}
	if len(l) == 1 {
		return l[0]
	}
	return l
}

// Content implements hcl.Body.
func (l layered) Content(schema *hcl.BodySchema) (*hcl.BodyContent, hcl.Diagnostics) {
	content, _, diags := l.each(schema, func(b hcl.Body, s *hcl.BodySchema) (*hcl.BodyContent, hcl.Body, hcl.Diagnostics) {
		content, diags := b.Content(s)
		return content, nil, diags
	})
	return content, diags
}

// PartialContent implements hcl.Body.
func (l layered) PartialContent(schema *hcl.BodySchema) (*hcl.BodyContent, hcl.Body, hcl.Diagnostics) {
	return l.each(schema, hcl.Body.PartialContent)
}

func (l layered) each(schema *hcl.BodySchema, read func(hcl.Body, *hcl.BodySchema) (*hcl.BodyContent, hcl.Body, hcl.Diagnostics)) (*hcl.BodyContent, hcl.Body, hcl.Diagnostics) {
	one := &hcl.BodySchema{Blocks: schema.Blocks}
	for _, a := range schema.Attributes {
		a.Required = false // of each; the top level requires nothing
		one.Attributes = append(one.Attributes, a)
	}
	all := &hcl.BodyContent{Attributes: hcl.Attributes{}, MissingItemRange: l.MissingItemRange()}
	var rest layered
	var diags hcl.Diagnostics
	for _, b := range l {
		content, remain, found := read(b, one)
		diags = append(diags, found...)
		if content != nil {
			all.Blocks = append(all.Blocks, content.Blocks...)
			for name, a := range content.Attributes {
				all.Attributes[name] = a
			}
		}
		if remain != nil {
			rest = append(rest, remain)
		}
	}
	return all, rest, diags
}

// JustAttributes implements hcl.Body.
func (l layered) JustAttributes() (hcl.Attributes, hcl.Diagnostics) {
	all := hcl.Attributes{}
	var diags hcl.Diagnostics
	for _, b := range l {
		attributes, found := b.JustAttributes()
		diags = append(diags, found...)
		for name, a := range attributes {
			all[name] = a
		}
	}
	return all, diags
}

// MissingItemRange implements hcl.Body.
func (l layered) MissingItemRange() hcl.Range {
	if len(l) == 0 {
		return hcl.Range{}
	}
	return l[0].MissingItemRange()
}

// fold makes one block of several: of a setting that several have the last one
// counts. Nil is none.
func fold[T any](blocks []T) *T {
	if len(blocks) == 0 {
		return nil
	}
	one := blocks[0]
	for i := range blocks[1:] {
		over(reflect.ValueOf(&one).Elem(), reflect.ValueOf(&blocks[i+1]).Elem())
	}
	return &one
}

// over puts what is set in a later block over an earlier one.
func over(into, later reflect.Value) {
	for i := range into.NumField() {
		field, set := into.Field(i), later.Field(i)
		switch {
		case set.IsZero():
		case field.Kind() == reflect.Pointer && !field.IsNil() && field.Elem().Kind() == reflect.Struct:
			over(field.Elem(), set.Elem())
		default:
			field.Set(set)
		}
	}
}
