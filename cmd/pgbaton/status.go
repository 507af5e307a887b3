package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/control"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/status"
)

func statusVerb(std stdio) *cobra.Command {
	var from sources
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "What the pgbaton that runs is doing",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir != "" && len(from.paths) > 0 {
				return usage(errors.New("name either -config or -state-dir"), cmd.CommandPath())
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			list, err := running(ctx, from, dir)
			if err != nil {
				return err
			}
			return showStatus(std.out, list, asJSON)
		},
	}
	cmd.Flags().StringArrayVar(&from.paths, "config", nil, "config `file` or folder; may be repeated")
	cmd.Flags().StringVar(&dir, "state-dir", "", "the state folder, for whoever may not read the config; without both, where it is by default")
	cmd.Flags().BoolVar(&asJSON, "json", false, "all of it, as JSON")
	return cmd
}

// running are the pgbatons that run with a config, or with a state folder, or, without
// both, with the state folder that is one by default.
func running(ctx context.Context, from sources, dir string) ([]status.Status, error) {
	dirs := []string{dir}
	var ids []string
	switch {
	case len(from.paths) > 0:
		c, problems := load(from)
		if problems.Fatal() {
			return nil, problems
		}
		dirs = []string{c.StateDir}
		for _, t := range c.Targets {
			ids = append(ids, t.Kind+"."+t.Name)
		}
	case dir == "":
		dirs = slices.Compact([]string{config.StateDir(), config.SystemStateDir})
	}
	var list, ours []status.Status
	for _, dir := range dirs {
		found, err := control.Find(ctx, dir)
		if err != nil && len(found) == 0 {
			return nil, err
		}
		for _, f := range found {
			list = append(list, f.Status)
			if slices.ContainsFunc(f.Status.Targets, func(t status.Target) bool { return slices.Contains(ids, t.ID) }) {
				ours = append(ours, f.Status)
			}
		}
	}
	if len(ours) > 0 {
		return ours, nil // with others beside, of other configs
	}
	if len(list) > 0 {
		return list, nil
	}
	for _, id := range ids {
		if runs, err := (state.Folder{Dir: dirs[0]}).Locked(id); err == nil && runs {
			return nil, fmt.Errorf("the pgbaton that runs has no control socket in %s; its log says why", dirs[0])
		}
	}
	return nil, noneRuns(strings.Join(dirs, " or "))
}

// showStatus prints the status of each. It fails if any is not as it should be.
func showStatus(w io.Writer, list []status.Status, asJSON bool) error {
	ok := true
	for i, s := range list {
		ok = ok && s.OK
		if asJSON {
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			if err := e.Encode(s); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			_, _ = fmt.Fprintln(w)
		}
		if err := printStatus(w, s); err != nil {
			return err
		}
	}
	if !ok {
		return &exitError{exitFailed, errShown}
	}
	return nil
}

func printStatus(w io.Writer, s status.Status) error {
	p := s.Process
	_, _ = fmt.Fprintf(w, "%s\n", status.OneLine(s.Line))
	_, _ = fmt.Fprintf(w, "pgbaton %s, process %d of %s, up %v, config %s\n", p.Version, p.PID, p.User, s.At.Sub(p.Started).Round(time.Second), strings.Join(p.Config, " "))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...string) {
		for i := range cells {
			cells[i] = cmp.Or(status.OneLine(cells[i]), "-")
		}
		_, _ = fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	gap := func() { _ = t.Flush(); _, _ = fmt.Fprintln(w) }

	gap()
	row("TARGET", "LEADER", "STATE", "SINCE", "WAITS FOR, OR LAST ERROR")
	for _, one := range s.Targets {
		row(one.ID, ledBy(one.Follows), words(one.State), moment(one.Since, s.At), note(one, s.At))
	}
	if len(s.Clusters) > 0 {
		gap()
		row("CLUSTER", "LEADER", "ADDRESS", "TIMELINE", "PHASE", "SINCE", "REPLICAS")
	}
	for _, c := range s.Clusters {
		leader, address := "", ""
		if l := c.Leader; l != nil {
			leader, address = l.Name, fmt.Sprintf("%s:%d", l.Host, l.Port)
		}
		row(c.Name, leader, address, fmt.Sprint(c.Timeline), words(c.Phase), moment(c.Since, s.At), replicas(c.Replicas))
	}
	gap()
	row("STORE", "STATE", "SINCE", "WATCHES", "LAST ERROR")
	for _, st := range s.Stores {
		since, why := time.Time{}, ""
		if st.Stale != nil {
			since, why = st.Stale.Since, st.Stale.Words
		}
		row(st.Name, words(st.State), moment(since, s.At), fmt.Sprint(st.Watches), why)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	footer(w, s)
	return nil
}

// footer is what an operator had better not forget.
func footer(w io.Writer, s status.Status) {
	var lines []string
	for _, t := range s.Targets {
		if t.Frozen != nil {
			lines = append(lines, fmt.Sprintf("frozen: %s %s", t.ID, t.Frozen))
		}
		for _, h := range t.Held {
			by := ""
			if h.ByHand {
				by = " by hand"
			}
			lines = append(lines, fmt.Sprintf("held%s: %s since %s, until %s at the latest: %s", by, t.ID, moment(h.Since, s.At), moment(h.Until, s.At), strings.Join(h.Names, ", ")))
		}
	}
	for _, c := range s.Clusters {
		for _, a := range c.Alarms {
			lines = append(lines, fmt.Sprintf("alarm: cluster %s since %s: %s", c.Name, moment(a.Since, s.At), a.Text))
		}
		for _, p := range c.Problems {
			lines = append(lines, fmt.Sprintf("bad key: %s: %s", p.Key, p.Words))
		}
	}
	if len(lines) > 0 {
		_, _ = fmt.Fprintln(w)
	}
	for _, line := range lines {
		_, _ = fmt.Fprintln(w, status.OneLine(line))
	}
}

// note is what is to be said of a target in one line.
func note(t status.Target, at time.Time) string {
	switch {
	case t.Error != nil && !t.Error.Again.IsZero():
		return fmt.Sprintf("%s (tried %d times, again in %v)", t.Error, t.Error.Failures, max(0, t.Error.Again.Sub(at).Round(time.Second)))
	case t.Error != nil:
		return t.Error.String()
	case len(t.Waiting) > 0:
		return status.Waits(t.Waiting)
	}
	return ""
}

// ledBy are leaders in one cell: by their names, and those of their clusters if there
// are several.
func ledBy(list []status.Leader) string {
	names := make([]string, len(list))
	for i, l := range list {
		names[i] = l.Name
		if len(list) > 1 {
			names[i] = l.Cluster + "=" + l.Name
		}
	}
	return strings.Join(names, " ")
}

func replicas(list []status.Replica) string {
	serve, far := 0, 0
	for _, r := range list {
		if r.Serves {
			serve++
		}
		if r.Lag == status.LagFar {
			far++
		}
	}
	text := fmt.Sprintf("%d of %d serve", serve, len(list))
	if far > 0 {
		text += fmt.Sprintf(", %d far behind", far)
	}
	return text
}

// words are a word of the model for a person.
func words(word string) string { return strings.ReplaceAll(word, "_", " ") }

// moment is a time for a person, in his zone: its date too if it is another day.
func moment(t, now time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case t.Local().Format(time.DateOnly) == now.Local().Format(time.DateOnly):
		return t.Local().Format(time.TimeOnly)
	}
	return t.Local().Format(time.DateTime)
}
