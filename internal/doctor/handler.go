package doctor

import (
	"context"
	"io"
	"net/http"
	"strings"
)

// Handler answers a balancer: 200 and OK if the server behind a path is well, else 500
// and the reasons, a line for each. It answers GET, HEAD and OPTIONS alike, for each is
// what some balancer asks by default. find knows the examiner of a path; nil is a path that
// there is not. told hears of each verdict, and returns what is to be shown of its reasons.
func Handler(find func(path string) Examiner, told func(ctx context.Context, path string, reasons []string) []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions:
		default:
			w.Header().Set("Allow", "GET, HEAD, OPTIONS")
			say(w, http.StatusMethodNotAllowed, "ask by GET, HEAD or OPTIONS")
			return
		}
		examiner := find(r.URL.Path)
		if examiner == nil {
			say(w, http.StatusNotFound, "no server is looked at here: ask for /, or /CLUSTER/MEMBER")
			return
		}
		err := examiner.Examine(r.Context())
		if r.Context().Err() != nil {
			return // whoever asked has gone: that says nothing of the server
		}
		if shown := told(r.Context(), r.URL.Path, Reasons(err)); err != nil {
			say(w, http.StatusInternalServerError, shown...)
			return
		}
		say(w, http.StatusOK, "OK")
	})
}

func say(w http.ResponseWriter, code int, lines ...string) {
	w.WriteHeader(code)
	_, _ = io.WriteString(w, strings.Join(lines, "\n")+"\n")
}
