package exec_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/exec"
)

func daemon(t *testing.T, c exec.Config) reload.Daemon {
	t.Helper()
	d, err := c.Daemon(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFollow(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	d := daemon(t, exec.Config{Command: []string{"/bin/sh", "-c", `echo "$PGBATON_DESTINATION" >"$0"`, out}})
	if err := d.Check(t.Context(), nil); err != nil {
		t.Error(err)
	}
	mark, err := d.Follow(t.Context(), []reload.File{{Path: "/etc/main"}, {Path: "/etc/other"}}, reload.Mark{})
	if err != nil || mark.Proof != reload.Followed || mark.How != "/bin/sh exited with 0" {
		t.Errorf("mark %+v, %v", mark, err)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != "/etc/main\n" {
		t.Errorf("the command saw %q, %v", got, err)
	}
}

func TestFollowFails(t *testing.T) {
	for _, tc := range []struct {
		name     string
		command  []string
		mentions string
		hinted   string
		is       error
	}{
		{"says no", []string{"/bin/sh", "-c", "echo no such unit >&2; exit 5"}, "exit status 5: no such unit", "by hand", nil},
		{"hangs", []string{"/bin/sh", "-c", "sleep 600 & wait"}, "timed out after 300ms", "timeout", proc.ErrTimeout},
		{"missing", []string{"no-such-program-here"}, "no-such-program-here", "install", nil},
		{"missing file", []string{"/nowhere/program"}, "/nowhere/program", "install", os.ErrNotExist},
	} {
		_, err := daemon(t, exec.Config{Command: tc.command, Timeout: "300ms"}).Follow(t.Context(), nil, reload.Mark{})
		if err == nil || !strings.Contains(err.Error(), tc.mentions) || !strings.Contains(hint.Of(err), tc.hinted) {
			t.Errorf("%s: error %v, hint %q", tc.name, err, hint.Of(err))
		}
		if tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%s: error %v is no %v", tc.name, err, tc.is)
		}
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := daemon(t, exec.Config{Command: []string{"sleep", "600"}}).Follow(ctx, nil, reload.Mark{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, c := range []exec.Config{{}, {Command: []string{""}}, {Command: []string{"true"}, Timeout: "5"}} {
		if _, err := c.Daemon(hclog.NewNullLogger()); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
