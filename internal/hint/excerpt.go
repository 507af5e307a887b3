package hint

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Excerpt shows a line of a file, and below it where in it something is wrong. line and
// column count from 1, the column in characters; 0 is unknown. It is "" if the text is.
func Excerpt(line, column int, text string) string {
	text = strings.ReplaceAll(strings.TrimRight(text, "\r\n"), "\t", " ")
	if text == "" || line == 0 {
		return ""
	}
	shown := fmt.Sprintf("%6d | %s\n", line, text)
	if column > 0 && column <= utf8.RuneCountInString(text)+1 {
		shown += fmt.Sprintf("       | %s^\n", strings.Repeat(" ", column-1))
	}
	return shown
}
