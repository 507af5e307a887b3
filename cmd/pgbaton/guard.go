package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/target"
)

// guardOf starts a process beside the daemon that releases a hold at its
// deadline if the daemon was killed. A daemon that is started meanwhile takes
// the hold over; then the guard finds nothing to do.
func guardOf(folder state.Folder, spec target.Spec, log hclog.Logger) func(time.Time) func() {
	return func(time.Time) func() {
		done, err := startGuard(folder, target.HeldPrefix+spec.ID(), false)
		if err != nil {
			log.Error("nobody will release the traffic if pgbaton is killed now", "target", spec.ID(), "error", err)
			return func() {}
		}
		return done
	}
}

// startGuard starts a guard of a file in the state folder; alone is for a
// parent that ends at once. done says that there is nothing to guard any more.
func startGuard(folder state.Folder, file string, alone bool) (done func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start guard: %w", err)
	}
	cmd := exec.Command(self, "guard", "-state-dir", folder.Dir, "-file", file) //nolint:noctx // it outlives its parent
	// Signals that end a terminal's job, or its service, are not for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if alone {
		if err := cmd.Start(); err != nil {
			return nil, fmt.Errorf("start guard: %w", err)
		}
		return func() {}, cmd.Process.Release()
	}
	// It reads until its parent closes this, or dies.
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start guard: %w", err)
	}
	return func() {
		_ = stdin.Close()
		_ = cmd.Wait() // it ends at once: there is nothing held
	}, nil
}

func guardVerb(std stdio) *cobra.Command {
	var dir, file string
	cmd := &cobra.Command{
		Use: "guard", Short: "Release a hold at its deadline", Hidden: true, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := hclog.New(&hclog.LoggerOptions{Name: "pgbaton", Output: std.err, TimeFormat: time.RFC3339Nano}).Named("guard")
			_, _ = io.Copy(io.Discard, std.in)
			return guard(cmd.Context(), state.Folder{Dir: dir}, file, log)
		},
	}
	cmd.Flags().StringVar(&dir, "state-dir", "", "the state folder")
	cmd.Flags().StringVar(&file, "file", "", "the file in it")
	return cmd
}

// guard waits until a hold is over or its deadline has passed. It looks again
// and again: another daemon may have taken the hold over.
func guard(ctx context.Context, folder state.Folder, file string, log hclog.Logger) error {
	const look = 200 * time.Millisecond
	for {
		holds, found, err := loadHolds(folder, file)
		if err != nil || !found {
			return err
		}
		// The daemon itself acts at the deadline: it goes first.
		if late := until(holds).Add(5 * look); time.Now().After(late) {
			_, err := releaseFile(ctx, folder, file, log)
			if err == nil {
				log.Warn("released what was held: its time has passed", "target", holds.Target)
				return nil
			}
			log.Error("traffic stays held", "error", err, "hint", hint.Of(err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(look):
		}
	}
}
