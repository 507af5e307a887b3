package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	pretty "github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/pgbaton/pgbaton/internal/status"
)

// A table looks as those of patronictl, whose users look at both side by side.
type grid struct {
	title string
	head  pretty.Row
	rows  []pretty.Row
}

func newGrid(title string, head ...any) *grid { return &grid{title: title, head: head} }

// add adds a row. A cell is one line, and what is empty is so.
func (g *grid) add(cells ...string) {
	r := make(pretty.Row, len(cells))
	for i, c := range cells {
		r[i] = status.OneLine(c)
	}
	g.rows = append(g.rows, r)
}

// render prints the table, if it has rows, its title in its upper edge.
func (g *grid) render(w io.Writer) {
	if len(g.rows) == 0 {
		return
	}
	t := pretty.NewWriter()
	style := pretty.StyleDefault
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.AppendHeader(g.head)
	t.AppendRows(g.rows)
	lines := strings.Split(t.Render(), "\n")
	lines[0] = titled(lines[0], g.title)
	_, _ = fmt.Fprintln(w, strings.Join(lines, "\n"))
}

// titled writes a title over the beginning of a table's upper edge.
func titled(edge, title string) string {
	if title == "" {
		return edge
	}
	title = "+ " + status.OneLine(title) + " "
	if n := text.StringWidthWithoutEscSequences(title); n < len(edge) {
		return title + edge[n:]
	}
	return title
}

// or is a cell that says so if there is nothing in it.
func or(s string) string { return cmp.Or(s, "-") }
