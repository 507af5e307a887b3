package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"syscall"
	"time"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/status"
)

// patience is how long a pgbaton may take to say how it stands.
const patience = 5 * time.Second

// Client speaks to one running pgbaton.
type Client struct{ http http.Client }

// Found is a running pgbaton, and how it stands.
type Found struct {
	*Client
	Status status.Status
}

// Has says whether it has a target of its config under its control.
func (f Found) Has(id string) bool {
	return slices.ContainsFunc(f.Status.Targets, func(t status.Target) bool {
		return t.ID == id && (t.Error == nil || t.Error.Kind != status.KindLocked)
	})
}

// Find asks every pgbaton that has a socket in a state folder how it stands. There may
// be none. An error says that there may be one that can't be asked, and stands beside
// those that can.
func Find(ctx context.Context, dir string) (found []Found, err error) {
	var errs []error
	for n := 1; n <= most; n++ {
		c := &Client{}
		c.http.Transport = &http.Transport{
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, dir, n) },
			DisableKeepAlives: true,
		}
		s, err := c.status(ctx)
		for tries := 0; tries < 3 && ended(err); tries++ {
			s, err = c.status(ctx)
		}
		switch {
		case err == nil:
			found = append(found, Found{c, s})
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ECONNREFUSED): // none, or one that was killed
		case errors.Is(err, fs.ErrPermission):
			err := hint.Wrap(fmt.Errorf("%s: %w", dir, fs.ErrPermission), "run it as root, as pgbaton's user, or as a member of the group that the status block of its config names")
			return found, explain.Mark(err, explain.Forbidden)
		default:
			errs = append(errs, explain.Mark(fmt.Errorf("the pgbaton that runs does not answer: %w", err), explain.NoSocket))
		}
	}
	return found, errors.Join(errs...)
}

// ended says whether a pgbaton ended while it was asked: if it is asked again it is
// not there, or the next one is.
func ended(err error) bool {
	var dial *net.OpError
	var request *url.Error
	switch {
	case errors.As(err, &dial) && dial.Op == "dial":
		return false
	case errors.As(err, &request):
		return !request.Timeout() // http has no types for all of these
	}
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (c *Client) status(ctx context.Context) (s status.Status, err error) {
	if err = c.get(ctx, "/v1/status", &s); err == nil {
		err = speaks("status", s.Version, status.Version)
	}
	return s, err
}

// History is what it did, the newest first.
func (c *Client) History(ctx context.Context) ([]history.Change, error) {
	var l history.List
	err := c.get(ctx, "/v1/history", &l)
	if err == nil {
		err = speaks("history", l.Version, history.Version)
	}
	return l.Changes, err
}

// Log is the last lines of its log, for those who may change something.
func (c *Client) Log(ctx context.Context) (string, error) {
	var l Log
	err := c.get(ctx, "/v1/log", &l)
	return l.Lines, err
}

// get asks for something that is there at once.
func (c *Client) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer within %v", patience))
	defer cancel()
	err := c.do(ctx, http.MethodGet, path, nil, into)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// speaks refuses what a pgbaton of another time means otherwise.
func speaks(of string, version, ours int) error {
	if version == ours {
		return nil
	}
	return hint.Wrap(fmt.Errorf("it speaks version %d of its %s, this one %d", version, of, ours), "use the pgbaton that runs")
}

// Freeze keeps a target from changing.
func (c *Client) Freeze(ctx context.Context, w Word) (Reply, error) {
	return c.say(ctx, "/v1/freeze", w)
}

// Thaw ends a freeze.
func (c *Client) Thaw(ctx context.Context, w Word) (Reply, error) { return c.say(ctx, "/v1/thaw", w) }

// Apply returns when what is wanted was applied.
func (c *Client) Apply(ctx context.Context, w Word) (Reply, error) { return c.say(ctx, "/v1/apply", w) }

func (c *Client) say(ctx context.Context, path string, w Word) (r Reply, err error) {
	body, err := json.Marshal(w)
	if err != nil {
		return r, err
	}
	err = c.do(ctx, http.MethodPost, path, body, &r)
	return r, err
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://pgbaton"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusOK {
		return json.Unmarshal(content, into)
	}
	return refusal(resp.StatusCode, content)
}

// refusal is the error that a daemon answered with, its sentinel and hint included.
func refusal(code int, content []byte) error {
	var r Refusal
	if err := json.Unmarshal(content, &r); err != nil || r.Error == "" {
		return fmt.Errorf("answered with %d: %s", code, status.OneLine(string(content)))
	}
	err := Because(codes[code], r.Error)
	if r.Hint != "" {
		err = hint.Wrap(err, "%s", r.Hint)
	}
	if errors.Is(err, ErrForbidden) {
		err = explain.Mark(err, explain.Forbidden)
	}
	return err
}
