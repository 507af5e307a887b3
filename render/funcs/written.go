package funcs

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// Written is a file that an execution makes beside its own.
type Written struct {
	Path        string
	User, Group string // names or numbers; "" is pgbaton's own
	Perms       fs.FileMode
	Content     string
	Within      string // the folder that Path must not lead out of; "" is none
}

// written only notes what is to be written: nothing is on disk before all of a
// target is complete and checked.
func written(w *World) template.FuncMap {
	return template.FuncMap{
		// writeToFile PATH USER GROUP PERMS [FLAGS] CONTENT. The flag "append" adds to
		// what this rendering wrote to the file before, "newline" ends it with one.
		"writeToFile": func(path, user, group, perms string, rest ...string) (string, error) {
			if len(rest) == 0 || len(rest) > 2 {
				return "", hint.Wrap(fmt.Errorf("writeToFile %s: want a path, user, group, permissions, perhaps flags, and the content", path),
					`as in {{ key "k" | writeToFile "/etc/k" "" "" "0640" }}`)
			}
			mode, err := strconv.ParseUint(perms, 8, 12)
			if err != nil {
				return "", hint.Wrap(fmt.Errorf("writeToFile %s: permissions %q", path, perms), "write them in octal, as 0640")
			}
			if path, err = w.absolute(path); err != nil {
				return "", fmt.Errorf("writeToFile: %w", err)
			}
			if within, err := filepath.Rel(w.Sandbox, path); w.Sandbox != "" && (err != nil || !filepath.IsLocal(within)) {
				return "", fmt.Errorf("writeToFile: %w", w.outside(path))
			}
			f := Written{Path: path, User: user, Group: group, Perms: fs.FileMode(mode), Content: rest[len(rest)-1], Within: w.Sandbox}
			flags := ""
			if len(rest) == 2 {
				flags = rest[0]
			}
			if strings.Contains(flags, "newline") {
				f.Content += "\n"
			}
			for i, before := range w.Written {
				if before.Path == path {
					if strings.Contains(flags, "append") {
						f.Content = before.Content + f.Content
					}
					w.Written[i] = f
					return "", nil
				}
			}
			w.Written = append(w.Written, f)
			return "", nil
		},
	}
}
