package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/status"
)

// Word is what an operator wants of one target.
type Word struct {
	Target  string  `json:"target"`                    // its ID
	For     float64 `json:"for_seconds,omitempty"`     // a freeze: how long at most; 0 is until it is thawed
	Reason  string  `json:"reason,omitempty"`          // a freeze: why
	Timeout float64 `json:"timeout_seconds,omitempty"` // apply: how long to wait; 0 is not at all

	// Sudo is who became root to say so. It counts if root says it.
	Sudo string `json:"sudo,omitempty"`

	// By is who says so. The socket fills it in; what a client writes there is
	// overwritten.
	By string `json:"-"`
}

// Limits of a word.
const (
	maxReason = 1000 // bytes
	maxBody   = 64 << 10
	maxTime   = 100 * 365 * 24 * time.Hour // a century: what is longer overflows
)

// Duration is so many seconds.
func Duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// Reply is what came of it.
type Reply struct {
	Done bool   `json:"done"` // false: there was nothing to do
	Text string `json:"text"` // for a person
}

// Daemon is what the socket speaks for. Its errors may have one of the sentinels in
// their chain.
type Daemon interface {
	Status() status.Status
	History() []history.Change // the newest first
	Log() string               // the last lines of its log, without what is secret
	Freeze(ctx context.Context, w Word) (Reply, error)
	Thaw(ctx context.Context, w Word) (Reply, error)
	Apply(ctx context.Context, w Word) (Reply, error)
}

// Why something was not done.
var (
	ErrForbidden = errors.New("not allowed")
	ErrNoTarget  = errors.New("there is no such target")
	ErrRefused   = errors.New("refused by a check")
	ErrTimeout   = errors.New("not applied in time")
	ErrStopping  = errors.New("pgbaton is stopping")
)

// Because is an error with a text of its own, and one of the sentinels in its chain.
func Because(why error, text string) error { return &said{text, why} }

// said is an error in a daemon's own words.
type said struct {
	text string
	is   error // nil if it is none of the sentinels
}

func (s *said) Error() string { return s.text }
func (s *said) Unwrap() error { return s.is }

// codes are the status codes of the sentinels.
var codes = map[int]error{
	http.StatusForbidden:           ErrForbidden,
	http.StatusNotFound:            ErrNoTarget,
	http.StatusUnprocessableEntity: ErrRefused,
	http.StatusGatewayTimeout:      ErrTimeout,
	http.StatusServiceUnavailable:  ErrStopping,
}

// Refusal is the body of an answer that is no 200.
type Refusal struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

type peerKey struct{}

// Server serves a Daemon to whoever connects to Listen's socket. group says who beside
// root and the daemon's user may change something.
func Server(d Daemon, group *Group) *http.Server {
	h := &handler{daemon: d, group: group, self: os.Geteuid()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { status.Write(w, d.Status()) })
	mux.HandleFunc("GET /v1/history", func(w http.ResponseWriter, _ *http.Request) {
		status.Write(w, history.List{Version: history.Version, Changes: d.History()})
	})
	mux.HandleFunc("GET /v1/log", h.trusted(func(w http.ResponseWriter, _ *http.Request) { status.Write(w, Log{d.Log()}) }))
	mux.HandleFunc("POST /v1/freeze", h.word(d.Freeze))
	mux.HandleFunc("POST /v1/thaw", h.word(d.Thaw))
	mux.HandleFunc("POST /v1/apply", h.word(d.Apply))
	s := status.Server(mux)
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, peerKey{}, c.RemoteAddr())
	}
	return s
}

// Log is a log as others get it.
type Log struct {
	Lines string `json:"lines"`
}

type handler struct {
	daemon Daemon
	group  *Group
	self   int
}

// trusted keeps out whoever may not change anything.
func (h *handler) trusted(next http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		peer, known := r.Context().Value(peerKey{}).(Peer)
		if !known || !peer.may(h.self, h.group) {
			refuse(rw, h.forbidden(peer))
			return
		}
		next(rw, r)
	}
}

// word reads a word of somebody who may say one, and lets do answer it.
func (h *handler) word(do func(context.Context, Word) (Reply, error)) http.HandlerFunc {
	return h.trusted(func(rw http.ResponseWriter, r *http.Request) {
		peer, _ := r.Context().Value(peerKey{}).(Peer)
		w, err := read(rw, r)
		if err != nil {
			refuse(rw, err)
			return
		}
		w.By = Named(int(peer.UID), w.Sudo)
		reply, err := do(r.Context(), w)
		if err != nil {
			refuse(rw, err)
			return
		}
		status.Write(rw, reply)
	})
}

// read reads a word. It gives up on somebody who takes his time; an answer may take as
// long as it does.
func read(rw http.ResponseWriter, r *http.Request) (w Word, err error) {
	control := http.NewResponseController(rw)
	_ = control.SetReadDeadline(time.Now().Add(5 * time.Second))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	if err := json.NewDecoder(http.MaxBytesReader(rw, r.Body, maxBody)).Decode(&w); err != nil {
		return Word{}, fmt.Errorf("read request: %w", err)
	}
	switch {
	case len(w.Reason) > maxReason:
		return Word{}, fmt.Errorf("the reason is longer than %d bytes", maxReason)
	case w.For < 0, w.Timeout < 0, max(w.For, w.Timeout) > maxTime.Seconds():
		return Word{}, errors.New("the time is less than zero, or longer than a century")
	}
	w.Reason = strings.TrimSpace(w.Reason)
	return w, nil
}

func (h *handler) forbidden(p Peer) error {
	may := "root"
	if h.self != 0 {
		may += " and " + UserName(h.self)
	}
	advice := "run it as one of them; or name a group in the status block of the config"
	if h.group != nil {
		may += " and members of the group " + h.group.Name
		advice = "run it as one of them"
	}
	return hint.Wrap(fmt.Errorf("%w: %s may look, but change nothing; %s may", ErrForbidden, p, may), "%s", advice)
}

func refuse(rw http.ResponseWriter, err error) {
	code := http.StatusBadRequest
	for c, is := range codes {
		if errors.Is(err, is) {
			code = c
		}
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(code)
	_ = json.NewEncoder(rw).Encode(Refusal{Error: err.Error(), Hint: hint.Of(err)})
}
