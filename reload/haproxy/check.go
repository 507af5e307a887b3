package haproxy

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload"
)

// Check proves the staged configs valid.
func (d *daemon) Check(ctx context.Context, staged []reload.File) error {
	if len(staged) == 0 {
		return errors.New("check config: the target has no file")
	}
	// Without -q: 2.6 keeps quiet then even about what it finds.
	args := []string{d.binary, "-c"}
	for i, f := range staged {
		if i == 0 || filepath.Ext(f.Path) == ".cfg" {
			args = append(args, "-f", f.Staged)
		}
	}
	keeps := d.keeps.Confinement(false)
	c := proc.Command{
		Args: args, Dir: filepath.Dir(staged[0].Path), Timeout: d.timeout, Credential: d.master.rights(ctx), Confined: &keeps,
	}
	out, err := reload.RunCheck(ctx, c, staged, "binary")
	if errors.Is(err, reload.ErrRefused) && !keeps.Network && unresolved(out) {
		if d.keeps.Network != nil {
			return hint.Wrap(reload.Refuse(alerts(out)), "use addresses in the place of names, or set check_network = true: the check has no network to look names up")
		}
		d.log.Debug("the config has names to look up, checking it once more with the network")
		keeps.Network = true
		out, err = reload.RunCheck(ctx, c, staged, "binary")
	}
	if errors.Is(err, reload.ErrRefused) {
		return hint.Wrap(reload.Refuse(alerts(out)), "correct the template at the line that haproxy names")
	}
	return err
}

// Confine implements reload.Confiner. Unless the settings say so, a check has the
// network only after it has asked for the address of a name: HAProxy takes no
// config with a name that it can't look up, and neither may a check.
func (d *daemon) Confine(k reload.Keeps) error {
	d.keeps = k
	return nil
}

// unresolved says whether HAProxy complains of a name: of a server's, or of
// anything else's.
func unresolved(out string) bool {
	return strings.Contains(out, "could not resolve address") || strings.Contains(out, "invalid address: '")
}

// alerts are HAProxy's own words for what is wrong, without the rest of what it
// prints; all of it if there are none.
func alerts(out string) string {
	alert := regexp.MustCompile(`(?m)^\[ALERT\][^:]*: +(?:config : )?(.*)$`)
	var said []string
	for _, m := range alert.FindAllStringSubmatch(out, -1) {
		if m[1] != "Fatal errors found in configuration." {
			said = append(said, m[1])
		}
	}
	if len(said) == 0 {
		return tidy(out)
	}
	return strings.Join(said, "; ")
}
