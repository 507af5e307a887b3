package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	manual "github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

// pagesVerb writes the pages of all verbs, for packages and for docs/commands.md.
func pagesVerb(std stdio) *cobra.Command {
	var man, markdown string
	cmd := &cobra.Command{
		Use:    "docs",
		Short:  "Write the man pages, or docs/commands.md",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if man == "" && markdown == "" {
				return usage(errors.New("name a folder with -man, or a file with -markdown"), cmd.CommandPath())
			}
			if man != "" {
				if err := writeMan(newRoot(std), man); err != nil {
					return err
				}
			}
			if markdown != "" {
				return swapIn(plain(markdown, commandsPage(newRoot(std))))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&man, "man", "", "write pgbaton.1 and one page for each verb into this `folder`")
	cmd.Flags().StringVar(&markdown, "markdown", "", "write all verbs into this `file`")
	return cmd
}

// documented are the verbs that have a page, each below its own.
func documented(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, verb := range cmd.Commands() {
		if verb.IsAvailableCommand() && verb.Name() != "help" {
			all = append(all, documented(verb)...)
		}
	}
	return all
}

// writeMan writes a page for each verb. The same source makes the same bytes: the date is
// that of SOURCE_DATE_EPOCH, as builders of packages set it, or none.
func writeMan(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	date := ""
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		date = time.Unix(seconds, 0).UTC().Format(time.DateOnly)
	}
	// As they come, the meanings of flags begin with tabs.
	flag := regexp.MustCompile(`(?m)^(?:\.PP\n)?(\\fB-.*)\n\t`)
	title := regexp.MustCompile(`(?m)^\.TH .*$`)
	for _, verb := range documented(root) {
		name := strings.ReplaceAll(verb.CommandPath(), " ", "-")
		var page bytes.Buffer
		if err := manual.GenMan(verb, &manual.GenManHeader{Title: strings.ToUpper(name), Section: "1"}, &page); err != nil {
			return fmt.Errorf("write page of %s: %w", verb.CommandPath(), err)
		}
		head := fmt.Sprintf(`.TH "%s" "1" "%s" "pgbaton" "pgbaton"`, strings.ToUpper(name), date)
		text := flag.ReplaceAllString(title.ReplaceAllLiteralString(page.String(), head), ".TP\n$1\n")
		if err := swapIn(plain(filepath.Join(dir, name+".1"), text)); err != nil {
			return err
		}
	}
	return nil
}

// commandsPage is docs/commands.md.
func commandsPage(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# Commands\n\n" + root.Long + "\n\nFlags take one dash or two. On a terminal there are colours, unless `NO_COLOR` is set, and a last line that\nsays what is waited for; elsewhere neither. `go test ./cmd/pgbaton -run TestDocsCommandsPage -update` writes this page.\n")
	for _, verb := range documented(root)[1:] {
		if verb.HasSubCommands() {
			continue // its own say it all
		}
		fmt.Fprintf(&b, "\n## %s\n\n", verb.CommandPath())
		if verb.Long != "" {
			b.WriteString(strings.TrimSpace(verb.Long) + "\n")
		} else {
			b.WriteString(verb.Short + ".\n")
		}
		if verb.Example != "" {
			b.WriteString("\n```sh\n")
			for line := range strings.Lines(verb.Example) {
				b.WriteString(strings.TrimPrefix(line, "  "))
			}
			b.WriteString("\n```\n")
		}
		flags := flagRows(verb)
		if flags != "" {
			b.WriteString("\n| flag | default | meaning |\n|---|---|---|\n" + flags)
		}
	}
	return b.String()
}

func flagRows(verb *cobra.Command) string {
	var b strings.Builder
	verb.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, meaning := pflag.UnquoteUsage(f)
		name := "-" + f.Name
		if value != "" {
			name += " " + strings.ToUpper(value)
		}
		fallback := f.DefValue
		if fallback == "[]" || fallback == "false" {
			fallback = ""
		}
		if fallback != "" {
			fallback = "`" + fallback + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.ReplaceAll(name, "|", `\|`), fallback, strings.ReplaceAll(meaning, "|", `\|`))
	})
	return b.String()
}
