package templates

import (
	"embed"
	"slices"
	"strings"
)

const suffix = ".tmpl"

//go:embed *.tmpl
var files embed.FS

// Text returns the built-in template of that name, such as "pgbouncer.ini".
func Text(name string) (string, bool) {
	text, err := files.ReadFile(name + suffix)
	return string(text), err == nil
}

// Private says whether what a built-in template makes may hold a password, so that
// nobody but its owner should read it.
func Private(name string) bool {
	return slices.Contains([]string{"jdbc.properties", "pgpass", "wal-g.env"}, name)
}

// Names lists the built-in templates, sorted.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // an embedded folder is always there
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), suffix))
	}
	slices.Sort(names)
	return names
}
