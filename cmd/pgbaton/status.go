package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/control"
	"github.com/pgbaton/pgbaton/internal/status"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

func statusVerb(std stdio) *cobra.Command {
	var from running
	var as format
	var quiet, watch bool
	var every time.Duration
	cmd := &cobra.Command{
		Use: "status",
		Example: `  pgbaton status -config pgbaton.hcl
  # for a program; the exit code is 1 if not all is well
  pgbaton status -config pgbaton.hcl -json`,
		Short: "What the pgbaton that runs is doing",
		Long: `What the pgbaton that runs is doing. The first line is the verdict; the exit code is 0 if
all is as it should be, and else 1.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < 100*time.Millisecond {
				return usage(fmt.Errorf("-every %v is less than 100ms", every), cmd.CommandPath())
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			show := func(w io.Writer) error {
				found, err := from.find(ctx)
				if err != nil {
					return err
				}
				if quiet {
					w = io.Discard
				}
				return showStatus(w, found, as)
			}
			if watch {
				return watching(ctx, std.out, every, show)
			}
			return show(std.out)
		},
	}
	from.bind(cmd)
	as.bind(cmd)
	cmd.Flags().BoolVar(&quiet, "quiet", false, "print nothing; the exit code tells")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "print it again and again")
	cmd.Flags().DurationVar(&every, "every", 2*time.Second, "with -watch: how often")
	return cmd
}

// watching shows something again and again until ctx ends. On a terminal it stays in its
// place.
func watching(ctx context.Context, w io.Writer, every time.Duration, show func(io.Writer) error) error {
	for {
		var out strings.Builder
		err := show(&out)
		if err != nil && !errors.Is(err, errShown) {
			fmt.Fprintf(&out, "%v\n", err) // it may be back in a moment
		}
		text := out.String()
		if isTerminal(w) {
			text = "\x1b[H\x1b[2J" + text
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

// showStatus prints the status of each. It fails if any is not as it should be.
func showStatus(w io.Writer, found []control.Found, as format) error {
	ok := true
	for i, f := range found {
		ok = ok && f.Status.OK
		switch as {
		case asJSON, asYAML:
			if err := as.encode(w, f.Status); err != nil {
				return err
			}
		case asTSV:
			tabStatus(w, f.Status)
		default:
			if i > 0 {
				_, _ = fmt.Fprintln(w)
			}
			printStatus(w, f.Status)
		}
	}
	if !ok {
		return &exitError{exitFailed, errShown}
	}
	return nil
}

func printStatus(w io.Writer, s status.Status) {
	p := s.Process
	colour := "32"
	if !s.OK {
		colour = "31"
	}
	_, _ = fmt.Fprintln(w, paint(status.OneLine(s.Line), colour, coloured(w)))
	_, _ = fmt.Fprintf(w, "pgbaton %s, process %d of %s, up %v, config %s\n", p.Version, p.PID, p.User, s.At.Sub(p.Started).Round(time.Second), strings.Join(p.Config, " "))

	g := newGrid("", "Target", "Leader", "State", "Rendered", "Applied", "Verified", "Age")
	for _, t := range s.Targets {
		g.add(t.ID, or(ledBy(t.Follows)), words(t.State), or(short(t.Wanted)), or(short(t.Committed)), verified(t), age(t.Since, s.At))
	}
	g.render(w)
	for _, c := range s.Clusters {
		clusterGrid(c, s.At).render(w)
	}
	g = newGrid("", "Store", "State", "Since", "Watches", "Last error")
	for _, st := range s.Stores {
		since, why := time.Time{}, ""
		if st.Stale != nil {
			since, why = st.Stale.Since, st.Stale.Words
		}
		if st.State != status.StoreUnused {
			g.add(st.Name, words(st.State), or(moment(since, s.At)), fmt.Sprint(st.Watches), or(why))
		}
	}
	g.render(w)
	footer(w, s)
}

// clusterGrid is a cluster as patronictl list has it.
func clusterGrid(c status.Cluster, at time.Time) *grid {
	title := fmt.Sprintf("Cluster: %s (%s", c.Name, words(c.Phase))
	if !c.Since.IsZero() {
		title += " for " + age(c.Since, at)
	}
	if c.Fenced {
		title += ", fenced"
	}
	if c.Created > 0 {
		title += fmt.Sprintf(", term %d", c.Created)
	}
	if c.System != "" {
		title += ", " + c.System
	}
	g := newGrid(title+")", "Member", "Host", "Role", "State", "TL", "Lag")
	if l := c.Leader; l != nil {
		role := "Leader"
		if c.Standby {
			role = "Standby Leader"
		}
		by := c.By
		if by == string(cluster.WayKey) {
			by = "its key"
		}
		g.add(l.Name, fmt.Sprintf("%s:%d", l.Host, l.Port), role, "confirmed by "+or(by)+unfit(c.Probes), timeline(c.Timeline), "")
	}
	for _, r := range c.Replicas {
		role := "Replica"
		if r.Sync {
			role = "Sync Standby"
		}
		doing := r.State
		if !r.Serves {
			doing += ", does not serve"
		}
		doing += unfit(r.Probes)
		lag := r.Lag
		if r.LagBytes != nil {
			lag = size(*r.LagBytes)
			if r.Lag == status.LagFar {
				lag += ", far behind"
			}
		}
		if r.Delay != nil {
			lag += ", " + time.Duration(*r.Delay*float64(time.Second)).Round(10*time.Millisecond).String()
		}
		g.add(r.Name, fmt.Sprintf("%s:%d", r.Host, r.Port), role, doing, timeline(r.Timeline), lag)
	}
	if len(g.rows) == 0 {
		g.add("nobody", "", "", "", "", "")
	}
	return g
}

// unfit says which probes have something against a member, and what.
func unfit(probes []status.Probe) string {
	text := ""
	for _, p := range probes {
		if !p.Fit {
			text += fmt.Sprintf(", unfit: %s", p.Name)
			if p.Words != "" {
				text += " (" + p.Words + ")"
			}
		}
	}
	return text
}

// tabStatus prints the status as lines of fields, for scripts: what a line is of comes
// first.
func tabStatus(w io.Writer, s status.Status) {
	row(w, "verdict", fmt.Sprint(s.OK), s.Line)
	for _, t := range s.Targets {
		row(w, "target", t.ID, t.State, t.Since.Format(time.RFC3339), ledBy(t.Follows), t.Wanted, t.Committed, t.Followed, t.Proof, note(t, s.At))
	}
	for _, c := range s.Clusters {
		leader, address := "", ""
		if l := c.Leader; l != nil {
			leader, address = l.Name, fmt.Sprintf("%s:%d", l.Host, l.Port)
		}
		row(w, "cluster", c.Name, c.Phase, c.Since.Format(time.RFC3339), leader, address, timeline(c.Timeline), fmt.Sprint(c.Created))
		for _, p := range c.Probes {
			row(w, "probe", c.Name, leader, p.Name, fmt.Sprint(p.Fit), p.Since.Format(time.RFC3339))
		}
		for _, r := range c.Replicas {
			lag := ""
			if r.LagBytes != nil {
				lag = fmt.Sprint(*r.LagBytes)
			}
			row(w, "replica", c.Name, r.Name, fmt.Sprintf("%s:%d", r.Host, r.Port), r.Role, r.State, fmt.Sprint(r.Serves), timeline(r.Timeline), lag)
			for _, p := range r.Probes {
				row(w, "probe", c.Name, r.Name, p.Name, fmt.Sprint(p.Fit), p.Since.Format(time.RFC3339))
			}
		}
	}
	for _, st := range s.Stores {
		since := ""
		if st.Stale != nil {
			since = st.Stale.Since.Format(time.RFC3339)
		}
		row(w, "store", st.Name, st.State, since, fmt.Sprint(st.Watches), fmt.Sprint(st.Failing))
	}
}

// verified says whether a target's daemon was seen to follow what is wanted.
func verified(t status.Target) string {
	switch {
	case t.Followed == "":
		return "-"
	case t.Followed != t.Wanted:
		return "behind"
	}
	return t.Proof
}

// footer is what each target waits for or could not do, and what an operator had better
// not forget.
func footer(w io.Writer, s status.Status) {
	var lines []string
	for _, t := range s.Targets {
		if text := note(t, s.At); text != "" {
			lines = append(lines, fmt.Sprintf("%s: %s", t.ID, text))
		}
		if t.Error != nil && t.Error.Hint != "" {
			lines = append(lines, "hint: "+t.Error.Hint)
		}
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
		return "waits for " + status.Waits(t.Waiting)
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
