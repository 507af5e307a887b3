package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// The formats of what a verb knows.
const (
	asPretty = "pretty" // for a person
	asTSV    = "tsv"    // a line for each thing, its fields between tabs
	asJSON   = "json"   // all of it
	asYAML   = "yaml"   // the same
)

var formats = []string{asPretty, asTSV, asJSON, asYAML}

// format is the value of a flag.
type format string

// String, Set and Type implement pflag.Value.
func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "FORMAT" }
func (f *format) Set(s string) error {
	if !slices.Contains(formats, s) {
		return fmt.Errorf("there are %s", strings.Join(formats, ", "))
	}
	*f = format(s)
	return nil
}

// bind adds the flags that choose it.
func (f *format) bind(cmd *cobra.Command) {
	*f = asPretty
	cmd.Flags().VarP(f, "format", "f", "how it is printed: "+strings.Join(formats, ", "))
	cmd.Flags().BoolFunc("json", "as -f json", func(string) error { return f.Set(asJSON) })
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

// encode prints a value as JSON or YAML, with the names of its JSON fields in their order.
func (f format) encode(w io.Writer, v any) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if f == asJSON {
		_, err = w.Write(append(content, '\n'))
		return err
	}
	var node yaml.Node // JSON is YAML, in its flow style
	if err := yaml.Unmarshal(content, &node); err != nil {
		return err
	}
	block(&node)
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(&node); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "---\n%s", out.String())
	return err
}

// block gives a node and all below it YAML's usual style. Words that YAML would take for
// something else stay quoted.
func block(n *yaml.Node) {
	if n.Kind != yaml.ScalarNode {
		n.Style = 0
	} else if n.Tag == "!!str" {
		n.Style = 0 // the encoder quotes what needs it
	}
	for _, c := range n.Content {
		block(c)
	}
}

// row prints a line of fields between tabs. What is in one stays in it.
func row(w io.Writer, fields ...string) {
	for i, f := range fields {
		fields[i] = strings.Map(func(r rune) rune {
			if r < ' ' {
				return ' '
			}
			return r
		}, f)
	}
	_, _ = fmt.Fprintln(w, strings.Join(fields, "\t"))
}
