package patroni

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/login"
)

// answer is what one address answered in a round.
type answer struct {
	base   string        // scheme://host:port that was asked
	remote string        // host:port that the name stood for; "" if nobody was there
	view   *view         // nil if it told none
	live   *live         // nil if it told nothing of itself
	config string        // a JSON object; "" if it wasn't asked, or told none
	age    time.Duration // since it has heard of its store last, by its own clock; 0 if it does not say
	err    error         // why there is no view
}

// patience is how long one request may take.
const patience = time.Second

// ask asks one address all that there is to know, at the same time.
func (s *Store) ask(ctx context.Context, base string, config bool) answer {
	a := answer{base: base}
	var both sync.WaitGroup
	var remote string
	both.Go(func() {
		body, header, at, err := s.get(ctx, base, "/patroni", http.StatusOK, http.StatusServiceUnavailable) // 503: PostgreSQL does not run
		if err != nil {
			return
		}
		if a.live, err = decodeLive(body); err == nil && a.live.LastSeen != nil {
			if now, err := http.ParseTime(header.Get("Date")); err == nil {
				a.age = max(0, now.Sub(time.Unix(*a.live.LastSeen, 0)))
			}
		}
		remote = at
	})
	body, _, at, err := s.get(ctx, base, "/cluster", http.StatusOK)
	if err == nil {
		if a.view, err = decodeView(body); err != nil {
			err = fmt.Errorf("GET /cluster: %w", err)
		}
	}
	a.err, a.remote = err, at
	if config && err == nil {
		var any map[string]any
		if body, _, _, err := s.get(ctx, base, "/config", http.StatusOK); err == nil && decode(body, &any) == nil {
			a.config = string(body)
		}
	}
	both.Wait()
	if a.remote == "" {
		a.remote = remote
	}
	return a
}

// get is one request. Its error names neither the address nor what is secret.
func (s *Store) get(ctx context.Context, base, path string, good ...int) (body []byte, header http.Header, remote string, err error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { remote = c.Conn.RemoteAddr().String() }})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return nil, nil, "", err
	}
	// Whom others name is told a password only if he can show who he is.
	if s.user != "" && (slices.Contains(s.configured, base) || strings.HasPrefix(base, "https://") && s.verifies) {
		password, err := login.Password(s.passwordFile)
		if err != nil {
			return nil, nil, "", err
		}
		req.SetBasicAuth(s.user, password)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, nil, remote, fmt.Errorf("GET %s: %w", path, plain(err))
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return nil, nil, remote, hint.Wrap(fmt.Errorf("GET %s: %s", path, resp.Status), "set user and password_file in the patroni block, or cert and key in its ssl block")
	case !slices.Contains(good, resp.StatusCode):
		return nil, nil, remote, fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	if body, err = readAll(resp.Body); err != nil {
		return nil, nil, remote, fmt.Errorf("GET %s: its answer: %w", path, err)
	}
	return body, resp.Header, remote, nil
}

// plain says what happened, and says what it means where that is not plain.
func plain(err error) error {
	// The outermost names the URL, which whoever asks has named.
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return hint.Wrap(fmt.Errorf("it hangs up: %w", err), "a member hangs up that can't reach the cluster's store: see its log. If it speaks TLS, begin its address with https://")
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v", patience)
	}
	return err
}
