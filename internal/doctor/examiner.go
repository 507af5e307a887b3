package doctor

import (
	"context"
	"strings"
)

// Examiner looks whether one server is well.
type Examiner interface {
	// Examine returns nil for a server that is well, else why it is not: one error,
	// or several that were joined. It ends soon after ctx does.
	Examine(ctx context.Context) error
}

// Reasons are the texts of an error, and of each that was joined.
func Reasons(err error) []string {
	if err == nil {
		return nil
	}
	joined, is := err.(interface{ Unwrap() []error })
	if !is {
		return []string{oneLine(err.Error())}
	}
	var all []string
	for _, one := range joined.Unwrap() {
		all = append(all, Reasons(one)...)
	}
	return all
}

// longest is how long a text of somebody else's may be, in bytes.
const longest = 500

// oneLine is a text in one line, and not a long one.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
}
