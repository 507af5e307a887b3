package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/target"
)

// A guard is a process beside the daemon that releases holds at their deadline,
// if the daemon was killed or hangs. A daemon that is started meanwhile takes
// the holds over; then the guard finds nothing to do.
const (
	guardLooks = 200 * time.Millisecond
	guardLate  = time.Second     // the daemon itself acts at the deadline: it goes first
	guardFails = 5 * time.Second // between two tries of a release that failed
	guardDone  = "done\n"        // from the parent: there is nothing to guard any more
)

// guardProcess is a guard as its parent has it.
type guardProcess struct {
	stdin io.WriteCloser
	cmd   *exec.Cmd
}

// Leave implements target.Guard.
func (g *guardProcess) Leave(over bool) {
	if over {
		_, _ = io.WriteString(g.stdin, guardDone)
	}
	_ = g.stdin.Close()
	go func() { _ = g.cmd.Wait() }() // it goes when it has nothing to do; until then it is nobody's worry
}

// guardOf starts guards of a target's holds.
func guardOf(folder state.Folder, spec target.Spec, log hclog.Logger) func() target.Guard {
	return func() target.Guard {
		cmd := guardCommand(folder, target.HeldPrefix+spec.ID())
		cmd.Stderr = os.Stderr
		stdin, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			log.Error("nobody will release the traffic if pgbaton is killed now", "target", spec.ID(), "error", err)
			return nil
		}
		return &guardProcess{stdin: stdin, cmd: cmd}
	}
}

// guardAlone starts a guard that outlives its parent.
func guardAlone(folder state.Folder, file string) error {
	cmd := guardCommand(folder, file)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start guard: %w", err)
	}
	return cmd.Process.Release()
}

func guardCommand(folder state.Folder, file string) *exec.Cmd {
	// This very program, whatever lies at its path by now.
	cmd := exec.Command("/proc/self/exe", "guard", "-state-dir", folder.Dir, "-file", file) //nolint:noctx // it outlives its parent
	cmd.Args[0] = "pgbaton"
	// Signals that end a terminal's job are not for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

func guardVerb(std stdio) *cobra.Command {
	var dir, file string
	cmd := &cobra.Command{
		Use: "guard", Short: "Release a hold at its deadline", Hidden: true, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := hclog.New(&hclog.LoggerOptions{Name: "pgbaton", Output: std.err, TimeFormat: time.RFC3339Nano}).Named("guard")
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go func() {
				if line, _ := bufio.NewReader(std.in).ReadString('\n'); line == guardDone {
					cancel()
				}
			}()
			return guard(ctx, state.Folder{Dir: dir}, file, log)
		},
	}
	cmd.Flags().StringVar(&dir, "state-dir", "", "the state folder")
	cmd.Flags().StringVar(&file, "file", "", "the file in it")
	return cmd
}

// guard waits until a hold is over or its deadline has passed. It looks again
// and again: another daemon may have taken the hold over.
func guard(ctx context.Context, folder state.Folder, file string, log hclog.Logger) error {
	begun := time.Now()
	for {
		holds, found, err := loadHolds(folder, file)
		if err != nil || !found {
			return err
		}
		pause := guardLooks
		if overdue(holds, time.Since(begun), time.Now()) {
			names, err := releaseFile(ctx, folder, file, log)
			if names != nil {
				log.Warn("released what was held: its time has passed", "target", holds.Target)
				return err // what can't be removed is released all the same
			}
			log.Error("traffic stays held", "code", explain.StaysHeld, "error", err, "hint", hint.Of(err))
			pause = guardFails
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// overdue says whether the last of the holds should have ended, by a clock that may
// have been set meanwhile: ran is how long the guard has run, whatever it says. A clock
// that was set back does not count; one that was set ahead ends a hold early.
func overdue(h target.Holds, ran time.Duration, now time.Time) bool {
	longest := time.Duration(0)
	for _, one := range h.Holds {
		longest = max(longest, one.Until.Sub(one.Began))
	}
	return now.After(until(h).Add(guardLate)) || ran > longest+guardLate+guardFails
}
