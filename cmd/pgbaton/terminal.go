package main

import (
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
)

// isTerminal says whether what is written comes to a terminal, or what is read from one.
func isTerminal(stream any) bool {
	for {
		through, ok := stream.(interface{ Unwrap() io.Writer })
		if !ok {
			break
		}
		stream = through.Unwrap()
	}
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// coloured says whether w is a terminal that a person wants colours on.
func coloured(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// paintDiff colours a unified diff, if on.
func paintDiff(diff string, on bool) string {
	if !on {
		return diff
	}
	lines := strings.SplitAfter(diff, "\n")
	for i, line := range lines {
		colour := ""
		switch {
		case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"):
			colour = "1"
		case strings.HasPrefix(line, "+"):
			colour = "32"
		case strings.HasPrefix(line, "-"):
			colour = "31"
		case strings.HasPrefix(line, "@@"):
			colour = "36"
		}
		if colour != "" {
			lines[i] = paint(strings.TrimSuffix(line, "\n"), colour, true) + "\n"
		}
	}
	return strings.Join(lines, "")
}

func paint(s, colour string, on bool) string {
	if !on {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}
