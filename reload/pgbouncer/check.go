package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// Check proves the staged files valid, as one set.
func (d *daemon) Check(ctx context.Context, staged []reload.File) error {
	t, err := d.tree(staged)
	if err != nil {
		return err
	}
	out, err := d.dryRun(ctx, t)
	if err != nil {
		return err
	}
	is := t.settings()
	if len(is.databases) == 0 && !is.fallback {
		return hint.Wrap(reload.Refuse(fmt.Sprintf("%s: no entry in [databases]", t.main.path)),
			"pgbouncer would drop every client with \"no such database\"; guard the template against an empty answer")
	}
	if err := authFile(t, is, out); err != nil {
		return err
	}
	if is.again != "" {
		d.log.Warn("a further [pgbouncer] section starts again from the defaults: settings before it have no effect",
			"at", is.again)
	}
	d.warnOfAuthType(t, is)
	return nil
}

// tree reads the config that files belong to.
func (d *daemon) tree(files []reload.File) (*tree, error) {
	main := d.configFile
	if main == "" {
		if len(files) == 0 {
			return nil, errors.New("read config: the target has no file")
		}
		main = files[0].Path
	}
	return readTree(main, files)
}

// authFile refuses an auth_file that pgbouncer would complain of in its log,
// and then start without users.
func authFile(t *tree, is settings, out string) error {
	file := is.pgbouncer["auth_file"]
	if file.value == "" || strings.EqualFold(is.pgbouncer["auth_type"].value, "any") {
		return nil
	}
	path := t.resolve(file.value)
	if _, ours := t.set[path]; !ours {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return hint.Wrap(reload.Refuse(fmt.Sprintf("%s: auth_file %s does not exist", file.at, path)),
				"create it, or add a template for it to this target")
		}
	}
	for line := range strings.Lines(out) {
		if _, complaint, found := strings.Cut(line, "could not open auth_file "); found {
			return hint.Wrap(reload.Refuse(fmt.Sprintf("%s: could not open auth_file %s", file.at, complaint)),
				"the user that pgbouncer runs as has to be able to read it")
		}
	}
	return nil
}

// warnOfAuthType warns of a file that looks cut off. That is no refusal: to
// rely on the default is legal.
func (d *daemon) warnOfAuthType(t *tree, is settings) {
	if _, set := is.pgbouncer["auth_type"]; set {
		return
	}
	before, err := readTree(t.main.path, nil)
	if err != nil {
		return // there is nothing in place to compare with
	}
	if was, set := before.settings().pgbouncer["auth_type"]; set {
		d.log.Warn("auth_type is no longer set, and falls back to md5: logins may be refused",
			"file", t.main.path, "was", was.value)
	}
}
