package pgpool

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload"
)

// Check proves the staged main file valid.
func (d *daemon) Check(ctx context.Context, staged []reload.File) error {
	s, err := read(staged)
	if err != nil {
		return hint.Wrap(reload.Refuse(err.Error()), "correct the lines that begin with \"# pgbaton:\"")
	}
	if err := d.parse(ctx, s, staged); err != nil {
		return err
	}
	usable := 0
	for _, id := range slices.Sorted(maps.Keys(s.backends)) {
		switch b := s.backends[id]; {
		case b.host != "" && b.port != 0:
			usable++
		case b.host != "" || b.port != 0:
			return hint.Wrap(reload.Refuse(fmt.Sprintf("%s: backend %d has a hostname and no port, or a port and no hostname", s.path, id)),
				"pgpool would leave it out: write both")
		}
	}
	_, included := s.values["include"]
	if usable == 0 && !included {
		return hint.Wrap(reload.Refuse(fmt.Sprintf("%s: no backend", s.path)), "pgpool would serve nobody; guard the template against an empty answer")
	}
	d.warn(s)
	return nil
}

// warn tells of what would make pgpool itself do what Patroni or pgbaton does.
func (d *daemon) warn(s *settings) {
	if !s.moves {
		return
	}
	for _, name := range []string{"failover_command", "follow_primary_command"} {
		if l := s.values[name]; l.value != "" {
			d.log.Warn("pgpool runs a command of its own when a backend is moved", "setting", name, "file", s.path, "line", l.number)
		}
	}
	for _, name := range []string{"auto_failback", "detach_false_primary"} {
		if on, _ := boolean(s.values[name].value); on {
			d.log.Warn("pgpool moves backends by itself as well", "setting", name, "file", s.path, "line", s.values[name].number)
		}
	}
}

// noDaemon is what pgpool says once it has read a config without a mistake, and is to
// reload a daemon that is not there.
const noDaemon = "could not read pid file"

// noFile is what pgpool says, and goes on with its defaults, where it finds no file.
const noFile = "could not open configuration file"

// elsewhere are settings that are not for the check: it must find no daemon to signal, and
// is to say what it finds, here.
var elsewhere = []string{"pid_file_name", "log_destination", "log_min_messages", "client_min_messages", "log_line_prefix", "logging_collector"}

// parse lets pgpool read a private copy, on its way to reload a daemon whose PID file is not
// there.
func (d *daemon) parse(ctx context.Context, s *settings, staged []reload.File) error {
	main := staged[0]
	who, err := reload.WhoChecks("pgpool", d.checkUser, main.UID, main.GID)
	if err != nil {
		return err
	}
	dir, err := proc.Scratch()
	if err != nil {
		return fmt.Errorf("make folder for a check: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "pgpool.conf")
	if err := os.WriteFile(path, []byte(s.copy(main, dir)), 0o600); err != nil {
		return fmt.Errorf("copy config for a check: %w", err)
	}
	if who.Credential != nil {
		for _, name := range []string{path, dir} {
			if err := os.Lchown(name, int(who.Credential.Uid), int(who.Credential.Gid)); err != nil {
				return fmt.Errorf("hand over folder for a check: %w", err)
			}
		}
	}
	empty := filepath.Join(dir, "none")
	out, err := proc.Run(ctx, proc.Command{
		Args: []string{d.binary, "-f", path, "-F", empty, "-a", empty, "reload"},
		Dir:  dir, Timeout: d.timeout, Credential: who.Credential, Confined: &d.keeps,
	})
	if err == nil {
		return hint.Wrap(fmt.Errorf("check config: %s signalled somebody", d.binary), "see whether binary is pgpool")
	}
	said := s.complaints(out, path)
	unknown := regexp.MustCompile(`unrecognized configuration parameter "([^"]*)"`).FindStringSubmatch(out)
	switch {
	case !proc.SaidNo(err):
		return reload.CannotCheck(fmt.Errorf("check config: %w", err), d.binary, "binary")
	case unknown != nil:
		return hint.Wrap(reload.Refuse(fmt.Sprintf("%s:%d: pgpool has no setting %s", s.path, s.values[strings.ToLower(unknown[1])].number, unknown[1])),
			"pgpool would leave it out and say nothing: correct the name, or drop it")
	case strings.Contains(out, noDaemon) && !strings.Contains(out, noFile):
		return nil
	}
	return hint.Wrap(reload.Refuse(said), "correct the template at what pgpool names")
}

// copy is the config as the check reads it: as many lines, and one before them.
func (s *settings) copy(main reload.File, dir string) string {
	lines := strings.Split(string(main.Content), "\n")
	for _, l := range s.lines {
		switch {
		case slices.Contains(elsewhere, l.name):
			lines[l.number-1] = ""
		case l.name == "include" && !filepath.IsAbs(l.value):
			lines[l.number-1] = "include = '" + filepath.Join(filepath.Dir(main.Path), l.value) + "'"
		}
	}
	return "log_min_messages = info\n" + strings.Join(lines, "\n") + "\npid_file_name = '" + filepath.Join(dir, "pid") + "'\n"
}

// complaints are what pgpool said, without its time stamps, of the file in its place.
func (s *settings) complaints(out, path string) string {
	complaint := regexp.MustCompile(`(?m)^.*? (?:WARNING|ERROR|FATAL|DETAIL): +(.*)$`)
	var said []string
	for _, m := range complaint.FindAllStringSubmatch(out, -1) {
		if m[1] != noDaemon {
			said = append(said, m[1])
		}
	}
	if len(said) == 0 {
		said = []string{strings.TrimSpace(out)}
	}
	text := strings.ReplaceAll(strings.Join(said, "; "), path, s.path)
	return regexp.MustCompile(`at line (\d+)`).ReplaceAllStringFunc(text, func(at string) string {
		n, _ := strconv.Atoi(strings.TrimPrefix(at, "at line "))
		return fmt.Sprint("at line ", n-1)
	})
}
