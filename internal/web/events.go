package web

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/pgbaton/pgbaton/internal/status"
)

// Limits of streams.
const (
	streams  = 16                     // at once; the listener has four times as many connections, and keeps the rest for others
	glance   = 500 * time.Millisecond // between two looks at the status; a change in the history is seen at once
	beat     = 5 * time.Second        // the longest time that nothing is said
	patience = 5 * time.Second        // with a client that does not take what it is told
	again    = 10 * time.Second       // when those who found no place may try
)

// events are server-sent events: "status" as /status.json has it, and "history" as
// /history.json?brief has it, each whole, when they are others than before. The status is
// told every beat, whether or not it is another. Who is slow misses what was in between,
// and keeps nobody waiting.
type events struct {
	feed   feed
	places chan struct{}
	slow   time.Duration // patience
}

func newEvents(from Source) *events {
	return &events{feed: feed{from: from}, places: make(chan struct{}, streams), slow: patience}
}

func (e *events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case e.places <- struct{}{}:
		defer func() { <-e.places }()
	default:
		w.Header().Set("Retry-After", strconv.Itoa(int(again.Seconds())))
		status.Say(w, http.StatusServiceUnavailable, fmt.Sprintf("%d look already: ask for status.json", streams))
		return
	}
	status.Head(w, "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy in between lets each event through
	if r.Method == http.MethodHead {
		return
	}
	e.stream(w, r)
}

// stream tells one client until it goes, does not listen, or the listener is closed.
func (e *events) stream(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	if control.SetReadDeadline(time.Time{}) != nil { // it is for a request, and that has been read
		return
	}
	tell := func(event string, what told) bool {
		return control.SetWriteDeadline(time.Now().Add(e.slow)) == nil && printed(w, event, what.text) && control.Flush() == nil
	}
	var status, history uint64 // turns that were told
	var spoke time.Time
	for {
		now, past, changed := e.feed.look()
		at := time.Now()
		if now.turn != status || at.Sub(spoke) >= beat {
			if !tell("status", now) {
				return
			}
			status, spoke = now.turn, at
		}
		if past.turn != history {
			if !tell("history", past) {
				return
			}
			history = past.turn
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(glance):
			continue
		case <-changed:
		}
		select { // more may come at once
		case <-r.Context().Done():
			return
		case <-time.After(time.Until(at.Add(pace))):
		}
	}
}

// printed writes an event whose data has one line.
func printed(w http.ResponseWriter, event string, data []byte) bool {
	_, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, data)
	return err == nil
}
