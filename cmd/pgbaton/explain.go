package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	lines "github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/render"
)

func explainVerb(std stdio) *cobra.Command {
	return &cobra.Command{
		Use: "explain [CODE…]",
		Example: `  pgbaton explain PGB012
  pgbaton explain`,
		Short: "What a code such as PGB012 means, and what to do; all of them without one",
		Long: `Says what the code of an error means, what pgbaton does meanwhile, and what there is to do. A code stands in brackets behind an error,
as code= in the log, and as code in the status. Without an argument it lists all codes.`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var list []string
			for _, e := range explain.Entries {
				list = append(list, e.Code+"\t"+e.Title)
			}
			return list, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listCodes(std.out)
			}
			for i, arg := range args {
				e, known := explain.Find(arg)
				if !known {
					return unknownCode(cmd, arg)
				}
				if i > 0 {
					_, _ = fmt.Fprintln(std.out)
				}
				printEntry(std.out, e)
			}
			return nil
		},
	}
}

func listCodes(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range explain.Entries {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", e.Code, e.Slug, e.Title)
	}
	return t.Flush()
}

func unknownCode(cmd *cobra.Command, text string) error {
	var known []string
	for _, e := range explain.Entries {
		known = append(known, e.Code, e.Slug)
	}
	err := fmt.Errorf("there is no code %q", text)
	if near := render.Nearest(text, known); near != "" {
		return &exitError{exitUsage, explain.Mark(hint.Wrap(err, "did you mean %s? %s lists them", near, cmd.CommandPath()), explain.Usage)}
	}
	return &exitError{exitUsage, explain.Mark(hint.Wrap(err, "%s lists them", cmd.CommandPath()), explain.Usage)}
}

func printEntry(w io.Writer, e explain.Entry) {
	colour := coloured(w)
	_, _ = fmt.Fprintf(w, "%s (%s): %s\n", paint(e.Code, "1", colour), e.Slug, paint(e.Title, "1", colour))
	for _, part := range []struct{ head, text string }{
		{"What it means", e.Meaning}, {"What pgbaton does", e.Doing}, {"What to do", e.Remedy},
	} {
		_, _ = fmt.Fprintf(w, "\n%s:\n%s", part.head, wrapped(part.text, 76, "  "))
	}
}

// wrapped breaks a text into lines of some width.
func wrapped(text string, width int, indent string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(lines.WrapSoft(text, width), "\n") {
		b.WriteString(indent + strings.TrimSpace(line) + "\n")
	}
	return b.String()
}
