package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestHardenedUnit installs examples/systemd on a Debian of its own as its README
// does, and lets the leader move: the unit as it is, for its dedicated user, beside
// pgbouncer and HAProxy as Debian's units run them.
func TestHardenedUnit(t *testing.T) {
	m := machineWithPgbaton(t)
	status := func() string {
		out, _ := m.Command("systemctl", "status", "--full", "--lines=30", "pgbaton").CombinedOutput()
		return string(out)
	}
	synced := func(leader string) {
		t.Helper()
		servertest.Eventually(t, "all follow "+leader, func() error {
			if s := status(); !strings.Contains(s, "3 of 3 targets in sync") {
				return fmt.Errorf("status:\n%s", s)
			}
			for path, want := range map[string]string{
				"/etc/pgbouncer/pgbouncer.ini": "host=" + leader, "/etc/haproxy/haproxy.cfg": "server leader " + leader, "/etc/pgpool2/pgpool.conf": leader,
			} {
				content, err := os.ReadFile(m.Path(path))
				if err != nil {
					return err
				}
				if !strings.Contains(string(content), want) {
					return fmt.Errorf("%s has no %q:\n%s", path, want, content)
				}
			}
			return nil
		})
	}

	// Without the rule, systemd asks pgbaton for a password that it has not.
	m.Run(t, "systemctl", "start", "pgbaton")
	servertest.Eventually(t, "a reload without the rule is refused", func() error {
		log := m.Run(t, "journalctl", "-u", "pgbaton", "-o", "cat")
		for _, part := range []string{"reload pgpool2.service: ", "give its user a polkit rule for org.freedesktop.systemd1.manage-units on pgpool2.service"} {
			if !strings.Contains(log, part) {
				return fmt.Errorf("the journal has no %q:\n%s", part, log)
			}
		}
		return nil
	})
	install(t, m, "pgbaton.rules", "/etc/polkit-1/rules.d/50-pgbaton.rules")
	m.Run(t, "systemctl", "restart", "polkit")                                  // it may not see a new rule where the disk is an overlay
	m.Run(t, "systemctl", "kill", "-s", "HUP", "--kill-whom=main", "pgbouncer") // once: it learns of its console's user
	synced("10.0.0.11")
	reloads, err := os.ReadFile(m.Path("/run/pgpool2.reloads"))
	if err != nil || len(reloads) == 0 {
		t.Errorf("the unit did not reload: %q, %v", reloads, err)
	}
	// The rule is for these units and verbs alone.
	for _, words := range []string{"reload other", "restart pgpool2", "stop pgpool2", "stop pgbouncer"} {
		out, err := m.Command(append([]string{"setpriv", "--reuid=pgbaton", "--regid=pgbaton", "--init-groups", "systemctl", "--no-ask-password"}, strings.Fields(words)...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "authentication required") {
			t.Errorf("systemctl %s as pgbaton: %v: %s", words, err, out)
		}
	}

	replace(t, m.Path("/etc/pgbaton/state.yaml"), "batman/leader: pg1", "batman/leader: pg2")
	synced("10.0.0.12")
	m.Run(t, "systemctl", "reload", "pgbaton")
	synced("10.0.0.12")
	for path, want := range map[string]string{
		"/etc/pgbouncer/pgbouncer.ini": "640 pgbaton postgres", "/etc/haproxy/haproxy.cfg": "644 pgbaton pgbaton", "/var/lib/pgbaton": "700 pgbaton pgbaton",
	} {
		if have := strings.TrimSpace(m.Run(t, "stat", "-c", "%a %U %G", path)); have != want {
			t.Errorf("%s is %q, want %q", path, have, want)
		}
	}

	log := m.Run(t, "journalctl", "-u", "pgbaton", "-o", "cat")
	if strings.Contains(log, lessApart) {
		t.Errorf("its checks have the network:\n%s", log)
	}
	if strings.Contains(log, consolePassword) {
		t.Error("the journal has the console's password")
	}
	pid := strings.TrimSpace(m.Run(t, "systemctl", "show", "-P", "MainPID", "pgbaton"))
	if have := m.Run(t, "grep", "-E", "^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):", "/proc/"+pid+"/status"); !regexp.MustCompile(
		`Uid:(\t[1-9][0-9]*){4}\nCapEff:\t0{16}\nCapBnd:\t0{16}\nNoNewPrivs:\t1\nSeccomp:\t2\n`).MatchString(have) {
		t.Errorf("it runs as\n%s", have)
	}
	if limit := m.Run(t, "grep", "core file", "/proc/"+pid+"/limits"); strings.Join(strings.Fields(limit), " ") != "Max core file size 1 1 bytes" {
		t.Errorf("core files: %s", limit)
	}

	// Killed while it holds, it leaves nobody waiting: systemd ends its guard with it,
	// and lets pgbaton release, as the unit's user. Then it is back, and goes on.
	said := func(part string) func() error {
		return func() error {
			if log := m.Run(t, "journalctl", "-u", "pgbaton", "-o", "cat"); !strings.Contains(log, part) {
				return fmt.Errorf("the journal has no %q:\n%s", part, log)
			}
			return nil
		}
	}
	const asked = "  service/batman/failover: '{\"leader\": \"pg2\", \"member\": \"pg1\"}'\nservices:"
	replace(t, m.Path("/etc/pgbaton/state.yaml"), "services:", asked)
	servertest.Eventually(t, "traffic is held", said("traffic held"))
	m.Run(t, "systemctl", "kill", "-s", "KILL", "--kill-whom=main", "pgbaton")
	servertest.Eventually(t, "traffic is released", said("pgbouncer.edge: released "))
	replace(t, m.Path("/etc/pgbaton/state.yaml"), asked, "services:")
	replace(t, m.Path("/etc/pgbaton/state.yaml"), "batman/leader: pg2", "batman/leader: pg1")
	servertest.Eventually(t, "systemd starts it again", func() error {
		if again := strings.TrimSpace(m.Run(t, "systemctl", "show", "-P", "MainPID", "pgbaton")); again == pid || again == "0" {
			return fmt.Errorf("its process is %s", again)
		}
		return nil
	})
	synced("10.0.0.11")

	// Each drop-in gives back what it says, and no more.
	for name, rights := range map[string]string{"net-admin.conf": "0000000000001000", "chown.conf": "0000000000000009"} {
		install(t, m, "drop-ins/"+name, "/etc/systemd/system/pgbaton.service.d/"+name)
		m.Run(t, "systemctl", "daemon-reload")
		m.Run(t, "systemctl", "restart", "pgbaton")
		pid := strings.TrimSpace(m.Run(t, "systemctl", "show", "-P", "MainPID", "pgbaton"))
		if have := m.Run(t, "grep", "^CapEff:", "/proc/"+pid+"/status"); have != "CapEff:\t"+rights+"\n" {
			t.Errorf("with %s it has %s", name, have)
		}
		synced("10.0.0.11")
		if err := os.Remove(m.Path("/etc/systemd/system/pgbaton.service.d/" + name)); err != nil {
			t.Fatal(err)
		}
	}
	// Where the unit takes namespaces away, checks go on without, and it is said.
	servertest.File(t, m.Path("/etc/systemd/system/pgbaton.service.d/none.conf"), "[Service]\nRestrictNamespaces=yes\n", 0o644)
	m.Run(t, "systemctl", "daemon-reload")
	m.Run(t, "systemctl", "restart", "pgbaton")
	replace(t, m.Path("/etc/pgbaton/state.yaml"), "batman/leader: pg1", "batman/leader: pg2")
	synced("10.0.0.12")
	servertest.Eventually(t, "a check that is kept less apart is said", said(lessApart))
	install(t, m, "drop-ins/root.conf", "/etc/systemd/system/pgbaton.service.d/root.conf")
	m.Run(t, "systemctl", "daemon-reload")
	m.Run(t, "systemctl", "restart", "pgbaton")
	synced("10.0.0.12")
}

const (
	consolePassword = "console-pw-1f0c"
	lessApart       = "does not give a check all that would keep it apart"
)

// machineWithPgbaton is a machine with pgbaton installed as the README of the
// example says, but for the polkit rule, on a state file in the place of Consul.
func machineWithPgbaton(t *testing.T) *servertest.Machine {
	t.Helper()
	// As make build makes it: what the race detector needs is not in the unit.
	bin := filepath.Join(t.TempDir(), "pgbaton")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, "../cmd/pgbaton")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build pgbaton: %v: %s", err, out)
	}
	m := servertest.StartMachine(t)
	program, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	servertest.File(t, m.Path("/usr/bin/pgbaton"), string(program), 0o755)
	install(t, m, "pgbaton.service", "/etc/systemd/system/pgbaton.service")
	install(t, m, "pgbaton.sysusers", "/etc/sysusers.d/pgbaton.conf")
	install(t, m, "pgbaton.tmpfiles", "/etc/tmpfiles.d/pgbaton.conf")
	install(t, m, "destinations.tmpfiles", "/etc/tmpfiles.d/pgbaton-destinations.conf")
	m.Run(t, "systemd-sysusers")
	m.Run(t, "systemd-tmpfiles", "--create", "pgbaton.conf", "pgbaton-destinations.conf")

	// A daemon that follows by a reload of its unit.
	servertest.File(t, m.Path("/etc/systemd/system/pgpool2.service"), "[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/sh -c 'echo reload >>/run/pgpool2.reloads'\n", 0o644)
	servertest.File(t, m.Path("/etc/systemd/system/other.service"), "[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/true\n", 0o644)
	onStateFile(t, m, "log_level = \"debug\"\ntarget \"systemd\" \"pool\" {\n  template {\n    contents    = \"{{ (cluster \\\"main\\\").Leader.Host }}\"\n    destination = \"/etc/pgpool2/pgpool.conf\"\n  }\n  unit = \"pgpool2\"\n}\n")
	m.Run(t, "install", "-d", "-m", "775", "-g", "pgbaton", "/etc/pgpool2")
	if err := os.MkdirAll(m.Path("/etc/systemd/system/pgbaton.service.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	servertest.File(t, m.Path("/etc/systemd/system/pgbaton.service.d/pgpool.conf"), "[Service]\nReadWritePaths=/etc/pgpool2\n", 0o644)
	m.Run(t, "systemctl", "daemon-reload")
	m.Run(t, "systemctl", "restart", "pgpool2", "other", "haproxy", "pgbouncer")
	return m
}

// exampleOnStateFile is the config of the example on a state file in the place of
// Consul, and that file.
func exampleOnStateFile(t *testing.T, path string) (config, state string) {
	t.Helper()
	files := map[string]string{"systemd/pgbaton.hcl": "", "quickstart/state.yaml": ""}
	for name := range files {
		content, err := os.ReadFile(filepath.Join("../examples", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(content)
	}
	config = regexp.MustCompile(`(?s)consul \{.*?\n\}`).ReplaceAllString(files["systemd/pgbaton.hcl"], fmt.Sprintf("file {\n  path = %q\n}", path))
	return strings.Replace(config, `scope = "batman"`, "scope = \"batman\"\n  confirm = [\"none\"]", 1), files["quickstart/state.yaml"]
}

// onStateFile gives a machine that config, with more at its end, and what the README
// of the example wants of the daemons.
func onStateFile(t *testing.T, m *servertest.Machine, more string) {
	t.Helper()
	config, state := exampleOnStateFile(t, "state.yaml")
	group := []string{"chgrp", "pgbaton"}
	for path, content := range map[string]string{
		"/etc/pgbaton/pgbaton.hcl": config + more, "/etc/pgbaton/state.yaml": state, "/etc/pgbaton/console-password": consolePassword + "\n",
	} {
		servertest.File(t, m.Path(path), content, 0o640)
		group = append(group, path)
	}
	m.Run(t, group...)
	servertest.File(t, m.Path("/etc/pgbouncer/userlist.txt"), fmt.Sprintf("\"pgbaton\" %q\n", consolePassword), 0o640)
	servertest.File(t, m.Path("/etc/default/haproxy"), "EXTRAOPTS=\"-S /run/haproxy-master.sock,mode,660,group,pgbaton\"\n", 0o644)
}

// install puts a file of the example into its place.
func install(t *testing.T, m *servertest.Machine, name, path string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../examples/systemd", name))
	if err == nil {
		err = os.MkdirAll(filepath.Dir(m.Path(path)), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	servertest.File(t, m.Path(path), string(content), 0o644)
}

func replace(t *testing.T, path, old, fresh string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(content), old) {
		t.Fatalf("%s: %v, want %q in it", path, err, old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(content), old, fresh, 1)), 0o640); err != nil {
		t.Fatal(err)
	}
}
