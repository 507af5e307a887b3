package servertest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// inMachine are the Debian packages of a Machine, beside the least that there is.
var inMachine = []string{"systemd", "systemd-sysv", "procps", "dbus", "libpam-systemd", "polkitd", "pgbouncer", "haproxy", "keepalived", "ca-certificates", "ansible-core", "python3-cffi-backend", "python3-apt"}

// Machine is a small Debian in a container, with a systemd of its own.
type Machine struct {
	leader string // its process 1, as seen from here
}

// StartMachine boots one. All that is changed in it goes with it.
func StartMachine(t testing.TB) *Machine {
	t.Helper()
	image := rootfs(t)
	p := Start(t, exec.Command(Need(t, "systemd-nspawn"),
		"-q", "-D", image, "--volatile=overlay", "-b", "--private-network", "--register=no", "--keep-unit",
		"--console=pipe", fmt.Sprintf("--machine=pgbaton-%d", os.Getpid())))
	m := &Machine{}
	t.Cleanup(func() {
		// An asked-for end takes its time, and everything in it is thrown away.
		if pid := 0; m.leader != "" {
			if _, err := fmt.Sscan(m.leader, &pid); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	Eventually(t, "systemd's bus is there", func() error {
		if p.Exited() {
			return errors.New("systemd-nspawn has ended")
		}
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.Pid()))
		if err != nil {
			return err
		}
		if m.leader = strings.TrimSpace(string(children)); m.leader == "" || strings.Contains(m.leader, " ") {
			return fmt.Errorf("leader %q", m.leader)
		}
		if _, err := os.Stat(m.Bus()); err != nil {
			return err
		}
		state, err := m.Command("systemctl", "is-system-running").Output()
		if s := strings.TrimSpace(string(state)); s != "running" && s != "degraded" {
			return fmt.Errorf("system is %q: %w", s, errors.Join(err, errors.New("not yet running")))
		}
		return nil
	})
	return m
}

// Path is where a file of the machine is seen from here.
func (m *Machine) Path(path string) string { return "/proc/" + m.leader + "/root" + path }

// Bus is where its system bus listens.
func (m *Machine) Bus() string { return m.Path("/run/dbus/system_bus_socket") }

// Command is a command in it, as root.
func (m *Machine) Command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", m.leader, "-a"}, args...)...)
}

// Run runs one to its end, and fails the test if that is a bad one.
func (m *Machine) Run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := m.Command(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// rootfs is what a machine boots, made once and kept in the ignored .cache.
func rootfs(t testing.TB) string {
	t.Helper()
	cache := filepath.Join(ModuleRoot(t), ".cache")
	// Named after what is in it, so that another list makes another one.
	image := filepath.Join(cache, "bookworm-"+strings.Join(inMachine, "-"))
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
	out, err := exec.Command(Need(t, "debootstrap"), "--variant=minbase", "--include="+strings.Join(inMachine, ","), "bookworm", fresh).CombinedOutput()
	if err == nil {
		err = os.Rename(fresh, image)
		if _, there := os.Stat(image); there == nil {
			err = nil // another test was faster
		}
	}
	_ = os.RemoveAll(fresh)
	if err != nil {
		t.Fatalf("make a Debian to boot: %v: %s", err, out)
	}
	return image
}
