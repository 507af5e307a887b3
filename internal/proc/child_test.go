package proc_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// told waits until a file has as many lines as wanted, and returns them.
func told(t *testing.T, path string, lines int) []string {
	t.Helper()
	var have []string
	servertest.Eventually(t, path+" is written", func() error {
		text, err := os.ReadFile(path)
		if have = strings.Fields(string(text)); err == nil && len(have) < lines {
			err = errors.New(string(text))
		}
		return err
	})
	return have
}

// listening is a shell that writes down what it is told.
const listening = `trap 'echo reload >>"$0"' USR1; trap 'echo end >>"$0"; exit 0' TERM; echo start >>"$0"; while :; do sleep 0.02; done`

func child(t *testing.T, c *proc.Child) *proc.Child {
	t.Helper()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // at once
		_ = c.Stop(ctx)
	})
	return c
}

func TestChildReloadsBySignal(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	c := child(t, &proc.Child{Args: []string{"/bin/sh", "-c", listening, log}, ReloadSignal: syscall.SIGUSR1, Splay: time.Millisecond})
	told(t, log, 1)
	for i := range 2 {
		if err := c.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		told(t, log, 2+i)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if have := told(t, log, 4); !slices.Equal(have, []string{"start", "reload", "reload", "end"}) {
		t.Errorf("it was told %q", have)
	}
	if err := <-c.Ended(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if err := c.Signal(syscall.SIGUSR1); err != nil { // there is nobody
		t.Error(err)
	}
}

func TestChildReloadsByAnotherStart(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	c := child(t, &proc.Child{Args: []string{"/bin/sh", "-c", listening, log}, Group: true})
	told(t, log, 1)
	if err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if have := told(t, log, 3); !slices.Equal(have, []string{"start", "end", "start"}) {
		t.Errorf("it was told %q", have)
	}
	select {
	case err := <-c.Ended():
		t.Errorf("a reload is no end: %v", err)
	default:
	}
}

func TestChildThatDoesNotEnd(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	c := child(t, &proc.Child{Args: []string{"/bin/sh", "-c", `trap "" TERM; echo start >>"$0"; while :; do sleep 0.02; done`, log}, Group: true, KillTimeout: 100 * time.Millisecond})
	told(t, log, 1)
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := <-c.Ended(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v", err)
	}
}

func TestChildEndsByItself(t *testing.T) {
	c := child(t, &proc.Child{Args: []string{"/bin/sh", "-c", "exit 7"}})
	var exit *exec.ExitError
	if err := <-c.Ended(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("it ended with %v", err)
	}
	if err := (&proc.Child{Args: []string{"no-such-program-here"}}).Start(); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("start of nothing: %v", err)
	}
}

func TestChildEnvironment(t *testing.T) {
	t.Setenv("CHILD_A", "1")
	t.Setenv("CHILD_B", "2")
	t.Setenv("OTHER", "3")
	for name, c := range map[string]struct {
		env  proc.Environment
		want string
	}{
		"all":           {proc.Environment{}, "1 2 3 -"},
		"some":          {proc.Environment{Allow: []string{"CHILD_*", "PATH"}}, "1 2 - -"},
		"all but":       {proc.Environment{Deny: []string{"*_A"}}, "- 2 3 -"},
		"both":          {proc.Environment{Allow: []string{"CHILD_*", "PATH"}, Deny: []string{"CHILD_B"}}, "1 - - -"},
		"pristine":      {proc.Environment{Pristine: true, Custom: []string{"CUSTOM=x"}}, "- - - x"},
		"and of my own": {proc.Environment{Custom: []string{"OTHER=y"}}, "1 2 y -"},
	} {
		out := filepath.Join(t.TempDir(), "out")
		run := child(t, &proc.Child{Args: []string{"/bin/sh", "-c", `echo ${CHILD_A:--} ${CHILD_B:--} ${OTHER:--} ${CUSTOM:--} >"$0"`, out}, Env: c.env})
		if err := <-run.Ended(); err != nil {
			t.Error(err)
		}
		if have := strings.Join(told(t, out, 4), " "); have != c.want {
			t.Errorf("%s: %q, want %q", name, have, c.want)
		}
	}
}
