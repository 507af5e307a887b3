package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/doctor"
	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/proc"
)

func doctorVerb(std stdio) *cobra.Command {
	var from referral
	var once, parseOnly bool
	cmd := &cobra.Command{
		Use: "doctor [FILE]",
		Example: `  # what is wrong with the file
  pgbaton doctor -parse-only pgdoctor.cfg
  # what a balancer would be told; here the server is down
  pgbaton doctor -once pgdoctor.cfg # exit 1
  pgbaton doctor pgdoctor.cfg`,
		Short: "A health check for load balancers, in the place of pgDoctor",
		Long: `Serves GET / on port 8071: 200 and OK if the PostgreSQL server of this machine passes all checks of a pgdoctor.cfg, else 500 and why not.
It reads pgDoctor's file as it is, ` + doctorFile + ` without an argument, and again at SIGHUP.

With -config it serves GET /CLUSTER/MEMBER as well, or alone without FILE: whether a member of a cluster passes the probes of that config.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(fmt.Errorf("unexpected argument %q", args[1]), cmd.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"cfg"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1:
				from.file = args[0]
			case len(from.wide.paths) == 0:
				from.file = doctorFile
			}
			if from.listen != "" {
				if _, _, err := addressOf(from.listen); err != nil {
					return usage(err, cmd.CommandPath())
				}
			}
			p, problems := from.read(std.secrets)
			if problems.Fatal() {
				return problems
			}
			switch {
			case parseOnly:
				for _, p := range problems {
					_, _ = fmt.Fprint(std.err, p.String())
				}
				return p.summarise(std.out, from)
			case once:
				return examineOnce(cmd.Context(), std, p, problems)
			}
			return serveDoctor(cmd.Context(), std, from, p, problems)
		},
	}
	cmd.Flags().StringArrayVar(&from.wide.paths, "config", nil, "config `file` or folder with clusters that have probes; may be repeated")
	cmd.Flags().StringVar(&from.listen, "listen", "", "listen on this `host:port`, whatever the file says")
	cmd.Flags().BoolVar(&parseOnly, "parse-only", false, "say what is wrong with the file, and exit")
	cmd.Flags().BoolVar(&once, "once", false, "look once, print what a balancer would be told, and exit; 1 if not all is well")
	return cmd
}

// examineOnce prints what a balancer would be told.
func examineOnce(ctx context.Context, std stdio, from plan, problems config.Problems) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	for _, p := range problems {
		_, _ = fmt.Fprint(std.err, p.String())
	}
	quiet := &config.Config{LogLevel: "error"} // what is printed is the verb's result
	log := newLogger(quiet, std)
	patients, err := admit(ctx, from, std.secrets, log)
	if err != nil {
		return err
	}
	defer patients.release()
	paths, err := patients.paths(ctx)
	if err != nil {
		return err
	}
	bad := false
	for _, path := range paths {
		reasons := doctor.Reasons(patients.find(path).Examine(ctx))
		if len(reasons) == 0 {
			reasons = []string{"OK"}
		} else {
			bad = true
		}
		for _, reason := range reasons {
			if path != "/" || len(paths) > 1 {
				reason = path + " " + reason
			}
			_, _ = fmt.Fprintln(std.out, std.secrets.Hide(reason))
		}
	}
	if bad {
		return &exitError{exitFailed, errShown}
	}
	return nil
}

// serveDoctor serves until it is told to stop.
func serveDoctor(ctx context.Context, std stdio, from referral, now plan, problems config.Problems) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	log := doctorLogger(now, std)
	warn(log, problems)
	p, err := openPractice(ctx, now, std.secrets, log)
	if err != nil {
		return err
	}
	slim(log)
	notify := newNotifier(log)
	defer notify.close()
	notify.ready("serves " + p.address())
	log.Info("serving", append([]any{"listen", p.address()}, now.describe()...)...)
	watchdog := notify.watchdog()
	for {
		select {
		case <-ctx.Done():
			notify.stopping()
			log.Info("stopping")
			return p.close()
		case err := <-p.ended:
			return errors.Join(err, p.close())
		case <-watchdog:
			notify.alive()
		case <-again:
			notify.reloading()
			next, problems := from.read(std.secrets)
			warn(log, problems)
			if problems.Fatal() {
				log.Error("config refused, the old one stays", "code", explain.ConfigRefused, "hint", "pgbaton doctor -parse-only, with the same arguments, says what is wrong with it")
			} else {
				p.take(ctx, next)
			}
			notify.ready("serves " + p.address())
		}
	}
}

// slim keeps the memory small: this runs on every replica, beside what needs it.
func slim(log hclog.Logger) {
	debug.SetGCPercent(25)
	debug.FreeOSMemory()
	given, err := proc.Trim()
	log.Debug("memory given back", "bytes", given, "error", err)
}

// doctorLogger logs as the config wants it, and to syslog as pgDoctor does if there is
// one.
func doctorLogger(p plan, std stdio) hclog.Logger {
	settings := config.Config{LogLevel: "info"}
	if p.wide != nil {
		settings = *p.wide
	}
	was := settings.Syslog
	if p.local && p.here.SyslogFacility != "" {
		settings.Syslog = &config.Syslog{Facility: strings.ToUpper(p.here.SyslogFacility), Name: "pgbaton"}
	}
	log, err := daemonLogger(&settings, std)
	if err == nil {
		return log
	}
	settings.Syslog, settings.LogFile = nil, nil
	log, _ = daemonLogger(&settings, std)
	advice := "leave syslog_facility out where there is none"
	if was != nil {
		advice = "see the blocks syslog and log_file of the config"
	}
	log.Warn("what happens is told here alone", "error", err, "hint", advice)
	return log
}
