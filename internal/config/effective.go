package config

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pgbaton/pgbaton/internal/secret"
)

// Part is a block as it counts: the top level, or one below it.
type Part struct {
	Name     string // target
	Labels   []string
	Settings []Setting
	Parts    []Part
}

// Setting is one setting of a block as it counts, whether or not somebody set it.
type Setting struct {
	Name   string
	Value  cty.Value // cty.NilVal: it has none, and Words says what counts then
	Words  string
	Source string // FILE:LINE, a variable of the environment, or default
}

// What a Setting's Source is unless it is a place.
const (
	FromDefault     = "default"
	FromEnvironment = "environment: "
)

// hidden is what a secret is shown as.
const hidden = "<hidden>"

// Effective is a config as it counts: every setting of every block that is there, with
// where it comes from. Secrets are hidden by their names. Problems that are Fatal are all
// there is to be had.
func Effective(paths []string, o Options) (Part, Problems) {
	if _, problems := Load(paths, o); problems.Fatal() {
		return Part{}, problems
	}
	l := &loader{kinds: o.Kinds, parser: hclparse.NewParser(), builtin: o.Builtin, builtins: o.Builtins, private: o.Private}
	body := layers(l.files(paths, o.Extra))
	e := effective{l}
	whole := e.part("", nil, body, reflect.TypeFor[top]())
	for i, s := range whole.Settings {
		if s.Name == "state_dir" && s.Source == FromDefault {
			whole.Settings[i] = stateDirSetting()
		}
	}
	whole.Parts = append(e.stores(body), whole.Parts...)
	return whole, nil
}

// stores are the blocks of stores, those of one name as one; the one that counts if there
// is none.
func (e effective) stores(body hcl.Body) (parts []Part) {
	schema := &hcl.BodySchema{}
	for kind := range e.l.kinds.Stores {
		schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: kind})
	}
	content, _, _ := body.PartialContent(schema)
	var names []string
	kinds, bodies := map[string]string{}, map[string]layered{}
	for _, b := range content.Blocks {
		name, _ := e.l.storeName(b)
		if kinds[name] == "" {
			names = append(names, name)
		}
		kinds[name], bodies[name] = b.Type, append(bodies[name], b.Body)
	}
	if len(names) == 0 {
		names, kinds["consul"] = []string{"consul"}, "consul"
	}
	for _, name := range names {
		parts = append(parts, e.part(kinds[name], nil, bodies[name], reflect.TypeOf(e.l.kinds.Stores[kinds[name]]()).Elem()))
	}
	return parts
}

// stateDirSetting is where the state folder is if nobody says.
func stateDirSetting() Setting {
	s := Setting{Name: "state_dir", Value: cty.StringVal(StateDir()), Source: FromDefault}
	switch {
	case os.Getenv("STATE_DIRECTORY") != "":
		s.Source = FromEnvironment + "STATE_DIRECTORY"
	case os.Geteuid() != 0 && os.Getenv("XDG_STATE_HOME") != "":
		s.Source = FromEnvironment + "XDG_STATE_HOME"
	}
	return s
}

type effective struct{ l *loader }

// part reads a body as a struct with hcl tags has it. Of a setting that several bodies
// have the last one counts.
func (e effective) part(name string, labels []string, body hcl.Body, typ reflect.Type) Part {
	p := Part{Name: name, Labels: labels}
	e.fill(&p, body, typ)
	switch kinds := e.l.kinds; {
	case kinds.Stores[name] != nil:
		e.fill(&p, body, reflect.TypeFor[storeBlock]())
	case name == "target" && kinds.Daemons[labels[0]] != nil:
		e.fill(&p, body, reflect.TypeOf(kinds.Daemons[labels[0]]()).Elem())
	case name == "cluster" && kinds.Clusters[labels[0]] != nil:
		e.fill(&p, body, reflect.TypeOf(kinds.Clusters[labels[0]]()).Elem())
	}
	return p
}

func (e effective) fill(p *Part, body hcl.Body, typ reflect.Type) {
	schema, _ := gohcl.ImpliedBodySchema(reflect.New(typ).Interface())
	content, _, _ := body.PartialContent(schema)
	if content == nil {
		content = &hcl.BodyContent{}
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, kind, _ := strings.Cut(f.Tag.Get("hcl"), ",")
		switch kind {
		case "", "optional":
			if name != "" {
				p.Settings = append(p.Settings, e.setting(name, content.Attributes[name], f.Tag))
			}
		case "block":
			p.Parts = append(p.Parts, e.blocks(name, content.Blocks, f.Type)...)
		}
	}
}

// blocks are the blocks of one type: those that can be there once as one, and one that is
// not there if the environment says something of it.
func (e effective) blocks(name string, all hcl.Blocks, typ reflect.Type) (parts []Part) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	var once layered
	many := slices.Contains([]string{"cluster", "target", "template"}, name)
	for _, b := range all {
		switch {
		case b.Type != name:
		case many:
			parts = append(parts, e.part(name, b.Labels, b.Body, typ))
		default:
			once = append(once, b.Body)
		}
	}
	if len(once) > 0 || !many && fromEnvironment(typ) {
		part := e.part(name, nil, once, typ)
		for i, s := range part.Settings {
			if len(once) == 0 && s.Name == "enabled" && s.Source == FromDefault {
				part.Settings[i] = Setting{Name: s.Name, Words: "as the address has it", Source: FromDefault} // there is no block
			}
		}
		parts = append(parts, part)
	}
	return parts
}

// fromEnvironment says whether a variable is set that is a setting of a block.
func fromEnvironment(typ reflect.Type) bool {
	for i := range typ.NumField() {
		if env := typ.Field(i).Tag.Get("env"); env != "" && os.Getenv(env) != "" {
			return true
		}
	}
	return false
}

func (e effective) setting(name string, a *hcl.Attribute, tag reflect.StructTag) Setting {
	s := Setting{Name: name, Source: FromDefault}
	if env := tag.Get("env"); a == nil && env != "" && os.Getenv(env) != "" {
		s.Value, s.Source = cty.StringVal(os.Getenv(env)), FromEnvironment+env
		s.Value = masked(name, s.Value)
		return s
	}
	if a != nil {
		v, _ := a.Expr.Value(nil)
		s.Value, s.Source = masked(name, v), e.source(a.Range)
		return s
	}
	s.Words = tag.Get("default")
	if expr, diags := hclsyntax.ParseExpression([]byte(s.Words), "", hcl.InitialPos); !diags.HasErrors() {
		if v, diags := expr.Value(nil); !diags.HasErrors() {
			s.Value, s.Words = v, ""
		}
	}
	return s
}

// source is the place of a setting: FILE:LINE, or what is no file.
func (e effective) source(r hcl.Range) string {
	if _, is := os.LookupEnv(r.Filename); is {
		return FromEnvironment + r.Filename
	}
	if _, err := os.Stat(r.Filename); err != nil {
		return r.Filename // flags
	}
	return fmt.Sprintf("%s:%d", r.Filename, r.Start.Line)
}

// masked hides what is secret by its name, in maps too.
func masked(name string, v cty.Value) cty.Value {
	switch {
	case v == cty.NilVal || v.IsNull() || !v.IsKnown():
		return v
	case secret.Names(name):
		return cty.StringVal(hidden)
	case v.Type().IsObjectType() || v.Type().IsMapType():
		inner := map[string]cty.Value{}
		for it := v.ElementIterator(); it.Next(); {
			k, e := it.Element()
			inner[k.AsString()] = masked(k.AsString(), e)
		}
		return cty.ObjectVal(inner)
	}
	return v
}
