package web

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/status"
)

// list is the history as whoever connects may see it.
func (s Source) list(changes []history.Change) history.List {
	l := history.List{Version: history.Version, Changes: make([]history.Change, len(changes))}
	for i, c := range changes {
		l.Changes[i] = c.Public(s.Diffs)
	}
	return l
}

// brief is a history without what changed in the files.
func brief(l history.List) history.List {
	for i := range l.Changes { // Public has made its files its own
		for j := range l.Changes[i].Files {
			l.Changes[i].Files[j].Text = ""
		}
	}
	return l
}

func historyHandler(from Source) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		changes, _ := from.Changes()
		asked := r.URL.Query()
		if asked.Has("id") {
			id, err := strconv.ParseUint(asked.Get("id"), 10, 64)
			changes = slices.DeleteFunc(changes, func(c history.Change) bool { return err != nil || c.ID != id })
			if len(changes) == 0 {
				status.Say(w, http.StatusNotFound, "there is no such change in the history")
				return
			}
		}
		l := from.list(changes)
		if asked.Has("brief") {
			l = brief(l)
		}
		status.Write(w, l)
	})
}
