package servertest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Docker is a Docker engine of the test's own, which reaches no registry.
type Docker struct {
	Socket string // path of its unix socket
}

// StartDocker starts an engine on a machine of a network, or, without one, on this
// machine. It touches no firewall.
func StartDocker(t testing.TB, h *Host, args ...string) *Docker {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "pgbaton-docker-") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	d := &Docker{Socket: filepath.Join(dir, "sock")}
	t.Cleanup(func() {
		unmount(dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the engine's directory: %v", err)
		}
	})
	p := h.Start(t, exec.Command(Need(t, "dockerd"), append([]string{
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "-H", "unix://" + d.Socket, "--iptables=false", "--ip-forward=false",
	}, args...)...))
	Eventually(t, "docker answers", func() error {
		if p.Exited() {
			return errors.New("dockerd has ended")
		}
		out, err := d.Command(t, "docker", "info").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	return d
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

// Command is a program that talks to the engine, as docker and docker-compose do.
func (d *Docker) Command(t testing.TB, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(Need(t, program), args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+d.Socket)
	return cmd
}

// Run runs docker, and returns what it printed.
func (d *Docker) Run(t testing.TB, args ...string) string {
	t.Helper()
	return d.Feed(t, nil, args...)
}

// Feed runs docker with a standard input.
func (d *Docker) Feed(t testing.TB, in io.Reader, args ...string) string {
	t.Helper()
	cmd := d.Command(t, "docker", args...)
	cmd.Stdin = in
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// ImportDebian makes an image of the Debian that a Machine boots, in the place of one
// from a registry. What the images of the examples install is there already, and
// nowhere else to be had: apt knows no source.
func (d *Docker) ImportDebian(t testing.TB, image string) {
	t.Helper()
	tar := exec.Command(Need(t, "tar"), "-C", rootfs(t), "--one-file-system", "--exclude=./etc/apt/sources.list", "--exclude=./var/cache/apt/*.bin",
		"--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*", "--exclude=./usr/lib/python3", "--exclude=./usr/share/doc",
		"--exclude=./usr/share/locale", "--exclude=./usr/share/man", "-c", ".")
	out, err := tar.StdoutPipe()
	if err == nil {
		err = tar.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	d.Feed(t, out, "import", "-", image)
	if err := tar.Wait(); err != nil {
		t.Fatalf("%s: %v", strings.Join(tar.Args, " "), err)
	}
}
