package docker_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/docker"
)

func follow(t *testing.T, c docker.Config) (reload.Mark, error) {
	t.Helper()
	d, err := c.Daemon(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Check(t.Context(), nil); err != nil {
		t.Error(err)
	}
	return d.Follow(t.Context(), nil, reload.Mark{})
}

func TestFollow(t *testing.T) {
	e := servertest.StartDocker(t, nil, "--bridge=none")
	image(t, e)
	e.Run(t, "run", "-d", "--network", "host", "--name", "pooler", "listen", "/listen")
	t.Cleanup(func() { e.Run(t, "rm", "-f", "pooler") })
	says := func(what string) func() error {
		return func() error {
			if out := e.Run(t, "logs", "pooler"); !strings.Contains(out, what+"\n") {
				return fmt.Errorf("it says %q", out)
			}
			return nil
		}
	}
	servertest.Eventually(t, "the container is ready", says("ready"))
	for signal, said := range map[string]string{"": "got hangup", "sigusr1": "got user defined signal 1"} {
		mark, err := follow(t, docker.Config{Container: "pooler", Socket: e.Socket, Signal: signal})
		if err != nil || mark.Proof != reload.Sent || !strings.Contains(mark.How, "to container pooler") {
			t.Fatalf("mark %+v, %v (hint: %s)", mark, err, hint.Of(err))
		}
		servertest.Eventually(t, "the signal arrives", says(said))
	}

	e.Run(t, "kill", "pooler")
	for _, tc := range []struct{ container, signal, mentions, hinted string }{
		{"absent", "", "404", "docker ps -a"},
		{"pooler", "", "409", "docker start pooler"},
		{"pooler", "NONSENSE", "NONSENSE", "log"},
	} {
		_, err := follow(t, docker.Config{Container: tc.container, Socket: e.Socket, Signal: tc.signal})
		if err == nil || !strings.Contains(err.Error(), tc.mentions) || !strings.Contains(hint.Of(err), tc.hinted) {
			t.Errorf("%+v: error %v, hint %q", tc, err, hint.Of(err))
		}
	}
}

func TestFollowWithoutAnEngine(t *testing.T) {
	dir := t.TempDir()
	silent := filepath.Join(dir, "silent")
	l, err := net.Listen("unix", silent)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, tc := range []struct{ socket, hinted string }{
		{filepath.Join(dir, "absent"), "start docker"},
		{silent, "does not answer"},
	} {
		_, err := follow(t, docker.Config{Container: "pooler", Socket: tc.socket, Timeout: "200ms"})
		if err == nil || !strings.Contains(err.Error(), tc.socket) || !strings.Contains(hint.Of(err), tc.hinted) {
			t.Errorf("%s: error %v, hint %q", tc.socket, err, hint.Of(err))
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, c := range []docker.Config{
		{}, {Container: ".."}, {Container: "../pooler"}, {Container: "a/b"}, {Container: "a?b"}, {Container: "a", Socket: "sock"}, {Container: "a", Signal: "A B"}, {Container: "a", Timeout: "x"},
	} {
		if _, err := c.Daemon(hclog.NewNullLogger()); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
