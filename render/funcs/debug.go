package funcs

import (
	"fmt"
	"text/template"

	"github.com/davecgh/go-spew/spew"
)

// debug shows values with their types. What is dumped goes to the World's Debug
// and not into the file.
func debug(w *World) template.FuncMap {
	show := func(text string) string {
		if w.Debug != nil {
			_, _ = fmt.Fprint(w.Debug, text)
		}
		return ""
	}
	return template.FuncMap{
		"spew_dump":    func(values ...any) string { return show(spew.Sdump(values...)) },
		"spew_printf":  func(format string, values ...any) string { return show(spew.Sprintf(format, values...)) },
		"spew_sdump":   func(values ...any) string { return spew.Sdump(values...) },
		"spew_sprintf": func(format string, values ...any) string { return spew.Sprintf(format, values...) },
	}
}
