package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// Config says which container gets which signal.
type Config struct {
	// Container is its name or ID. It has no default.
	Container string `hcl:"container"`

	// Socket is the engine's unix socket. Empty: /var/run/docker.sock.
	Socket string `hcl:"socket,optional" default:"\"/var/run/docker.sock\""`

	// Signal is a name, with or without SIG in front, or a number. Empty: HUP.
	Signal string `hcl:"signal,optional" default:"\"HUP\""`

	// Timeout ends the request. Empty: "10s".
	Timeout string `hcl:"timeout,optional" default:"\"10s\""`
}

type daemon struct {
	container string
	socket    string
	signal    string
	timeout   time.Duration
}

// Daemon returns the container that c describes. It touches none.
func (c *Config) Daemon(hclog.Logger) (reload.Daemon, error) {
	// The engine's own rule for names: another would change the path that is
	// asked for.
	if !regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`).MatchString(c.Container) {
		return nil, hint.Wrap(fmt.Errorf("read container: %q is no name of a container", c.Container), "write its name or ID, as docker ps has it")
	}
	timeout, err := reload.Timeout("timeout", c.Timeout, 10*time.Second)
	if err != nil {
		return nil, err
	}
	d := &daemon{container: c.Container, socket: c.Socket, signal: strings.ToUpper(c.Signal), timeout: timeout}
	if d.socket == "" {
		d.socket = "/var/run/docker.sock"
	}
	if !filepath.IsAbs(d.socket) {
		return nil, fmt.Errorf("read socket: %q is no absolute path", d.socket)
	}
	if d.signal == "" {
		d.signal = "HUP"
	}
	if !regexp.MustCompile(`^[A-Z0-9+-]+$`).MatchString(d.signal) {
		return nil, hint.Wrap(fmt.Errorf("read signal: %q is no signal", c.Signal), `write a name such as "HUP" or "USR1"`)
	}
	return d, nil
}

// Check has nothing to say.
func (d *daemon) Check(context.Context, []reload.File) error { return nil }

// Follow sends the signal.
func (d *daemon) Follow(ctx context.Context, _ []reload.File, _ reload.Mark) (reload.Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	answer, err := d.ask(ctx, http.MethodPost, "/kill?signal="+url.QueryEscape(d.signal))
	if err != nil {
		return reload.Mark{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusNoContent {
		return reload.Mark{}, d.refused(answer)
	}
	return reload.Mark{Proof: reload.Sent, How: fmt.Sprintf("%s to container %s", d.signal, d.container)}, nil
}

// Verify implements reload.Verifier: the container runs. Whether it heard the signal nobody
// can tell.
func (d *daemon) Verify(ctx context.Context, _ []reload.File, _ reload.Mark) (reload.Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	answer, err := d.ask(ctx, http.MethodGet, "/json")
	if err != nil {
		return reload.Mark{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return reload.Mark{}, d.refused(answer)
	}
	var is struct{ State struct{ Status string } }
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&is); err != nil {
		return reload.Mark{}, d.unreachable(err)
	}
	if is.State.Status != "running" {
		return reload.Mark{}, hint.Wrap(fmt.Errorf("container %s is %s, not running", d.container, is.State.Status), "docker logs %s", d.container)
	}
	return reload.Mark{Proof: reload.Sent, How: fmt.Sprintf("container %s runs; nobody can be asked", d.container)}, nil
}

// ask asks the engine something of the container.
func (d *daemon) ask(ctx context.Context, method, what string) (*http.Response, error) {
	// The host is of no account: every connection goes to the socket.
	request, err := http.NewRequestWithContext(ctx, method, "http://docker/containers/"+url.PathEscape(d.container)+what, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask about container %s: %w", d.container, err)
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", d.socket)
		},
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return nil, d.unreachable(err)
	}
	return answer, nil
}

func (d *daemon) unreachable(err error) error {
	at := fmt.Errorf("ask docker engine at %s: %w", d.socket, err)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return hint.Wrap(at, "pgbaton's user has to be in the socket's group; mind that this makes it as good as root")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return hint.Wrap(at, "start docker, or correct socket; in a container, mount the engine's socket there")
	case errors.Is(err, context.DeadlineExceeded):
		return hint.Wrap(at, "the engine does not answer: see systemctl status docker")
	}
	return at
}

// refused gives an answer of the engine's the hint that fits.
func (d *daemon) refused(answer *http.Response) error {
	const most = 4 << 10
	body, _ := io.ReadAll(io.LimitReader(answer.Body, most))
	var said struct{ Message string }
	if json.Unmarshal(body, &said) != nil || said.Message == "" {
		said.Message = strings.TrimSpace(string(body))
	}
	err := fmt.Errorf("signal container %s: %s: %s", d.container, answer.Status, said.Message)
	switch answer.StatusCode {
	case http.StatusNotFound:
		return hint.Wrap(err, "correct container: docker ps -a has the names")
	case http.StatusConflict:
		return hint.Wrap(err, "start it: docker start %s", d.container)
	case http.StatusForbidden:
		return hint.Wrap(err, "an engine's proxy has to allow POST /containers/*/kill")
	}
	return hint.Wrap(err, "see the engine's log (journalctl -u docker)")
}
