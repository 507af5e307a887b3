package funcs

import (
	"fmt"
	"path/filepath"
	"text/template"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
)

func local(w *World) template.FuncMap {
	lookup := func(name string) (string, bool) {
		if w.Env == nil {
			return "", false
		}
		return w.Env(name)
	}
	return template.FuncMap{
		// file waits until the file exists, and follows it.
		"file": func(path string) (string, error) {
			if path == "" {
				return "", nil
			}
			if !filepath.IsAbs(path) {
				return "", hint.Wrap(fmt.Errorf("file %q: not an absolute path", path),
					"pgbaton's working directory is not where its config is")
			}
			q := watcher.Query{Store: watcher.Local, Kind: watcher.File, Path: path}
			a, ok := w.answer(q)
			if ok && a.Presence == watcher.Absent {
				w.wait(q, "absent")
			}
			content, _ := a.Value.(string)
			return content, nil
		},
		"env": func(name string) string {
			value, _ := lookup(name)
			return value
		},
		"mustEnv": func(name string) (string, error) {
			value, _ := lookup(name)
			if value == "" {
				return "", hint.Wrap(fmt.Errorf("mustEnv: environment variable %s is empty", name), "set it where pgbaton is started")
			}
			return value, nil
		},
		"envOrDefault": func(name, fallback string) string {
			if value, ok := lookup(name); ok {
				return value
			}
			return fallback
		},
	}
}
