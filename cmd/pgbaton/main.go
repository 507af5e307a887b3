// Pgbaton keeps PgBouncer, HAProxy and keepalived pointed at the right
// PostgreSQL.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/grpclog"

	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/internal/secret"
	"github.com/pgbaton/pgbaton/internal/target"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/render"
)

func main() {
	if err := proc.NoCore(); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "pgbaton: %v\n", err) // no reason to leave traffic where it is
	}
	// What gRPC has to say of etcd comes as errors too; its own log would stand in the middle of ours.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	os.Exit(run(context.Background(), os.Args[1:], stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// stdio is where a verb reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
	secrets  *secret.Keeper // what err does not show
	progress *progress      // the last line of err, if a person looks
	recent   *recent        // keeps the last of the daemon's log; nil is nobody
}

// Exit codes, as README documents them.
const (
	exitDone    = 0
	exitFailed  = 1
	exitChanges = 2  // diff, or fmt -check, found some
	exitConfig  = 3  // the config or a template is bad
	exitWaiting = 4  // something was still missing at the time limit
	exitRefused = 5  // a daemon's check refused what was rendered
	exitUsage   = 64 // the command line is bad
)

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, std stdio) int {
	std.secrets = &secret.Keeper{}
	std.secrets.Learn(strings.Join(os.Environ(), "\n"))
	if std.progress = newProgress(std.err); std.progress != nil {
		std.err = std.progress
	}
	std.err = std.secrets.Writer(std.err)
	if out := asTyped(args, std.out); out != nil {
		defer out.end()
		std.out = out
	}
	root := newRoot(std)
	root.SetArgs(dashes(verbless(args)))
	cmd, err := root.ExecuteContextC(ctx)
	// cobra has no types for these.
	if err != nil && (strings.HasPrefix(err.Error(), "unknown command") || strings.HasPrefix(err.Error(), "required flag")) {
		err = usage(err, cmd.CommandPath())
	}
	return report(std.err, err)
}

// groups are what the verbs are for, in the order of the overview.
var groups = []struct {
	title string
	verbs func(std stdio) []*cobra.Command
}{
	{"To begin:", func(std stdio) []*cobra.Command {
		return []*cobra.Command{initVerb(std), demoVerb(std), checkVerb(std), fmtVerb(std), configVerb(std)}
	}},
	{"To see what would be:", func(std stdio) []*cobra.Command {
		return []*cobra.Command{renderVerb(std), diffVerb(std), captureVerb(std)}
	}},
	{"To run:", func(std stdio) []*cobra.Command {
		return []*cobra.Command{
			runVerb(std), statusVerb(std), historyVerb(std), verifyVerb(std), freezeVerb(std), thawVerb(std), applyVerb(std),
			holdVerb(std), releaseVerb(std), doctorVerb(std),
		}
	}},
	{more, func(std stdio) []*cobra.Command {
		return []*cobra.Command{explainVerb(std), reportVerb(std), versionVerb(std)}
	}},
}

const more = "More:"

// newRoot makes the command line.
func newRoot(std stdio) *cobra.Command {
	var order []string
	root := &cobra.Command{
		Use:   "pgbaton",
		Short: "Keeps PgBouncer, HAProxy and keepalived pointed at the right PostgreSQL",
		Long: `pgbaton keeps PgBouncer, HAProxy, pgpool-II and keepalived pointed at the right PostgreSQL: it watches who leads a PostgreSQL cluster, renders
configs from templates, lets each daemon check them, swaps them in, and makes the daemon follow.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			overview(cmd, order, std.err)
			return usage(errors.New("name a verb"), cmd.CommandPath())
		},
		Example: `  pgbaton init -patroni batman -pgbouncer /etc/pgbouncer -out pgbouncer.hcl
  pgbaton check -config pgbaton.hcl
  pgbaton diff -config pgbaton.hcl # exit 2
  pgbaton run -once -config pgbaton.hcl`,
		DisableAutoGenTag: true,
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(err, cmd.CommandPath()) })
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, verb := range g.verbs(std) {
			verb.GroupID = g.title
			root.AddCommand(verb)
			order = append(order, verb.Name())
		}
	}
	root.AddCommand(guardVerb(std), pagesVerb(std))
	root.SetHelpCommandGroupID(more)
	root.SetCompletionCommandGroupID(more)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	completions(root)
	return root
}

// overview lists the verbs for whoever names none, in some order.
func overview(root *cobra.Command, order []string, w io.Writer) {
	_, _ = fmt.Fprintf(w, "%s.\n", root.Short)
	colour := coloured(w)
	for _, g := range root.Groups() {
		_, _ = fmt.Fprintf(w, "\n%s\n", paint(g.Title, "1", colour))
		for _, name := range order {
			if verb, _, err := root.Find([]string{name}); err == nil && verb.GroupID == g.ID {
				_, _ = fmt.Fprintf(w, "  %-11s %s\n", verb.Name(), verb.Short)
			}
		}
	}
	_, _ = fmt.Fprintln(w)
}

// dashes lets long flags be written with one dash, as consul-template's are.
func dashes(args []string) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		if arg == "--" {
			copy(out[i:], args[i:])
			break
		}
		out[i] = arg
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "--") && len(name) > 1 {
			out[i] = "-" + arg
		}
	}
	return out
}

// exitError is an error with the exit code that it means.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// errShown ends a verb whose output says all that is wrong.
var errShown = errors.New("see above")

func usage(err error, command string) error {
	return &exitError{exitUsage, explain.Mark(hint.Wrap(err, "%s -help", command), explain.Usage)}
}

// noArgs refuses arguments that are no flags.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(fmt.Errorf("unexpected argument %q", args[0]), cmd.CommandPath())
	}
	return nil
}

// report tells a person what went wrong, and returns the exit code for it.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	var exit *exitError
	var problems config.Problems
	var waiting *target.WaitingError
	var template *render.Error
	code := exitFailed
	switch {
	case errors.As(err, &exit):
		code = exit.code
	case errors.As(err, &problems), errors.As(err, &template):
		code = exitConfig
	case errors.As(err, &waiting):
		code = exitWaiting
	case errors.Is(err, reload.ErrRefused), errors.Is(err, target.ErrGuarded):
		code = exitRefused
	}
	if errors.As(err, &problems) {
		for _, p := range problems {
			_, _ = fmt.Fprint(w, p.String())
		}
		return code
	}
	if code == exitChanges || errors.Is(err, errShown) {
		return code
	}
	if isTerminal(w) {
		defer explained(w, err)
	}
	for _, one := range flatten(err) {
		_, _ = fmt.Fprintf(w, "pgbaton: %v", one)
		if code := explain.Of(one); code != "" {
			_, _ = fmt.Fprintf(w, " (%s)", code)
		}
		_, _ = fmt.Fprintln(w)
		if errors.As(one, &template) {
			_, _ = fmt.Fprint(w, hint.Excerpt(template.Line, template.Column, template.Text))
		}
		if h := hint.Of(one); h != "" {
			_, _ = fmt.Fprintf(w, "hint: %s\n", h)
		}
	}
	return code
}

// explained tells whoever looks what the code behind an error is for.
func explained(w io.Writer, err error) {
	if code := explain.Of(err); code != "" && code != explain.Usage {
		_, _ = fmt.Fprintln(w, paint("pgbaton explain "+code+" says more", "2", coloured(w)))
	}
}

// flatten lists the errors that were joined.
func flatten(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// interruptible ends its context at SIGINT and SIGTERM.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
}
