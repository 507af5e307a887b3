package keepalived

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload"
)

// Check proves the staged main file valid.
func (d *daemon) Check(ctx context.Context, staged []reload.File) error {
	if len(staged) == 0 {
		return errors.New("check config: the target has no file")
	}
	main := staged[0]
	if blank(main.Content) {
		return hint.Wrap(reload.Refuse(fmt.Sprintf("%s: nothing but comments and blanks", main.Path)),
			"keepalived would drop its addresses; guard the template against an empty answer")
	}
	for i, f := range staged {
		if f.Mode&0o111 != 0 && (i == 0 || filepath.Ext(f.Path) == ".conf") {
			return hint.Wrap(reload.Refuse(fmt.Sprintf("%s: its mode %#o has an exec bit", f.Path, f.Mode.Perm())),
				`keepalived would take it for no config and drop its addresses: set perms = "0644"`)
		}
	}
	if !anything(staged) {
		return hint.Wrap(reload.Refuse(fmt.Sprintf("%s: no vrrp_instance and no virtual_server", main.Path)),
			"keepalived would drop its addresses; guard the template against an empty answer")
	}
	if err := checkTracked(staged); err != nil {
		return err
	}
	out, err := reload.RunCheck(ctx, proc.Command{
		Args: []string{d.binary, "-t", "-f", main.Staged}, Dir: filepath.Dir(main.Path), Timeout: d.timeout, Confined: &d.keeps,
	}, staged, "binary")
	if err == nil && silentlyIgnored(out) {
		err = reload.Refuse(lines(out))
	} else if errors.Is(err, reload.ErrRefused) && lines(out) != "" {
		err = reload.Refuse(lines(out))
	}
	if errors.Is(err, reload.ErrRefused) {
		return hint.Wrap(err, "%s", advice(out))
	}
	if err == nil && lines(out) != "" {
		d.log.Warn("keepalived remarks on its config", "file", main.Path, "said", lines(out))
	}
	return err
}

// enters is what keepalived enters the net_namespace of its config with.
var enters = []uintptr{unix.CAP_SYS_ADMIN}

// Confine implements reload.Confiner: keepalived refuses interfaces that it does
// not see, so its check has to have their network.
func (d *daemon) Confine(k reload.Keeps) error {
	d.keeps = k.Confinement(true)
	d.keeps.Rights = enters
	if !d.keeps.Network {
		return hint.Wrap(errors.New("read check_network: keepalived can't be checked without it"), "leave it out: keepalived -t looks whether the interfaces are there")
	}
	return nil
}

// blank says whether a config holds nothing but comments, which begin with "!"
// or "#".
func blank(content []byte) bool {
	for line := range bytes.Lines(content) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '!' && line[0] != '#' {
			return false
		}
	}
	return true
}

// anything says whether there is something to do in a config: keepalived tests
// one of global settings with success, and drops its addresses for it.
func anything(staged []reload.File) bool {
	word := regexp.MustCompile(`(?m)^\s*(vrrp_instance|virtual_server|bfd_instance|include\w*)\b`)
	return slices.ContainsFunc(staged, func(f reload.File) bool { return word.Match(f.Content) })
}

// silentlyIgnored says whether keepalived remarked that it leaves something out
// of the config, and yet tested it with success.
func silentlyIgnored(out string) bool {
	return regexp.MustCompile(`Unknown keyword|Config files missing|missing '}'|non-executable file`).MatchString(out)
}

// lines makes one line of what keepalived printed. It says some things once in
// each of its processes; once is enough.
func lines(out string) string {
	var said []string
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if line != "" && !seen[line] {
			seen[line] = true
			said = append(said, line)
		}
	}
	return strings.Join(said, "; ")
}

func advice(out string) string {
	switch {
	case strings.Contains(out, "doesn't exist"), strings.Contains(out, "nterface specified"):
		return "create the interface, or correct its name; pgbaton has to run in keepalived's network namespace"
	case strings.Contains(out, "non-executable file"):
		return "clear the exec bits of the included file (chmod a-x): keepalived takes it for absent"
	case strings.Contains(out, "Config files missing"):
		return "put the included file into place first, or correct its path"
	}
	return "correct the template at the line that keepalived names"
}
