package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/state"
)

func historyVerb(std stdio) *cobra.Command {
	var from running
	var as format
	var targetName string
	var count int
	var diff uint64
	cmd := &cobra.Command{
		Use: "history",
		Example: `  pgbaton history -config pgbaton.hcl
  pgbaton history -state-dir state -n 5 -target app
  # what a change changed in the files
  pgbaton history -config pgbaton.hcl -diff 1`,
		Short: "What was changed, when and why, and how long each step took",
		Long: `What was changed, when and why, and how long each step took, in milliseconds: by the
pgbaton that runs, or, if none does, by the one that ran last.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if count < 1 {
				return usage(fmt.Errorf("-n %d is no number of changes", count), cmd.CommandPath())
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			changes, err := changesOf(ctx, from)
			if err != nil {
				return err
			}
			if diff > 0 {
				return showDiff(std.out, changes, diff)
			}
			if targetName != "" {
				changes = slices.DeleteFunc(changes, func(c history.Change) bool {
					_, name, _ := strings.Cut(c.Target, ".")
					return c.Target != targetName && name != targetName
				})
			}
			return showHistory(std.out, as, changes[:min(count, len(changes))])
		},
	}
	from.bind(cmd)
	as.bind(cmd)
	cmd.Flags().StringVar(&targetName, "target", "", "the target, by NAME or KIND.NAME; all by default")
	cmd.Flags().IntVarP(&count, "count", "n", 20, "how many changes at most, the newest first")
	cmd.Flags().Uint64Var(&diff, "diff", 0, "what a change, by its `ID`, changed in the files; secrets are hidden")
	return cmd
}

// changesOf is the history of the pgbatons that run, or of those that ran last.
func changesOf(ctx context.Context, from running) ([]history.Change, error) {
	found, err := from.find(ctx)
	if err == nil {
		var all []history.Change
		for _, f := range found {
			changes, err := f.History(ctx)
			if err != nil {
				return nil, err
			}
			all = append(all, changes...)
		}
		slices.SortStableFunc(all, func(a, b history.Change) int { return b.Began.Compare(a.Began) })
		return all, nil
	}
	if !errors.Is(err, errNoneRuns) {
		return nil, err
	}
	dirs, _, problems := from.named()
	if problems != nil {
		return nil, problems
	}
	for _, dir := range dirs {
		changes, unread := history.Load(state.Folder{Dir: dir})
		if len(changes) > 0 {
			return changes, nil
		}
		err = errors.Join(err, unread)
	}
	return nil, err
}

// showHistory prints changes, the newest first.
func showHistory(w io.Writer, as format, changes []history.Change) error {
	switch as {
	case asJSON, asYAML:
		return as.encode(w, history.List{Version: history.Version, Changes: append([]history.Change{}, changes...)})
	case asTSV:
		row(w, "id", "began", "target", "why", "outcome", "leader", "timeline", "detect_ms", "confirm_ms", "hold_ms", "render_ms", "check_ms",
			"reload_ms", "verify_ms", "release_ms", "held_ms", "applied_ms", "total_ms", "tries", "error")
		for _, c := range changes {
			s, trouble := c.Steps, ""
			if c.Error != nil {
				trouble = c.Error.Kind
			}
			fields := []string{strconv.FormatUint(c.ID, 10), c.Began.Format(time.RFC3339Nano), c.Target, c.Why, c.Outcome, c.Led(), timelines(c)}
			for _, m := range []history.Millis{s.Detect, s.Confirm, s.Hold, s.Render, s.Check, s.Reload, s.Verify, s.Release, s.Held, s.Applied, s.Total} {
				fields = append(fields, took(m))
			}
			row(w, append(fields, strconv.Itoa(c.Tries), trouble)...)
		}
		return nil
	}
	if len(changes) == 0 {
		_, err := fmt.Fprintln(w, "nothing was changed yet")
		return err
	}
	g := newGrid("changes, the newest first; steps in ms", "ID", "TL", "When", "Target", "Change", "Detect", "Confirm", "Hold", "Render", "Check", "Reload", "Verify", "Release", "Held", "Total", "Result")
	now := time.Now()
	for _, c := range changes {
		s := c.Steps
		what := c.Why
		if led := c.Led(); led != "" {
			what = led
		}
		g.add(strconv.FormatUint(c.ID, 10), timelines(c), moment(c.Began, now), c.Target, what, took(s.Detect), took(s.Confirm), took(s.Hold), took(s.Render),
			took(s.Check), took(s.Reload), took(s.Verify), took(s.Release), took(s.Held), took(s.Total), result(c))
	}
	g.render(w)
	return nil
}

// result is what came of a change, in a few words.
func result(c history.Change) string {
	switch c.Outcome {
	case history.Done:
		text := c.Proof
		if c.Tries > 0 {
			text += fmt.Sprintf(" after %d failures", c.Tries)
		}
		return text
	case history.Failing:
		return fmt.Sprintf("failed %d times: %s", c.Tries, c.Error.Kind)
	case history.Canceled:
		return "released: " + c.Reason
	}
	return "under way"
}

func timelines(c history.Change) string {
	var list []string
	for _, m := range c.Moves {
		if m.Timeline > 0 {
			list = append(list, strconv.FormatUint(m.Timeline, 10))
		}
	}
	return strings.Join(list, " ")
}

// took is a step for a person: nothing if it was not taken.
func took(m history.Millis) string {
	switch {
	case m == 0:
		return ""
	case m < 10:
		return fmt.Sprintf("%.2f", m)
	}
	return fmt.Sprintf("%.0f", m)
}

// showDiff prints what a change changed in the files.
func showDiff(w io.Writer, changes []history.Change, id uint64) error {
	for _, c := range changes {
		if c.ID != id {
			continue
		}
		for _, f := range c.Files {
			text := f.Text
			if text == "" {
				text = fmt.Sprintf("--- %s\n+++ %s\nwhat differs is not known any more, or was too much\n", f.Path, f.Path)
			}
			_, _ = fmt.Fprint(w, paintDiff(text, coloured(w)))
		}
		if len(c.Files) == 0 {
			_, _ = fmt.Fprintln(w, "no file was changed")
		}
		return nil
	}
	return hint.Wrap(fmt.Errorf("there is no change %d in the history", id), "pgbaton history lists those that are remembered")
}
