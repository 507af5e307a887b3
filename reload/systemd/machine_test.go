package systemd_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// units are the test machine's own.
func units() map[string]string {
	const loop = "while :; do sleep 0.1; done"
	return map[string]string{
		"good.service": "[Service]\nExecStart=/bin/sh -c 'trap \"echo reload >>/run/good\" HUP; echo start >>/run/good; " + loop + "'\n" +
			"ExecReload=/bin/sh -c 'kill -HUP $MAINPID'\n",
		"bad.service":   "[Service]\nExecStart=/bin/sh -c '" + loop + "'\nExecReload=/bin/false\n",
		"slow.service":  "[Service]\nExecStart=/bin/sh -c '" + loop + "'\nExecReload=/bin/sleep 600\n",
		"plain.service": "[Service]\nExecStart=/bin/sh -c '" + loop + "'\n",
		"idle.service":  "[Service]\nExecStart=/bin/sh -c '" + loop + "'\nExecReload=/bin/true\n",
	}
}

// machine boots a systemd in a container, whose system bus is that of the tests
// from then on. It returns the path of the machine's root as seen from here.
func machine(t *testing.T) (root string) {
	t.Helper()
	image := rootfs(t)
	args := []string{
		"-q", "-D", image, "--volatile=overlay", "-b", "--private-network", "--register=no", "--keep-unit",
		"--console=pipe", fmt.Sprintf("--machine=pgbaton-%d", os.Getpid()),
	}
	dir := t.TempDir()
	for name, content := range units() {
		args = append(args, "--bind-ro="+servertest.File(t, filepath.Join(dir, name), content, 0o644)+":/etc/systemd/system/"+name)
	}
	p := servertest.Start(t, exec.Command(servertest.Need(t, "systemd-nspawn"), args...))
	var leader string
	t.Cleanup(func() {
		// An asked-for end takes its time, and everything in it is thrown away.
		if pid := 0; leader != "" {
			if _, err := fmt.Sscan(leader, &pid); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	var bus string
	servertest.Eventually(t, "systemd's bus is there", func() error {
		if p.Exited() {
			return errors.New("systemd-nspawn has ended")
		}
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.Pid()))
		if err != nil {
			return err
		}
		if leader = strings.TrimSpace(string(children)); leader == "" || strings.Contains(leader, " ") {
			return fmt.Errorf("leader %q", leader)
		}
		root = "/proc/" + leader + "/root"
		bus = root + "/run/dbus/system_bus_socket"
		if _, err := os.Stat(bus); err != nil {
			return err
		}
		state, err := exec.Command("nsenter", "-t", leader, "-a", "systemctl", "is-system-running").Output()
		if s := strings.TrimSpace(string(state)); s != "running" && s != "degraded" {
			return fmt.Errorf("system is %q: %w", s, errors.Join(err, errors.New("not yet running")))
		}
		return nil
	})
	for _, unit := range []string{"good", "bad", "slow", "plain"} {
		if out, err := exec.Command("nsenter", "-t", leader, "-a", "systemctl", "start", unit).CombinedOutput(); err != nil {
			t.Fatalf("start %s: %v: %s", unit, err, out)
		}
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+bus)
	return root
}

// rootfs is a small Debian, made once and kept in the ignored .cache.
func rootfs(t *testing.T) string {
	t.Helper()
	cache, err := filepath.Abs("../../.cache")
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(cache, "debian-rootfs")
	if _, err := os.Stat(filepath.Join(image, "lib/systemd/systemd")); err == nil {
		return image
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(cache, "rootfs-") //nolint:usetesting // it is kept, by a rename
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(servertest.Need(t, "debootstrap"), "--variant=minbase", "--include=systemd,dbus", "bookworm", fresh).CombinedOutput()
	if err != nil {
		_ = os.RemoveAll(fresh)
		t.Fatalf("make a Debian to boot: %v: %s", err, out)
	}
	if err := os.Rename(fresh, image); err != nil {
		t.Fatal(err)
	}
	return image
}
