package systemd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/systemd"
)

func follow(t *testing.T, c systemd.Config) (reload.Mark, error) {
	t.Helper()
	d, err := c.Daemon(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Check(t.Context(), nil); err != nil {
		t.Error(err)
	}
	return d.Follow(t.Context(), nil, reload.Mark{})
}

func TestFollow(t *testing.T) {
	m := machine(t)
	did := func(want string) func() error {
		return func() error {
			got, err := os.ReadFile(m.Path("/run/good"))
			if err == nil && strings.Join(strings.Fields(string(got)), " ") != want {
				err = fmt.Errorf("the unit did %q, want %q", got, want)
			}
			return err
		}
	}
	servertest.Eventually(t, "the unit runs", did("start"))
	for _, step := range []struct{ unit, action, did string }{
		{"good", "", "start reload"},
		{"good.service", "restart", "start reload start"},
		{"good", "reload-or-restart", "start reload start reload"},
	} {
		mark, err := follow(t, systemd.Config{Unit: step.unit, Action: step.action})
		if err != nil || mark.Proof != reload.Followed || !strings.Contains(mark.How, "good.service") {
			t.Fatalf("%+v: mark %+v, %v (hint: %s)", step, mark, err, hint.Of(err))
		}
		servertest.Eventually(t, "the unit does it", did(step.did))
	}
	if _, err := follow(t, systemd.Config{Unit: "plain", Action: "reload-or-restart"}); err != nil {
		t.Errorf("a unit that can only restart: %v", err)
	}

	for _, tc := range []struct{ unit, timeout, mentions, hinted string }{
		{"bad", "", `ended with "failed"`, "journalctl -u bad.service"},
		{"plain", "", "plain.service", "no ExecReload"},
		{"idle", "", "idle.service", "systemctl status idle.service"},
		{"no-such", "", "no-such.service", "correct unit"},
		{"slow", "300ms", "has not ended", "timeout"},
	} {
		_, err := follow(t, systemd.Config{Unit: tc.unit, Timeout: tc.timeout})
		if err == nil || !strings.Contains(err.Error(), tc.mentions) || !strings.Contains(hint.Of(err), tc.hinted) {
			t.Errorf("%s: error %v, hint %q", tc.unit, err, hint.Of(err))
		}
		if tc.timeout != "" && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: error %v is no time-out", tc.unit, err)
		}
	}
}

func TestFollowWithoutABus(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")
	if _, err := follow(t, systemd.Config{Unit: "a"}); err == nil || !strings.Contains(err.Error(), "open system bus") || hint.Of(err) == "" {
		t.Errorf("error %v, hint %q", err, hint.Of(err))
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, c := range []systemd.Config{{}, {Unit: "a/b"}, {Unit: "a", Action: "stop"}, {Unit: "a", Timeout: "x"}} {
		if _, err := c.Daemon(hclog.NewNullLogger()); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
