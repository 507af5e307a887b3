package reload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
)

// Timeout parses a setting that says how long something may take. An empty text
// is the fallback.
func Timeout(setting, text string, fallback time.Duration) (time.Duration, error) {
	if text == "" {
		return fallback, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, hint.Wrap(fmt.Errorf("read %s: %q is no time longer than zero", setting, text),
			"write a number with its unit, as in %s = %q", setting, fallback)
	}
	return d, nil
}

// InPlace rewrites what a check printed about staged files so that it speaks of
// where they are going to be.
func InPlace(text string, staged []File) string {
	// The longest first: one staged path may begin with another.
	files := slices.SortedFunc(slices.Values(staged), func(a, b File) int {
		return cmp.Compare(len(b.Staged), len(a.Staged))
	})
	var pairs []string
	for _, f := range files {
		if f.Staged != "" {
			pairs = append(pairs, f.Staged, f.Path)
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// Refuse is a check's error for files that it found bad, in the words of
// whoever found them so.
func Refuse(words string) error {
	return explain.Mark(fmt.Errorf("%w: %s", ErrRefused, strings.TrimSpace(words)), explain.CheckRefused)
}

// RunCheck runs a program that judges staged files: 0 is good, any other exit
// code refuses them. It runs confined, so nothing is left of it. The setting named
// is the one that chose the program, for the hint if it cannot be run.
func RunCheck(ctx context.Context, c proc.Command, staged []File, setting string) (string, error) {
	if c.Confined == nil {
		c.Confined = &proc.Confinement{}
	}
	out, err := proc.Run(ctx, c)
	out = InPlace(out, staged)
	if err == nil {
		return out, nil
	}
	if proc.SaidNo(err) {
		words := strings.TrimSpace(out)
		if words == "" {
			words = fmt.Sprintf("%s says no and no more: %v", c.Args[0], errors.Unwrap(err))
		}
		return out, Refuse(words)
	}
	var ran *proc.Error
	if errors.As(err, &ran) {
		ran.Output = out
	}
	return out, CannotCheck(fmt.Errorf("check files: %w", err), c.Args[0], setting)
}

// CannotCheck gives an error of a check that gave no answer the hint that fits.
func CannotCheck(err error, program, setting string) error {
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return hint.Wrap(err, "install %s or correct %s", program, setting)
	case errors.Is(err, fs.ErrPermission):
		return hint.Wrap(err, "pgbaton has to be allowed to run %s; or correct %s", program, setting)
	case errors.Is(err, proc.ErrTimeout):
		return hint.Wrap(err, "run %s by hand to see what it waits for; timeout sets how long it may take", program)
	}
	return err
}
