package systemd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// Config says which unit is to follow, and by what.
type Config struct {
	// Unit is the unit's name; without a dot in it, ".service" is added. It has
	// no default.
	Unit string `hcl:"unit"`

	// Action is "reload", "restart" or "reload-or-restart". Empty: "reload".
	Action string `hcl:"action,optional" default:"\"reload\""`

	// Timeout ends the wait for systemd's job, not the job. Empty: "30s".
	Timeout string `hcl:"timeout,optional" default:"\"30s\""`
}

type daemon struct {
	unit    string
	action  string
	timeout time.Duration
}

// Daemon returns the unit that c describes. It touches none.
func (c *Config) Daemon(hclog.Logger) (reload.Daemon, error) {
	if c.Unit == "" || strings.ContainsAny(c.Unit, "/ \n\x00") {
		return nil, hint.Wrap(fmt.Errorf("read unit: %q is no name of a unit", c.Unit), `write unit = "pgbouncer.service", say`)
	}
	timeout, err := reload.Timeout("timeout", c.Timeout, 30*time.Second)
	if err != nil {
		return nil, err
	}
	d := &daemon{unit: c.Unit, action: c.Action, timeout: timeout}
	if !strings.Contains(d.unit, ".") {
		d.unit += ".service"
	}
	switch d.action {
	case "":
		d.action = "reload"
	case "reload", "restart", "reload-or-restart":
	default:
		return nil, hint.Wrap(fmt.Errorf("read action: there is no %q", c.Action), `write "reload", "restart" or "reload-or-restart"`)
	}
	return d, nil
}

// Check has nothing to say.
func (d *daemon) Check(context.Context, []reload.File) error { return nil }

// Follow runs the job and waits for its result.
func (d *daemon) Follow(ctx context.Context, _ []reload.File, _ reload.Mark) (reload.Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := open(ctx)
	if err != nil {
		return reload.Mark{}, err
	}
	defer conn.Close()

	result := make(chan string, 1)
	start := conn.ReloadUnitContext
	switch d.action {
	case "restart":
		start = conn.RestartUnitContext
	case "reload-or-restart":
		start = conn.ReloadOrRestartUnitContext
	}
	if _, err := start(ctx, d.unit, "replace", result); err != nil {
		return reload.Mark{}, d.refused(err)
	}
	select {
	case how := <-result:
		if how != "done" {
			return reload.Mark{}, hint.Wrap(fmt.Errorf("%s %s: systemd's job ended with %q", d.action, d.unit, how),
				"see systemctl status %s and journalctl -u %[1]s", d.unit)
		}
	case <-ctx.Done():
		return reload.Mark{}, hint.Wrap(fmt.Errorf("%s %s: systemd's job has not ended: %w", d.action, d.unit, context.Cause(ctx)),
			"see systemctl list-jobs; timeout sets how long it may take")
	}
	return reload.Mark{Proof: reload.Followed, How: fmt.Sprintf("systemd's %s of %s", d.action, d.unit)}, nil
}

// Verify implements reload.Verifier: the unit is active. Systemd knows no more.
func (d *daemon) Verify(ctx context.Context, _ []reload.File, _ reload.Mark) (reload.Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := open(ctx)
	if err != nil {
		return reload.Mark{}, err
	}
	defer conn.Close()
	state, err := conn.GetUnitPropertyContext(ctx, d.unit, "ActiveState")
	if err != nil {
		return reload.Mark{}, fmt.Errorf("look at %s: %w", d.unit, err)
	}
	if is := state.Value.Value(); is != "active" {
		return reload.Mark{}, hint.Wrap(fmt.Errorf("%s is %v, not active", d.unit, is), "see systemctl status %s", d.unit)
	}
	return reload.Mark{Proof: reload.Sent, How: d.unit + " is active; nobody can be asked"}, nil
}

func open(ctx context.Context) (*dbus.Conn, error) {
	conn, err := dbus.NewSystemConnectionContext(ctx)
	if err != nil {
		err = fmt.Errorf("open system bus: %w", err)
	}
	return conn, hint.Wrap(err, "is dbus running here? in a container, use kind signal or docker, or mount /run/dbus/system_bus_socket")
}

// refused gives an error of systemd's the hint that fits.
func (d *daemon) refused(err error) error {
	at := fmt.Errorf("%s %s: %w", d.action, d.unit, err)
	var said godbus.Error
	if !errors.As(err, &said) {
		return at
	}
	switch said.Name {
	case "org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired":
		return hint.Wrap(at, "run pgbaton as root, or give its user a polkit rule for org.freedesktop.systemd1.manage-units on %s", d.unit)
	case "org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.systemd1.LoadFailed":
		return hint.Wrap(at, "correct unit, or run systemctl daemon-reload")
	case "org.freedesktop.systemd1.JobTypeNotApplicable":
		return hint.Wrap(at, `the unit has no ExecReload: add one, or set action = "restart"`)
	case "org.freedesktop.systemd1.UnitMasked":
		return hint.Wrap(at, "run systemctl unmask %s", d.unit)
	}
	return hint.Wrap(at, "see systemctl status %s", d.unit)
}
