package proc_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

// childOf reads the process ID that a script wrote, once it did.
func childOf(t *testing.T, file string) int {
	t.Helper()
	var pid int
	servertest.Eventually(t, "child writes its process id", func() error {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(data)))
		return err
	})
	return pid
}

func mustEnd(t *testing.T, pid int) {
	t.Helper()
	servertest.Eventually(t, fmt.Sprintf("process %d ends", pid), func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, rest, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(rest, "Z") {
			return nil
		}
		return errors.New("it is alive")
	})
}

func TestRunTellsOfTheEnd(t *testing.T) {
	for _, tc := range []struct {
		name, script  string
		code          int
		saidNo        bool
		out, mentions string
	}{
		{name: "success", script: "echo fine; echo also >&2", out: "fine\nalso\n"},
		{name: "says no", script: "echo bad line 3; exit 7", code: 7, saidNo: true, out: "bad line 3\n", mentions: "bad line 3"},
		{name: "crashes", script: "echo so far; kill -SEGV $$", code: -1, out: "so far\n", mentions: "segmentation fault"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := proc.Run(t.Context(), proc.Command{Args: sh(tc.script)})
			if out != tc.out {
				t.Errorf("output %q, want %q", out, tc.out)
			}
			if (err != nil) != (tc.code != 0) {
				t.Fatalf("error %v, want code %d", err, tc.code)
			}
			if got := proc.SaidNo(err); got != tc.saidNo {
				t.Errorf("SaidNo = %v, want %v (%v)", got, tc.saidNo, err)
			}
			var pe *proc.Error
			if err != nil && (!errors.As(err, &pe) || pe.Code != tc.code || !strings.Contains(err.Error(), tc.mentions)) {
				t.Errorf("error %v, want code %d and %q", err, tc.code, tc.mentions)
			}
		})
	}
}

func TestRunCannotStart(t *testing.T) {
	_, err := proc.Run(t.Context(), proc.Command{Args: []string{"no-such-program-here"}})
	if !errors.Is(err, exec.ErrNotFound) || proc.SaidNo(err) {
		t.Errorf("missing in PATH: %v", err)
	}
	_, err = proc.Run(t.Context(), proc.Command{Args: []string{filepath.Join(t.TempDir(), "absent")}})
	if !errors.Is(err, fs.ErrNotExist) || proc.SaidNo(err) {
		t.Errorf("missing file: %v", err)
	}
	if _, err = proc.Run(t.Context(), proc.Command{}); err == nil {
		t.Error("an empty command ran")
	}
}

func TestTimeLimitKillsTheWholeTree(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	// The grandchild holds the output open, and so would hold up Run.
	script := fmt.Sprintf(`sh -c 'sleep 600 & echo $! >%s; wait' & echo started; wait`, file)
	begin := time.Now()
	out, err := proc.Run(t.Context(), proc.Command{Args: sh(script), Timeout: 500 * time.Millisecond})
	if !errors.Is(err, proc.ErrTimeout) || proc.SaidNo(err) {
		t.Errorf("error %v, want a time-out", err)
	}
	if out != "started\n" {
		t.Errorf("output %q is lost", out)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	mustEnd(t, childOf(t, file))
}

// TestAChildLeavesTheGroup: nobody waits for what left the command's group, which is
// all that can be done about it.
func TestAChildLeavesTheGroup(t *testing.T) {
	for _, alone := range []bool{true, false} {
		file := filepath.Join(t.TempDir(), "pid")
		script := fmt.Sprintf(`setsid sh -c 'echo $$ >%s; exec sleep 600' & echo started; while [ ! -s %[1]s ]; do :; done; exec sleep 600`, file)
		c := proc.Command{Args: sh(script), Timeout: time.Second}
		if alone {
			c.Confined = &proc.Confinement{}
		}
		out, err := proc.Run(t.Context(), c)
		if !errors.Is(err, proc.ErrTimeout) || proc.SaidNo(err) || out != "started\n" {
			t.Errorf("alone=%v: output %q, error %v, want a time-out", alone, out, err)
		}
		_ = syscall.Kill(childOf(t, file), syscall.SIGKILL)
	}
}

func TestContextEndsTheCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	superseded := errors.New("superseded")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		_, err := proc.Run(ctx, proc.Command{Args: sh(fmt.Sprintf("sleep 600 & echo $! >%s; wait", file))})
		done <- err
	}()
	pid := childOf(t, file)
	cancel(superseded)
	if err := <-done; !errors.Is(err, superseded) || errors.Is(err, proc.ErrTimeout) {
		t.Errorf("error %v, want the context's cause", err)
	}
	mustEnd(t, pid)
}

func TestBackgroundChildren(t *testing.T) {
	for _, alone := range []bool{true, false} {
		t.Run(fmt.Sprintf("alone=%v", alone), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			script := fmt.Sprintf("sleep 600 </dev/null >/dev/null 2>&1 & echo $! >%s", file)
			c := proc.Command{Args: sh(script)}
			if alone {
				c.Confined = &proc.Confinement{}
			}
			if _, err := proc.Run(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			pid := childOf(t, file)
			if alone {
				mustEnd(t, pid)
				return
			}
			// A command that starts a daemon leaves it running.
			if err := syscall.Kill(pid, 0); err != nil {
				t.Errorf("the child is gone: %v", err)
			}
			_ = syscall.Kill(pid, syscall.SIGKILL)
		})
	}
}

func TestChildHoldsTheOutputOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	begin := time.Now()
	out, err := proc.Run(t.Context(), proc.Command{Args: sh(fmt.Sprintf("echo done; sleep 600 & echo $! >%s", file))})
	if err != nil || out != "done\n" {
		t.Errorf("got %q, %v; want success", out, err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	_ = syscall.Kill(childOf(t, file), syscall.SIGKILL)
}

func TestOutputKeepsItsEnd(t *testing.T) {
	out, err := proc.Run(t.Context(), proc.Command{Args: sh(`i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done`)})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != 64<<10 || !strings.HasSuffix(out, "line 19999\n") {
		t.Errorf("%d bytes that end in %q", len(out), out[max(0, len(out)-20):])
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/pgbaton's own")
	t.Setenv("PGBATON_TEST_KEPT", "kept")
	out, err := proc.Run(t.Context(), proc.Command{
		Args: sh(`echo "$NOTIFY_SOCKET,$PGBATON_TEST_KEPT,$ADDED"; pwd`), Env: proc.Environment{Custom: []string{"ADDED=a"}}, Dir: "/",
	})
	if want := ",kept,a\n/\n"; err != nil || out != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
}
