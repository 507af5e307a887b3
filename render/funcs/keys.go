package funcs

import (
	"strings"
	"text/template"

	"github.com/pgbaton/pgbaton/watcher"
)

func keys(w *World) template.FuncMap {
	key := func(fn, text string) (a watcher.Answer, q watcher.Query, ok bool, err error) {
		arg, err := grammars.key.parse(fn, text)
		if err != nil {
			return a, q, false, err
		}
		q = watcher.Query{Store: arg.store, Kind: watcher.Key, Path: arg.name, Options: arg.options}
		a, ok = w.answer(q)
		return a, q, ok, nil
	}
	// An empty name was built from something that is still missing.
	return template.FuncMap{
		// key waits until the key exists.
		"key": func(text string) (string, error) {
			if text == "" {
				return "", nil
			}
			a, q, ok, err := key("key", text)
			if err != nil || !ok {
				return "", err
			}
			if a.Presence == watcher.Absent {
				w.wait(q, "absent")
				return "", nil
			}
			return a.Value.(watcher.Pair).Value, nil
		},
		"keyExists": func(text string) (bool, error) {
			if text == "" {
				return false, nil
			}
			a, _, _, err := key("keyExists", text)
			return a.Presence == watcher.Present, err
		},
		"keyOrDefault": func(text, fallback string) (string, error) {
			if text == "" {
				return fallback, nil
			}
			a, _, _, err := key("keyOrDefault", text)
			if p, ok := a.Value.(watcher.Pair); ok && p.Value != "" {
				return p.Value, err
			}
			return fallback, err
		},
		"ls":       func(text string) ([]watcher.Pair, error) { return w.pairs("ls", text, topLevel, false) },
		"safeLs":   func(text string) ([]watcher.Pair, error) { return w.pairs("safeLs", text, topLevel, true) },
		"tree":     func(text string) ([]watcher.Pair, error) { return w.pairs("tree", text, notFolder, false) },
		"safeTree": func(text string) ([]watcher.Pair, error) { return w.pairs("safeTree", text, notFolder, true) },
	}
}

func topLevel(p watcher.Pair) bool { return p.Key != "" && !strings.Contains(p.Key, "/") }

// notFolder leaves out the keys that Consul's UI makes to show a folder.
func notFolder(p watcher.Pair) bool { return p.Key != "" && !strings.HasSuffix(p.Key, "/") }

// pairs lists what is below a prefix; the safe functions wait for something.
func (w *World) pairs(fn, text string, keep func(watcher.Pair) bool, safe bool) ([]watcher.Pair, error) {
	out := []watcher.Pair{}
	if text == "" {
		return out, nil
	}
	arg, err := grammars.prefix.parse(fn, text)
	if err != nil {
		return nil, err
	}
	q := watcher.Query{Store: arg.store, Kind: watcher.Prefix, Path: arg.name, Options: arg.options}
	a, ok := w.answer(q)
	if !ok {
		return out, nil
	}
	all, _ := a.Value.([]watcher.Pair)
	for _, p := range all {
		if keep(p) {
			out = append(out, p)
		}
	}
	if safe && len(out) == 0 {
		w.wait(q, "empty")
	}
	return out, nil
}
