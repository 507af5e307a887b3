package funcs

import (
	"errors"
	"fmt"
	"strings"
	"text/template"

	socket "github.com/hashicorp/go-sockaddr/template"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// programs hand over to something else: a program, a defined template, another
// template language.
func programs(w *World) template.FuncMap {
	return template.FuncMap{
		// plugin runs a program and gives what it prints. It runs once all that was
		// asked for so far is known: what it would be given before is thrown away.
		"plugin": func(name string, args ...string) (string, error) {
			if name == "" || len(w.Waiting) > 0 {
				return "", nil
			}
			if w.Plugin == nil {
				return "", hint.Wrap(fmt.Errorf("plugin %s: no program is run here", name), "`pgbaton check` runs none")
			}
			var given []string
			for _, arg := range args {
				if arg = strings.TrimSpace(arg); arg != "" {
					given = append(given, arg)
				}
			}
			out, err := w.Plugin(name, given)
			if err != nil {
				return "", fmt.Errorf("plugin %s: %w", name, err)
			}
			return strings.TrimSpace(out), nil
		},
		"executeTemplate": func(name string, data ...any) (string, error) {
			switch {
			case len(data) > 1:
				return "", fmt.Errorf("executeTemplate: a name and one value at most, have %d values", len(data))
			case w.Execute == nil:
				return "", errors.New("executeTemplate: there are no templates")
			case len(data) == 0:
				return w.Execute(name, nil)
			}
			return w.Execute(name, data[0])
		},
		"scratch": func() *Scratch {
			if w.Scratch == nil {
				w.Scratch = &Scratch{}
			}
			return w.Scratch
		},
		// sockaddr is a language of its own, for this machine's addresses.
		"sockaddr": func(words ...string) (string, error) {
			return socket.Parse("{{ " + strings.Join(words, " ") + " }}")
		},
	}
}
