package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/target"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/render"
)

func verifyVerb(std stdio) *cobra.Command {
	var l looking
	var as format
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "verify",
		Example: `  pgbaton verify -config pgbaton.hcl
  # after a deployment: until all is well, a minute at most
  pgbaton verify -config pgbaton.hcl -wait 1m`,
		Short: "Ask the live daemons what they serve, and compare; exit code 1 if that is another",
		Long: `Ask the live daemons what they serve, and compare it with the files on disk, and those with
what is wanted now. Nothing is changed, and no pgbaton need run.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			missing := awaited{texts: make([]string, 1)}
			defer std.progress.during(missing.String)()
			for until := time.Now().Add(wait); ; {
				var list []verdict
				err := l.look(ctx, std, func(ctx context.Context, a *assembly, targets []rendered) error {
					list = nil
					for _, t := range targets {
						list = append(list, verify(ctx, a, t))
					}
					return nil
				})
				if (err == nil && verifiedAll(list)) || !worthWaiting(err) || time.Now().After(until) {
					if err != nil {
						return err
					}
					return showVerdicts(std.out, as, list)
				}
				missing.set(0, unverified(list))
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-time.After(verifyAgain):
				}
			}
		},
	}
	lookingFlags(cmd, &l)
	as.bind(cmd)
	cmd.Flags().DurationVar(&wait, "wait", 0, "try again for so long until all is as it should be")
	return cmd
}

// verifyAgain is how long after a look the next one comes.
const verifyAgain = 250 * time.Millisecond

// worthWaiting says whether what a look failed with may pass.
func worthWaiting(err error) bool {
	var waits *target.WaitingError
	return err == nil || errors.As(err, &waits)
}

// verdict is what came of asking about one target. As JSON it is a stable format, as
// the status is.
type verdict struct {
	Target string   `json:"target"`
	OK     bool     `json:"ok"`
	Proof  string   `json:"proof"`   // followed: it was asked; sent: it lives, and can't be asked; unproved: there is nobody to ask
	How    string   `json:"how"`     // it was asked
	Disk   []string `json:"differs"` // files that are not what they should be, and in what
	Error  string   `json:"error,omitempty"`
	Hint   string   `json:"hint,omitempty"`

	unasked bool // of its daemon nothing is known
}

// verify looks at one target's files and its daemon.
func verify(ctx context.Context, a *assembly, t rendered) verdict {
	v := verdict{Target: t.spec.ID(), Proof: reload.Unproved.String(), Disk: []string{}}
	var paths []string
	var committed []reload.File
	for _, d := range render.Drifts(t.wanted.Files) {
		v.Disk = append(v.Disk, d.String())
	}
	for _, tmpl := range t.spec.Templates {
		paths = append(paths, tmpl.Destination.Path)
	}
	for _, f := range t.wanted.Files {
		content, err := os.ReadFile(f.Path)
		if err != nil {
			v.Error = err.Error()
			return v
		}
		committed = append(committed, reload.File{Path: f.Path, Staged: f.Path, Content: content})
	}
	record, err := (target.Records{Folder: state.Folder{Dir: a.config.StateDir}}).Load(v.Target, paths)
	if err != nil {
		record = target.Record{} // not ours to read: the daemon is asked all the same
	}
	verifier, can := reload.As[reload.Verifier](t.spec.Daemon)
	if !can {
		v.OK, v.How = len(v.Disk) == 0, "nobody can be asked"
		return v
	}
	mark, err := verifier.Verify(ctx, committed, record.Mark)
	if err != nil {
		v.Error, v.Hint, v.unasked = a.secrets.Hide(err.Error()), hint.Of(err), errors.Is(err, reload.ErrUnasked)
		return v
	}
	v.Proof, v.How, v.OK = mark.Proof.String(), mark.How, len(v.Disk) == 0
	return v
}

// unverified says what is not as it should be.
func unverified(list []verdict) string {
	var texts []string
	for _, v := range list {
		if !v.OK {
			texts = append(texts, v.Target+": "+cmp.Or(v.Error, strings.Join(v.Disk, ", "), "it serves something else"))
		}
	}
	return strings.Join(texts, "; ")
}

func verifiedAll(list []verdict) bool {
	for _, v := range list {
		if !v.OK {
			return false
		}
	}
	return true
}

// showVerdicts prints them. It fails if any is not as it should be.
func showVerdicts(w io.Writer, as format, list []verdict) error {
	switch as {
	case asJSON, asYAML:
		if err := as.encode(w, list); err != nil {
			return err
		}
	case asTSV:
		for _, v := range list {
			row(w, v.Target, fmt.Sprint(v.OK), v.Proof, v.How, fmt.Sprint(v.Disk), v.Error)
		}
	default:
		for _, v := range list {
			printVerdict(w, v)
		}
	}
	if !verifiedAll(list) {
		return &exitError{exitFailed, errShown}
	}
	return nil
}

func printVerdict(w io.Writer, v verdict) {
	word, colour := "as it should be", "32"
	switch {
	case v.unasked:
		word, colour = "could not be asked", "31"
	case !v.OK:
		word, colour = "not as it should be", "31"
	}
	_, _ = fmt.Fprintf(w, "%s: %s\n", v.Target, paint(word, colour, coloured(w)))
	for _, d := range v.Disk {
		_, _ = fmt.Fprintf(w, "  %s is not what is wanted\n", d)
	}
	switch {
	case v.Error != "":
		_, _ = fmt.Fprintf(w, "  %s\n", v.Error)
	case v.How != "":
		_, _ = fmt.Fprintf(w, "  %s: %s\n", v.Proof, v.How)
	}
	if v.Hint != "" {
		_, _ = fmt.Fprintf(w, "  hint: %s\n", v.Hint)
	}
}
