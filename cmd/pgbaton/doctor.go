package main

import (
	"cmp"
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
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/login"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/internal/secret"
)

// doctorFile is where pgDoctor looks for its config.
const doctorFile = "/etc/pgdoctor.cfg"

func doctorVerb(std stdio) *cobra.Command {
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
It reads pgDoctor's file as it is, ` + doctorFile + ` without an argument, and again at SIGHUP.`,
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
			file := doctorFile
			if len(args) == 1 {
				file = args[0]
			}
			c, problems := readDoctor(file, std.secrets)
			if problems.Fatal() {
				return problems
			}
			switch {
			case parseOnly:
				for _, p := range problems {
					_, _ = fmt.Fprint(std.err, p.String())
				}
				_, err := fmt.Fprintf(std.out, "%s: ok, checks: %d\n", file, len(c.Checks))
				return err
			case once:
				return examineOnce(cmd.Context(), std, c, problems)
			}
			return serveDoctor(cmd.Context(), std, file, c, problems)
		},
	}
	cmd.Flags().BoolVar(&parseOnly, "parse-only", false, "say what is wrong with the file, and exit")
	cmd.Flags().BoolVar(&once, "once", false, "run the checks once, print what a balancer would be told, and exit; 1 if the server is not well")
	return cmd
}

// readDoctor reads a pgdoctor.cfg, and all that makes it impossible to serve.
func readDoctor(path string, secrets *secret.Keeper) (doctor.Config, config.Problems) {
	content, err := os.ReadFile(path)
	if err != nil {
		return doctor.Config{}, config.Problems{{
			File: path, Message: err.Error(), Code: explain.ConfigUnreadable, Hint: "name the file of pgDoctor, as pgbaton doctor /etc/pgdoctor.cfg",
		}}
	}
	c, mistakes := doctor.Read(string(content))
	secrets.Know(c.Password)
	var problems config.Problems
	for _, m := range mistakes {
		problems = append(problems, config.Problem{
			File: path, Line: m.Line, Message: m.Err.Error(), Text: m.Text, Hint: cmp.Or(hint.Of(m.Err), "docs/doctor.md has every setting"),
			Code: cmp.Or(explain.Of(m.Err), explain.ConfigValue), Warning: m.Warning,
		})
	}
	if problems.Fatal() {
		return c, problems
	}
	if info, err := os.Stat(path); err == nil && c.Password != "" && info.Mode().Perm()&0o004 != 0 {
		problems = append(problems, config.Problem{
			File: path, Message: "everybody can read the password in it", Hint: "chmod o-r " + path, Code: explain.ConfigValue, Warning: true,
		})
	}
	if _, err := doctor.NewServer(c); err != nil {
		problems = append(problems, config.Problem{File: path, Message: err.Error(), Hint: hint.Of(err), Code: explain.ConfigValue})
	}
	if password, err := login.Password(c.PasswordFile); err == nil {
		secrets.Know(password)
	}
	return c, problems
}

// examineOnce prints what a balancer would be told.
func examineOnce(ctx context.Context, std stdio, c doctor.Config, problems config.Problems) error {
	for _, p := range problems {
		_, _ = fmt.Fprint(std.err, p.String())
	}
	server, err := doctor.NewServer(c)
	if err != nil {
		return err
	}
	shared := doctor.NewShared(server, c.HTTPTimeout, server.Limit())
	err = shared.Examine(ctx)
	shared.Wait()
	server.Close()
	if err != nil {
		for _, reason := range doctor.Reasons(err) {
			_, _ = fmt.Fprintln(std.out, std.secrets.Hide(reason))
		}
		return &exitError{exitFailed, errShown}
	}
	_, err = fmt.Fprintln(std.out, "OK")
	return err
}

// serveDoctor serves until it is told to stop.
func serveDoctor(ctx context.Context, std stdio, file string, c doctor.Config, problems config.Problems) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	log := doctorLogger(c, std)
	warn(log, problems)
	p, err := openPractice(ctx, c, std.secrets, log)
	if err != nil {
		return err
	}
	slim(log)
	notify := newNotifier(log)
	notify.ready("serves " + p.address())
	log.Info("serving", "listen", p.address(), "server", fmt.Sprintf("%s:%d", c.Host, c.Port), "checks", len(c.Checks))
	watchdog := notify.watchdog()
	defer notify.close()
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
			c, problems := readDoctor(file, std.secrets)
			warn(log, problems)
			if problems.Fatal() {
				log.Error("config refused, the old one stays", "code", explain.ConfigRefused, "hint", "pgbaton doctor -parse-only "+file+" says what is wrong with it")
			} else {
				p.take(c)
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

// doctorLogger logs to standard error, and to syslog as pgDoctor does if there is one.
func doctorLogger(c doctor.Config, std stdio) hclog.Logger {
	settings := &config.Config{LogLevel: "info"}
	if c.SyslogFacility != "" {
		settings.Syslog = &config.Syslog{Facility: strings.ToUpper(c.SyslogFacility), Name: "pgbaton"}
	}
	log, err := daemonLogger(settings, std)
	if err == nil {
		return log
	}
	settings.Syslog = nil
	log, _ = daemonLogger(settings, std)
	log.Warn("no syslog: what happens is told here alone", "error", err, "hint", "leave syslog_facility out where there is none")
	return log
}
