package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// copyTo copies a folder, as a clone has it, into a machine.
func copyTo(t *testing.T, m *servertest.Machine, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		there := m.Path(filepath.Join(to, strings.TrimPrefix(path, from)))
		if entry.IsDir() {
			return os.MkdirAll(there, 0o755)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(there, content, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAnsibleRole runs the playbook of the example on a Debian of its own: the first
// time it makes all of it, the second time nothing, and a bad config it refuses.
func TestAnsibleRole(t *testing.T) {
	deb := packed(t, "1.0.0")[0]
	m := servertest.StartMachine(t)
	// As the example has them: the package is that of make deb, two folders up.
	copyTo(t, m, "../examples", "/root/pgbaton/examples")
	copyTo(t, m, filepath.Dir(deb), "/root/pgbaton/bin")
	config, state := exampleOnStateFile(t, "/srv/state.yaml")
	servertest.File(t, m.Path("/srv/state.yaml"), state, 0o644)
	const source = "/root/pgbaton/examples/systemd/pgbaton.hcl" // what the playbook puts in place
	servertest.File(t, m.Path(source), config, 0o644)
	servertest.File(t, m.Path("/root/hosts"), "[poolers]\nlocalhost ansible_connection=local ansible_python_interpreter=/usr/bin/python3\n", 0o644)

	recap := regexp.MustCompile(`localhost\s+: ok=\d+\s+changed=(\d+)\s+unreachable=0\s+failed=(\d+)`)
	play := func(args ...string) (changed, failed, out string) {
		t.Helper()
		text, _ := m.Command(append([]string{
			"env", "-C", "/root/pgbaton/examples/ansible", "HOME=/root", "LANG=C.UTF-8", "PGBATON_CONSOLE_PASSWORD=" + consolePassword,
			"ansible-playbook", "-i", "/root/hosts", "playbook.yaml",
		}, args...)...).CombinedOutput()
		found := recap.FindStringSubmatch(string(text))
		if found == nil {
			t.Fatalf("ansible-playbook:\n%s", text)
		}
		if strings.Contains(string(text), consolePassword) {
			t.Errorf("it shows the password:\n%s", text)
		}
		return found[1], found[2], string(text)
	}
	if changed, failed, out := play(); changed == "0" || failed != "0" {
		t.Fatalf("the first time:\n%s", out)
	}
	inSync(t, m, "10.0.0.11")
	if enabled := m.Run(t, "systemctl", "is-enabled", "pgbaton"); enabled != "enabled\n" {
		t.Errorf("the unit is %s", enabled)
	}
	if changed, failed, out := play(); changed != "0" || failed != "0" {
		t.Errorf("the second time:\n%s", out)
	}

	servertest.File(t, m.Path(source), strings.Replace(config, "scope", "scoop", 1), 0o644)
	const fromConfig = "--start-at-task=pgbaton : Its config is good, and in place" // what comes before takes its time
	if _, failed, out := play(fromConfig); failed != "1" || !strings.Contains(out, "scoop") {
		t.Errorf("with a bad config:\n%s", out)
	}
	if now := m.Run(t, "cat", "/etc/pgbaton/pgbaton.hcl"); now != config {
		t.Errorf("the bad config is in place:\n%s", now)
	}
	servertest.File(t, m.Path(source), config+"log_level = \"debug\"\n", 0o644)
	if changed, failed, out := play(fromConfig); changed == "0" || failed != "0" {
		t.Errorf("with a new config:\n%s", out)
	}
	m.Run(t, "sh", "-c", "journalctl -u pgbaton -o cat | grep 'config taken up'")
	inSync(t, m, "10.0.0.11")
}
