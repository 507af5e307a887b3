package haproxy_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/haproxy"
)

// balancer is an HAProxy in master-worker mode.
type balancer struct {
	dir, cfg, socket, pidFile string
	port                      int
	process                   *servertest.Process
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	dir := t.TempDir()
	return &balancer{
		dir: dir, cfg: filepath.Join(dir, "haproxy.cfg"), socket: filepath.Join(dir, "master"),
		pidFile: filepath.Join(dir, "pid"), port: servertest.FreePort(t),
	}
}

func config(port int) string {
	return fmt.Sprintf(`defaults
  mode tcp
  timeout connect 1s
  timeout client 10s
  timeout server 10s
listen rw
  bind 127.0.0.1:%d
  server leader 127.0.0.1:9
`, port)
}

func (b *balancer) commit(t *testing.T, content string) []reload.File {
	t.Helper()
	servertest.File(t, b.cfg, content, 0o644)
	return []reload.File{{Path: b.cfg, Staged: b.cfg, Content: []byte(content), Mode: 0o644}}
}

func (b *balancer) start(t *testing.T) {
	t.Helper()
	b.process = servertest.Start(t, exec.Command(servertest.Need(t, "haproxy"), "-W", "-S", b.socket, "-p", b.pidFile, "-f", b.cfg))
	servertest.Eventually(t, "haproxy listens", b.serves(b.port))
	// Its socket closes once more as it starts: only an answer tells that it is done.
	servertest.Eventually(t, "haproxy's master answers", func() error {
		if p := b.processes(t); !strings.Contains(p, "worker") {
			return fmt.Errorf("show proc: %q", p)
		}
		return nil
	})
}

// serves is a condition: this very HAProxy accepts connections at the port.
func (b *balancer) serves(port int) func() error {
	return func() error {
		if b.process.Exited() {
			return fmt.Errorf("haproxy has ended")
		}
		return servertest.Listening(fmt.Sprintf("127.0.0.1:%d", port))()
	}
}

func daemon(t *testing.T, c haproxy.Config) reload.Daemon {
	t.Helper()
	d, err := c.Daemon(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFollow(t *testing.T) {
	b := newBalancer(t)
	b.commit(t, config(b.port))
	b.start(t)
	d := daemon(t, haproxy.Config{MasterSocket: b.socket})
	for i := range 3 {
		b.port = servertest.FreePort(t)
		mark, err := d.Follow(t.Context(), b.commit(t, config(b.port)), reload.Mark{})
		if err != nil {
			t.Fatalf("%v (hint: %s)", err, hint.Of(err))
		}
		if mark.Proof != reload.Followed || !strings.HasPrefix(mark.How, fmt.Sprintf("reload %d over %s: worker ", i+1, b.socket)) {
			t.Errorf("mark %+v", mark)
		}
		// It was seen to follow, so nothing is left to wait for.
		if err := b.serves(b.port)(); err != nil {
			t.Error(err)
		}
	}
}

func TestFollowSeesAFailedReload(t *testing.T) {
	b := newBalancer(t)
	b.commit(t, config(b.port))
	b.start(t)
	d := daemon(t, haproxy.Config{MasterSocket: b.socket})

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	port := taken.Addr().(*net.TCPAddr).Port
	// A name is one of the things that nobody looks at before the reload.
	want := b.commit(t, strings.Replace(config(port), "bind 127.0.0.1", "bind localhost", 1))
	if err := d.Check(t.Context(), want); err != nil {
		t.Fatalf("the check sees the port: %v", err)
	}
	_, err = d.Follow(t.Context(), want, reload.Mark{})
	if err == nil || !strings.Contains(err.Error(), "the reload failed") || !strings.Contains(hint.Of(err), "address in use") {
		t.Errorf("error %v, hint %q", err, hint.Of(err))
	}

	// With the port free the same files go through: nothing is lost.
	_ = taken.Close()
	if _, err := d.Follow(t.Context(), want, reload.Mark{}); err != nil {
		t.Error(err)
	}
	if err := b.serves(port)(); err != nil {
		t.Error(err)
	}
}

func TestFollowWhileOthersReload(t *testing.T) {
	b := newBalancer(t)
	b.commit(t, config(b.port))
	b.start(t)
	port := servertest.FreePort(t)
	want := b.commit(t, config(port))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := daemon(t, haproxy.Config{MasterSocket: b.socket, Timeout: "30s"}).Follow(t.Context(), want, reload.Mark{}); err != nil {
				t.Errorf("%v", err)
			}
		})
	}
	all.Go(func() { b.process.Signal(t, syscall.SIGUSR2) })
	all.Wait()
	servertest.Eventually(t, "haproxy serves the new port", b.serves(port))
}

func TestFollowUnreachable(t *testing.T) {
	b := newBalancer(t)
	want := b.commit(t, config(b.port))
	d := daemon(t, haproxy.Config{MasterSocket: b.socket, Timeout: "300ms"})
	if _, err := d.Follow(t.Context(), want, reload.Mark{}); err == nil ||
		!strings.Contains(err.Error(), b.socket) || !strings.Contains(hint.Of(err), "start haproxy with -W -S") {
		t.Errorf("nobody there: %v, hint %q", err, hint.Of(err))
	}

	b.start(t)
	b.process.Signal(t, syscall.SIGSTOP)
	begin := time.Now()
	_, err := d.Follow(t.Context(), want, reload.Mark{})
	b.process.Signal(t, syscall.SIGCONT)
	if err == nil || !strings.Contains(hint.Of(err), "does not answer") || time.Since(begin) > 10*time.Second {
		t.Errorf("frozen: %v after %v, hint %q", err, time.Since(begin), hint.Of(err))
	}
}

func TestFollowByPIDFile(t *testing.T) {
	b := newBalancer(t)
	b.commit(t, config(b.port))
	b.start(t)
	d := daemon(t, haproxy.Config{PIDFile: b.pidFile})
	servertest.Eventually(t, "haproxy writes its pid file", func() error { _, err := os.Stat(b.pidFile); return err })
	port := servertest.FreePort(t)
	mark, err := d.Follow(t.Context(), b.commit(t, config(port)), reload.Mark{})
	if err != nil {
		t.Fatal(err)
	}
	if mark.Proof != reload.Sent || !strings.Contains(mark.How, "SIGUSR2") {
		t.Errorf("mark %+v", mark)
	}
	servertest.Eventually(t, "haproxy serves the new port", b.serves(port))

	// A reload that fails brings no new worker.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Follow(t.Context(), b.commit(t, config(taken.Addr().(*net.TCPAddr).Port)), reload.Mark{})
	_ = taken.Close()
	if err == nil || !strings.Contains(err.Error(), "no new worker") || !strings.Contains(hint.Of(err), "address in use") {
		t.Errorf("error %v, hint %q", err, hint.Of(err))
	}

	other := servertest.Start(t, exec.Command("sleep", "600"))
	// A file of its own: haproxy may still write its own anew.
	wrong := daemon(t, haproxy.Config{PIDFile: servertest.File(t, filepath.Join(t.TempDir(), "pid"), fmt.Sprint(other.Pid()), 0o644)})
	if _, err := wrong.Follow(t.Context(), nil, reload.Mark{}); err == nil || !strings.Contains(err.Error(), `it is "sleep", not haproxy`) {
		t.Errorf("error %v", err)
	}
	if other.Exited() {
		t.Error("another's process was signalled")
	}
}

func TestFollowByPIDFileAtTheStart(t *testing.T) {
	// In its first moments a master loses the signal.
	b := newBalancer(t)
	b.commit(t, config(b.port))
	b.process = servertest.Start(t, exec.Command(servertest.Need(t, "haproxy"), "-W", "-p", b.pidFile, "-f", b.cfg))
	servertest.Eventually(t, "haproxy listens", b.serves(b.port))
	servertest.Eventually(t, "haproxy writes its pid file", func() error { _, err := os.Stat(b.pidFile); return err })
	port := servertest.FreePort(t)
	if _, err := daemon(t, haproxy.Config{PIDFile: b.pidFile}).Follow(t.Context(), b.commit(t, config(port)), reload.Mark{}); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "haproxy serves the new port", b.serves(port))
}

// TestFollowLaterMasters plays the masters that Debian 12 has not: from 2.7 on
// the answer to reload is a verdict.
func TestFollowLaterMasters(t *testing.T) {
	const show = "#<PID> <type> <reloads> <uptime> <version>\n7 master %d [failed: 0] 0d 2.8\n# workers\n%d worker 0 0d 2.8\n\n"
	for _, tc := range []struct {
		name, reload, mentions string
	}{
		{"good", "Success=1\n--\n[NOTICE] (7) : haproxy version is 2.8\n", ""},
		{"bad", "Success=0\n--\n[ALERT] (7) : cannot bind socket (Address already in use) for [0.0.0.0:5000]\n", "cannot bind socket (Address already in use)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "master")
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			played := make(chan struct{})
			go func() {
				defer close(played)
				reloads := 0
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					line := make([]byte, 100)
					n, _ := c.Read(line)
					if strings.TrimSpace(string(line[:n])) == "reload" {
						reloads++
						_, _ = c.Write([]byte(tc.reload))
					} else {
						_, _ = fmt.Fprintf(c, show, reloads, 100+reloads)
					}
					_ = c.Close()
				}
			}()
			_, err = daemon(t, haproxy.Config{MasterSocket: path}).Follow(t.Context(), nil, reload.Mark{})
			_ = l.Close()
			<-played
			if (err != nil) != (tc.mentions != "") || err != nil && !strings.Contains(err.Error(), tc.mentions) {
				t.Errorf("error %v, want %q", err, tc.mentions)
			}
		})
	}
}
