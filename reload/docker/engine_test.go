package docker_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// program is what runs in the containers: it says which signals it got.
const program = `package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	got := make(chan os.Signal, 8)
	signal.Notify(got, syscall.SIGHUP, syscall.SIGUSR1)
	fmt.Println("ready")
	for s := range got {
		fmt.Println("got", s)
	}
}
`

// engine is a Docker engine of the test's own.
type engine struct{ socket string }

func newEngine(t *testing.T) *engine {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "pgbaton-docker-") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{socket: filepath.Join(dir, "sock")}
	t.Cleanup(func() {
		unmount(dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the engine's directory: %v", err)
		}
	})
	p := servertest.Start(t, exec.Command(servertest.Need(t, "dockerd"),
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "-H", "unix://"+e.socket,
		"--bridge=none", "--iptables=false", "--ip-forward=false"))
	servertest.Eventually(t, "docker answers", func() error {
		if p.Exited() {
			return fmt.Errorf("dockerd has ended")
		}
		out, err := exec.Command("docker", "-H", "unix://"+e.socket, "info").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	return e
}

// unmount undoes what an engine that was killed leaves mounted below dir.
func unmount(dir string) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			_ = syscall.Unmount(fields[1], syscall.MNT_DETACH)
		}
	}
}

func (e *engine) docker(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.Command(servertest.Need(t, "docker"), append([]string{"-H", "unix://" + e.socket}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// image imports an image with nothing but the program.
func (e *engine) image(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	source := servertest.File(t, filepath.Join(dir, "main.go"), program, 0o644)
	binary := filepath.Join(dir, "listen")
	build := exec.Command("go", "build", "-o", binary, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the container's program: %v: %s", err, out)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "listen", Mode: 0o755, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	e.docker(t, layer.Bytes(), "import", "-", "listen")
}
