// Package hint lets an error carry the next thing for a person to try, apart
// from what went wrong, so that a terminal shows it on a line of its own.
package hint

import (
	"errors"
	"fmt"
	"syscall"
)

type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Wrap returns err with a hint; a nil err stays nil.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// Of returns the outermost hint in err's chain, or "". What may befall whoever
// opens something has one of its own.
func Of(err error) string {
	var h *hinted
	switch {
	case errors.As(err, &h):
		return h.hint
	case errors.Is(err, syscall.EMFILE):
		return "raise the limit of open files: LimitNOFILE in pgbaton's unit"
	case errors.Is(err, syscall.ENFILE):
		return "the machine has too many open files: raise fs.file-max"
	}
	return ""
}
