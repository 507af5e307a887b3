package web

import (
	"embed"
	"net/http"

	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/status"
)

//go:embed page
var files embed.FS

// Source is what the page shows. Its functions may be called at once.
type Source struct {
	Status  func() status.Status
	Changes func() (list []history.Change, changed <-chan struct{}) // the newest first; the channel is closed when they are others
	Diffs   bool                                                    // for everybody: what changed in files that not everybody may read
}

// policy lets the page do what it does: load its own files, and ask whoever it came from.
// No text can become a script, wherever it comes from.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Pages are the page, its files, and what feeds it:
//
//	/              the page
//	/events        the status and the history, as they change
//	/history.json  the history; ?id=N that one change alone, ?brief without what changed in the files
func Pages(from Source) []status.Page {
	pages := []status.Page{
		{Path: "/events", Handler: newEvents(from)},
		{Path: "/history.json", Handler: historyHandler(from)},
	}
	for _, f := range []struct{ path, name, kind string }{
		{"/{$}", "index.html", "text/html; charset=utf-8"},
		{"/style.css", "style.css", "text/css; charset=utf-8"},
		{"/page.js", "page.js", "text/javascript; charset=utf-8"},
		{"/icon.svg", "icon.svg", "image/svg+xml"},
		{"/favicon.ico", "icon.svg", "image/svg+xml"}, // for what a browser shows without the page
	} {
		content, err := files.ReadFile("page/" + f.name)
		if err != nil {
			panic(err) // it is part of the program
		}
		pages = append(pages, status.Page{Path: f.path, Handler: static(f.kind, content)})
	}
	return pages
}

// static answers with one file.
func static(kind string, content []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status.Head(w, kind)
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		_, _ = w.Write(content)
	})
}
