package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/spf13/cobra"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/pgbaton/pgbaton/internal/config"
)

func configVerb(std stdio) *cobra.Command {
	var from sources
	var flags looseFlags
	var as format
	cmd := &cobra.Command{
		Use: "config",
		Example: `  # all that counts, and where it comes from
  pgbaton config -config pgbaton.hcl
  # for a program
  pgbaton config -config conf.d -json`,
		Short: "Every setting as it counts, and where it comes from",
		Long: `Shows the config as it counts, after all its files, the environment and the defaults: every setting of every block that is there, and
where it comes from. It takes the flags of run. Secrets are hidden.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if from.extra, err = flags.extra(cmd); err != nil {
				return err
			}
			if len(from.paths)+len(from.extra) == 0 {
				return usage(errors.New("name a config with -config, or a template with -template"), cmd.CommandPath())
			}
			return showConfig(std, from, as)
		},
	}
	cmd.Flags().StringArrayVar(&from.paths, "config", nil, "config `file` or folder; may be repeated")
	as.bind(cmd)
	flags.bind(cmd)
	return cmd
}

func showConfig(std stdio, from sources, as format) error {
	c, problems := load(from)
	if problems.Fatal() {
		return problems
	}
	learn(c, std.secrets)
	whole, problems := config.Effective(from.paths, from.options())
	if problems.Fatal() {
		return problems
	}
	var text bytes.Buffer
	switch as {
	case asPretty:
		text.WriteString(settingsText(whole, coloured(std.out)))
	case asTSV:
		row(&text, "block", "name", "value", "source")
		for _, s := range settingsList(whole, nil) {
			row(&text, strings.Join(s.Block, " "), s.Name, cmp.Or(s.Words, string(s.Value)), s.Source)
		}
	default:
		if err := as.encode(&text, settingsList(whole, nil)); err != nil {
			return err
		}
	}
	_, err := io.WriteString(std.out, std.secrets.Hide(text.String()))
	return err
}

// settingsText is a config as a config, with where each setting comes from beside it.
func settingsText(whole config.Part, colour bool) string {
	var b strings.Builder
	var write func(p config.Part)
	write = func(p config.Part) {
		for _, s := range p.Settings {
			if s.Value == cty.NilVal {
				fmt.Fprintf(&b, "# %s: %s (%s)\n", s.Name, s.Words, s.Source)
				continue
			}
			fmt.Fprintf(&b, "%s = %s # %s\n", s.Name, hclwrite.TokensForValue(s.Value).Bytes(), s.Source)
		}
		for _, inner := range p.Parts {
			b.WriteString("\n" + inner.Name)
			for _, label := range inner.Labels {
				fmt.Fprintf(&b, " %q", label)
			}
			b.WriteString(" {\n")
			write(inner)
			b.WriteString("}\n")
		}
	}
	write(whole)
	text := string(hclwrite.Format([]byte(b.String())))
	if !colour {
		return text
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		if i := strings.LastIndex(line, "# "); i >= 0 {
			line = line[:i] + paint(strings.TrimSuffix(line[i:], "\n"), "2", true) + "\n"
		}
		out.WriteString(line)
	}
	return out.String()
}

// listed is a setting in the list.
type listed struct {
	Block  []string        `json:"block"` // names and labels, from the outside in; empty is the top level
	Name   string          `json:"name"`
	Value  json.RawMessage `json:"value"`          // null: it has none
	Words  string          `json:"text,omitempty"` // what counts if it has none
	Source string          `json:"source"`         // FILE:LINE, environment: NAME, or default
}

func settingsList(p config.Part, within []string) []listed {
	list := []listed{}
	for _, s := range p.Settings {
		one := listed{Block: append([]string{}, within...), Name: s.Name, Words: s.Words, Source: s.Source, Value: json.RawMessage("null")}
		if s.Value != cty.NilVal {
			if value, err := ctyjson.Marshal(s.Value, s.Value.Type()); err == nil {
				one.Value = value
			}
		}
		list = append(list, one)
	}
	for _, inner := range p.Parts {
		list = append(list, settingsList(inner, append(append(append([]string{}, within...), inner.Name), inner.Labels...))...)
	}
	return list
}
