// Package servertest starts real servers for tests and sees to it that none
// outlives its test, whatever way the test ends.
package servertest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Deadline is how long Eventually waits: generous, for it costs nothing when
// all is well.
const Deadline = 60 * time.Second

// Eventually polls until cond returns nil, and fails the test with its last
// error at the deadline.
func Eventually(t testing.TB, what string, cond func() error) {
	t.Helper()
	var err error
	for start := time.Now(); time.Since(start) < Deadline; {
		if err = cond(); err == nil {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("%s: test ended: %v", what, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatalf("%s: not within %v: %v", what, Deadline, err)
}

// FreePort returns a TCP port on loopback that was free a moment ago.
func FreePort(t testing.TB) int {
	t.Helper()
	return FreePorts(t, 1)[0]
}

// FreePorts returns n different ports on loopback that were free a moment ago.
// They lie below the range from which the kernel serves outgoing connections:
// one of those must not take a port while its server restarts.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, 0, n)
	for tries := 0; len(ports) < n; tries++ {
		if tries == 1000 {
			t.Fatal("no free ports")
		}
		port := 10000 + rand.IntN(22000)
		if _, given := givenPorts.LoadOrStore(port, true); given {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = l.Close()
		ports = append(ports, port)
	}
	return ports
}

// givenPorts are those that this test binary has given out: a server that is
// down for a moment still owns its port.
var givenPorts sync.Map

// Need returns the path of a program, or fails the test: a missing server is
// never a silent skip.
func Need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is not installed: run the tests with `make test`, which installs what they need", program)
	}
	return path
}

// Process is a server under test.
type Process struct {
	Cmd  *exec.Cmd
	done chan struct{}
	err  error

	mu  sync.Mutex
	out bytes.Buffer
}

// Start runs a command until the test ends, then ends it: SIGTERM, and SIGKILL
// to its whole process group 5 s later. The kernel kills it if the test binary
// dies first.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	return start(t, cmd, "")
}

// start starts a command in a network namespace, a file as `ip netns` makes
// them; "" is the test's own.
func start(t testing.TB, cmd *exec.Cmd, namespace string) *Process {
	t.Helper()
	p := &Process{Cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p, p
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.WaitDelay = 5 * time.Second

	started := make(chan error)
	go func() {
		// Pdeathsig is sent when the starting thread ends, so that thread must live.
		runtime.LockOSThread()
		var err error
		if namespace == "" {
			defer runtime.UnlockOSThread()
		} else {
			err = enter(namespace) // the thread ends with its goroutine: nobody else is to have it
		}
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", cmd.Args[0], err)
	}
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("the last that %s printed:\n%s", strings.Join(cmd.Args, " "), tail(p.Output(), 4<<10))
		}
	})
	return p
}

// enter moves the calling thread into a network namespace.
func enter(namespace string) error {
	f, err := os.Open(namespace)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
}

// Stop ends the process and waits for it. It may be called twice.
func (p *Process) Stop() {
	_ = p.Cmd.Process.Signal(syscall.SIGCONT)
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
	}
	_ = syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// Kill sends SIGKILL and waits.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	<-p.done
}

// Signal sends a signal to the process itself.
func (p *Process) Signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := p.Cmd.Process.Signal(sig); err != nil {
		t.Fatalf("signal %s: %v", p.Cmd.Args[0], err)
	}
}

// Wait returns how the process ended, or ctx's error.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Exited says whether the process is gone.
func (p *Process) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Pid is the process's ID.
func (p *Process) Pid() int { return p.Cmd.Process.Pid }

// Write keeps what the process prints.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// Output is all that the process printed so far.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// tail is the end of a long text, in whole lines.
func tail(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	text = text[len(text)-limit:]
	return "…" + text[strings.IndexByte(text, '\n')+1:]
}

// File writes content to a file and returns its path, for configs of servers.
func File(t testing.TB, path, content string, perm os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), perm); err != nil {
		t.Fatal(err)
	}
	return path
}

// Listening is a condition for Eventually: something accepts TCP at addr.
func Listening(addr string) func() error {
	return func() error {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return fmt.Errorf("dial %s: %w", addr, err)
		}
		return c.Close()
	}
}
