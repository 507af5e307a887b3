package exec_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/exec"
)

// sharing are the daemons of n targets that have one command in common.
func sharing(t *testing.T, n int, command ...string) []reload.Daemon {
	t.Helper()
	s := &exec.Shared{Config: exec.Config{Command: command}, Targets: n}
	var all []reload.Daemon
	for range n {
		d, err := s.Daemon(hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

func runs(t *testing.T, log string) int {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}

func TestSharedRunsOnce(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	daemons := sharing(t, 5, "/bin/sh", "-c", `echo run >>"$0"`, log)
	for round := range 3 {
		var all sync.WaitGroup
		for _, d := range daemons {
			all.Go(func() {
				mark, err := d.Follow(t.Context(), nil, reload.Mark{})
				if err != nil || mark.Proof != reload.Followed || mark.How != "/bin/sh exited with 0" {
					t.Errorf("%+v, %v", mark, err)
				}
			})
		}
		all.Wait()
		if n := runs(t, log); n != round+1 {
			t.Errorf("%d runs after round %d", n, round+1)
		}
	}
	if err := daemons[0].Check(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// What comes while the command runs is not told by that run: it may have read the
// files before.
func TestSharedRunsAgainForWhoeverIsLate(t *testing.T) {
	dir := t.TempDir()
	log, fifo := filepath.Join(dir, "log"), filepath.Join(dir, "go")
	daemons := sharing(t, 2, "/bin/sh", "-c", `echo run >>"$0"; while [ ! -e "$1" ]; do sleep 0.01; done`, log, fifo)
	var all sync.WaitGroup
	follow := func(d reload.Daemon) {
		all.Go(func() {
			if _, err := d.Follow(t.Context(), nil, reload.Mark{}); err != nil {
				t.Error(err)
			}
		})
	}
	follow(daemons[0])
	servertest.Eventually(t, "the command runs", func() error {
		if runs(t, log) == 0 {
			return errors.New("it does not")
		}
		return nil
	})
	follow(daemons[1])
	servertest.File(t, fifo, "", 0o644)
	all.Wait()
	if n := runs(t, log); n != 2 {
		t.Errorf("%d runs", n)
	}
}

func TestSharedFails(t *testing.T) {
	daemons := sharing(t, 3, "/bin/sh", "-c", "exit 7")
	var all sync.WaitGroup
	for _, d := range daemons {
		all.Go(func() {
			if _, err := d.Follow(t.Context(), nil, reload.Mark{}); err == nil || !strings.Contains(err.Error(), "exit status 7") {
				t.Errorf("error %v", err)
			}
		})
	}
	all.Wait()
}

// One that gives up takes nobody with it.
func TestSharedOutlivesWhoeverBegan(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	daemons := sharing(t, 2, "/bin/sh", "-c", `echo run >>"$0"; sleep 0.2`, log)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := daemons[0].Follow(ctx, nil, reload.Mark{}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	all.Go(func() {
		if _, err := daemons[1].Follow(t.Context(), nil, reload.Mark{}); err != nil {
			t.Error(err)
		}
	})
	servertest.Eventually(t, "the command runs", func() error {
		if runs(t, log) == 0 {
			return errors.New("it does not")
		}
		return nil
	})
	cancel()
	all.Wait()
}

func TestSharedWithoutACommand(t *testing.T) {
	d, err := (&exec.Shared{}).Daemon(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	mark, err := d.Follow(t.Context(), nil, reload.Mark{})
	if err != nil || mark.Proof != reload.Followed || d.Check(t.Context(), nil) != nil {
		t.Errorf("%+v, %v", mark, err)
	}
	if _, err := (&exec.Shared{Config: exec.Config{Command: []string{"x"}, Timeout: "soon"}, Targets: 2}).Daemon(hclog.NewNullLogger()); err == nil {
		t.Error("a bad timeout is taken")
	}
}
