package status

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// lineLimit is how long a line for a person may be, in characters.
const lineLimit = 300

// Of makes a status. What it says of all of them follows from its parts.
func Of(at time.Time, p Process, targets []Target, clusters []Cluster, stores []Store) Status {
	s := Status{
		Version: Version, At: at.UTC(), Process: p,
		Targets: list(targets), Clusters: list(clusters), Stores: list(stores),
	}
	s.Process.Config = list(p.Config)
	for i := range s.Targets {
		t := &s.Targets[i]
		t.Files, t.Leaders, t.Follows, t.Waiting, t.Drift, t.Held = list(t.Files), list(t.Leaders), list(t.Follows), list(t.Waiting), list(t.Drift), list(t.Held)
		for j := range t.Held {
			t.Held[j].Names = list(t.Held[j].Names)
		}
	}
	for i := range s.Clusters {
		c := &s.Clusters[i]
		c.Probes, c.Replicas, c.Alarms, c.Problems = list(c.Probes), list(c.Replicas), list(c.Alarms), list(c.Problems)
		for j := range c.Replicas {
			c.Replicas[j].Probes = list(c.Replicas[j].Probes)
		}
	}
	s.judge()
	return s
}

// list is a list of one's own that is never null.
func list[T any](l []T) []T { return append([]T{}, l...) }

func (s *Status) judge() {
	inSync, frozen := 0, 0
	for _, t := range s.Targets {
		if t.InSync {
			inSync++
		}
		if t.Frozen != nil {
			frozen++
		}
	}
	s.Troubles = s.troubles()
	s.OK = inSync == len(s.Targets) && len(s.Troubles) == 0
	s.Line = fmt.Sprintf("%d of %d targets in sync", inSync, len(s.Targets))
	if frozen > 0 {
		s.Line += fmt.Sprintf(", %d frozen", frozen)
	}
	if len(s.Troubles) > 0 {
		s.Line += "; " + s.Troubles[0]
	}
	if more := len(s.Troubles) - 1; more > 0 {
		s.Line += fmt.Sprintf("; and %d more", more)
	}
}

// troubles are what is not as it should be, the worst first.
func (s *Status) troubles() []string {
	list := []string{}
	for _, c := range s.Clusters {
		for _, a := range c.Alarms {
			list = append(list, fmt.Sprintf("cluster %s: %s", c.Name, OneLine(a.Text)))
		}
	}
	for _, t := range s.Targets {
		if text := t.Trouble(); text != "" {
			list = append(list, text)
		}
	}
	for _, st := range s.Stores { // they may be why clusters are as they are
		if st.Stale != nil {
			list = append(list, fmt.Sprintf("store %s is stale since %s", st.Name, clock(st.Stale.Since)))
		}
	}
	for _, c := range s.Clusters {
		if c.Leader != nil && c.Phase != "steady" {
			text := fmt.Sprintf("cluster %s %s since %s", c.Name, phaseWords(c.Phase), clock(c.Since))
			if c.Fenced {
				text += ", and fenced"
			}
			list = append(list, text)
		}
	}
	if r := s.Process.Refused; r != nil {
		list = append(list, fmt.Sprintf("the config of %s was not taken up: %s", clock(r.At), OneLine(r.Text)))
	}
	return list
}

// phaseWords says what a phase means of a cluster.
func phaseWords(phase string) string {
	if phase == "lost" {
		return "has lost its leader"
	}
	return "is " + phase
}

// Trouble says in one line why a target is not in sync, as far as that is known.
func (t Target) Trouble() string {
	switch {
	case t.InSync:
		return ""
	case t.Frozen != nil:
		return fmt.Sprintf("%s is frozen %s", t.ID, t.Frozen)
	case t.Error != nil:
		return fmt.Sprintf("%s: %s", t.ID, t.Error)
	case len(t.Waiting) > 0:
		return fmt.Sprintf("%s waits for %s", t.ID, Waits(t.Waiting))
	}
	return ""
}

// String is one line for a person.
func (e Error) String() string {
	if e.Words != "" {
		return OneLine(e.Words)
	}
	return OneLine(e.Text)
}

// Waits are all that is missing in one line.
func Waits(list []Wait) string {
	texts := make([]string, len(list))
	for i, w := range list {
		texts[i] = w.For
		if !w.Since.IsZero() {
			texts[i] += " since " + clock(w.Since)
		}
		if w.Words != "" {
			texts[i] += " (" + w.Words + ")"
		}
	}
	return OneLine(strings.Join(texts, "; "))
}

// String is for a person.
func (f Freeze) String() string {
	s := "by " + f.By
	if !f.Since.IsZero() {
		s += " since " + f.Since.Local().Format(time.DateTime)
	}
	if !f.Until.IsZero() {
		s += " until " + f.Until.Local().Format(time.DateTime)
	}
	if f.Reason != "" {
		s += ": " + f.Reason
	}
	return OneLine(s)
}

// OneLine is a text of somebody else's as one line that does nothing to a terminal,
// and adds nothing to what systemd is told: its control characters are gone, and what
// is too long is cut.
func OneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	if runes := []rune(strings.Join(strings.Fields(text), " ")); len(runes) > lineLimit {
		return string(runes[:lineLimit]) + "…"
	} else {
		return string(runes)
	}
}

// clock is a time for a person, in the zone of whoever looks.
func clock(t time.Time) string { return t.Local().Format(time.TimeOnly) }

// NotReady says why whoever asks pgbaton's daemons is not served as the config wants
// it: a target that was never in sync, or data that can't be confirmed. Empty is ready.
func (s Status) NotReady() []string {
	var reasons []string
	for _, t := range s.Targets {
		if !t.Applied.IsZero() {
			continue
		}
		reason := t.Trouble()
		if reason == "" {
			reason = t.ID + " is not in sync yet"
		}
		reasons = append(reasons, reason)
	}
	for _, st := range s.Stores {
		switch {
		case st.Stale != nil:
			reasons = append(reasons, fmt.Sprintf("store %s is stale since %s", st.Name, st.Stale.Since.UTC().Format(time.RFC3339)))
		case st.State == StoreAsked:
			reasons = append(reasons, fmt.Sprintf("store %s has not answered yet", st.Name))
		}
	}
	return slices.Clip(reasons)
}
