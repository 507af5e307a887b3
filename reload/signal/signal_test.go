package signal_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/signal"
)

// listener is a process that says which signals it got.
func listener(t *testing.T) (p *servertest.Process, pidFile string) {
	t.Helper()
	// A shell cannot trap what was ignored before it began, as under nohup.
	p = servertest.Start(t, exec.Command("env", "--default-signal=HUP", "/bin/sh", "-c",
		"for s in HUP USR1 USR2; do trap \"echo got $s\" $s; done; echo ready; while :; do sleep 0.02; done"))
	servertest.Eventually(t, "the listener is ready", says(p, "ready"))
	return p, servertest.File(t, filepath.Join(t.TempDir(), "pid"), fmt.Sprintf("%d\n", p.Pid()), 0o644)
}

func says(p *servertest.Process, what string) func() error {
	return func() error {
		if !strings.Contains(p.Output(), what+"\n") {
			return fmt.Errorf("it says %q", p.Output())
		}
		return nil
	}
}

func follow(t *testing.T, c signal.Config) (reload.Mark, error) {
	t.Helper()
	d, err := c.Daemon(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Check(t.Context(), nil); err != nil {
		t.Errorf("Check: %v", err)
	}
	return d.Follow(t.Context(), nil, reload.Mark{})
}

func TestFollow(t *testing.T) {
	p, pidFile := listener(t)
	for text, name := range map[string]string{"": "HUP", "usr1": "USR1", "SIGUSR2": "USR2", "10": "USR1", "HUP": "HUP"} {
		mark, err := follow(t, signal.Config{PIDFile: pidFile, Signal: text, Process: "sh"})
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if want := fmt.Sprintf("SIG%s to process %d of %s", name, p.Pid(), pidFile); mark.Proof != reload.Sent || mark.How != want {
			t.Errorf("%q: mark %+v, want %q", text, mark, want)
		}
		servertest.Eventually(t, "the signal arrives", says(p, "got "+name))
	}
}

func TestFollowSignalsNobodyElse(t *testing.T) {
	p, pidFile := listener(t)
	if _, err := follow(t, signal.Config{PIDFile: pidFile, Process: "pgbouncer"}); err == nil ||
		!strings.Contains(err.Error(), `it is "sh", not pgbouncer`) || hint.Of(err) == "" {
		t.Errorf("another's name: %v, hint %q", err, hint.Of(err))
	}
	lastWeek := time.Now().Add(-7 * 24 * time.Hour)
	if err := os.Chtimes(pidFile, lastWeek, lastWeek); err != nil {
		t.Fatal(err)
	}
	if _, err := follow(t, signal.Config{PIDFile: pidFile}); err == nil || !strings.Contains(hint.Of(err), `process = "sh"`) {
		t.Errorf("recycled: %v, hint %q", err, hint.Of(err))
	}
	if _, err := follow(t, signal.Config{PIDFile: pidFile + ".absent"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	p.Kill()
	if _, err := follow(t, signal.Config{PIDFile: pidFile}); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("gone: %v", err)
	}
	if strings.Contains(p.Output(), "got") {
		t.Errorf("it was signalled: %s", p.Output())
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, tc := range []struct {
		config   signal.Config
		mentions string
	}{
		{signal.Config{}, "pid_file"},
		{signal.Config{PIDFile: "pid"}, "pid_file"},
		{signal.Config{PIDFile: "/pid", Signal: "HUPP"}, `"HUPP"`},
		{signal.Config{PIDFile: "/pid", Signal: "0"}, `"0"`},
		{signal.Config{PIDFile: "/pid", Signal: "-1"}, `"-1"`},
		{signal.Config{PIDFile: "/pid", Signal: "4000"}, `"4000"`},
	} {
		if _, err := tc.config.Daemon(hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), tc.mentions) {
			t.Errorf("%+v: error %v, want %q", tc.config, err, tc.mentions)
		}
	}
}
