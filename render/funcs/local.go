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
			path, err := w.place(path)
			if err != nil {
				return "", fmt.Errorf("file: %w", err)
			}
			q := watcher.Query{Store: watcher.Local, Kind: watcher.File, Path: path, Options: watcher.Options{Within: w.Sandbox}}
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

// absolute makes a path absolute, if it may be another.
func (w *World) absolute(path string) (string, error) {
	if filepath.IsAbs(path) || w.Relative {
		return filepath.Abs(path)
	}
	return "", hint.Wrap(fmt.Errorf("%q is not an absolute path", path), "pgbaton's working directory is not where its config is")
}

// place makes a path absolute and looks whether it may be read. Whoever reads it
// looks again as he does: links may be bent between.
func (w *World) place(path string) (string, error) {
	path, err := w.absolute(path)
	if err != nil || w.Sandbox == "" {
		return path, err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	sandbox, err := filepath.EvalSymlinks(w.Sandbox)
	if err != nil {
		return "", fmt.Errorf("sandbox_path: %w", err)
	}
	if within, err := filepath.Rel(sandbox, real); err != nil || !filepath.IsLocal(within) {
		return "", w.outside(path)
	}
	return path, nil
}

func (w *World) outside(path string) error {
	return hint.Wrap(fmt.Errorf("%s is outside of the sandbox %s", path, w.Sandbox), "move it there, or change sandbox_path")
}
