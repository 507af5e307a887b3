package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// packed makes the package of each version from a copy of the source. The config of
// each later one says something new, as it may between releases.
func packed(t *testing.T, versions ...string) (paths []string) {
	t.Helper()
	dir := copyOfSource(t, "source")
	for i, version := range versions {
		if i > 0 {
			path := filepath.Join(dir, "examples/systemd/pgbaton.hcl")
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			servertest.File(t, path, string(content)+"# new in "+version+"\n", 0o644)
		}
		makeIn(t, dir, "deb", "VERSION=v"+version)
		paths = append(paths, filepath.Join(dir, "bin", "pgbaton_"+version+"_"+runtime.GOARCH+".deb"))
	}
	return paths
}

// lintian knows Debian's policy.
func TestDebianPackageKeepsToPolicy(t *testing.T) {
	out, err := exec.Command(servertest.Need(t, "lintian"), "--allow-root", "--fail-on", "error,warning", packed(t, "1.0.0")[0]).CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

// TestDebianPackage installs the package on a Debian of its own, as docs/install.md
// says, and takes it through its life: the boot, a stop, an upgrade, its end.
func TestDebianPackage(t *testing.T) {
	debs := packed(t, "1.0.0", "1.1.0")
	m := servertest.StartMachine(t)
	for i, deb := range debs {
		content, err := os.ReadFile(deb)
		if err != nil {
			t.Fatal(err)
		}
		servertest.File(t, m.Path(fmt.Sprintf("/root/pgbaton_1.%d.0_%s.deb", i, runtime.GOARCH)), string(content), 0o644)
	}
	first, second := "/root/"+filepath.Base(debs[0]), "/root/"+filepath.Base(debs[1])
	shows := func(want string, args ...string) {
		t.Helper()
		out, _ := m.Command(args...).CombinedOutput() // systemctl's exit codes say the same as its words
		if have := strings.TrimSpace(string(out)); have != want {
			t.Errorf("%s: %q, want %q", strings.Join(args, " "), have, want)
		}
	}
	active := func(unit, want string) { t.Helper(); shows(want, "systemctl", "is-active", unit) }

	// Installed, it runs nothing and has taken nothing: it waits for its config.
	owners := m.Run(t, "stat", "-c", "%a %U %G %n", "/etc/pgbouncer", "/etc/pgbouncer/pgbouncer.ini", "/etc/haproxy", "/etc/haproxy/haproxy.cfg")
	m.Run(t, "apt-get", "install", "-y", "--no-install-recommends", first)
	shows("install ok installed 1.0.0", "dpkg-query", "-W", "-f", "${Status} ${Version}", "pgbaton")
	shows("/etc/pgbaton/pgbaton.hcl", "sh", "-c", "dpkg-query -W -f '${Conffiles}\n' pgbaton | awk '{ print $1 }'")
	shows("pgbaton postgres", "id", "-n", "-G", "pgbaton")
	shows("750 root pgbaton", "stat", "-c", "%a %U %G", "/etc/pgbaton")
	shows("pgbaton 1.0.0", "sh", "-c", "pgbaton version | awk '{ sub(/^v/, \"\", $2); print $1, $2 }'")
	active("pgbaton", "inactive")
	shows("disabled", "systemctl", "is-enabled", "pgbaton")
	if now := m.Run(t, "stat", "-c", "%a %U %G %n", "/etc/pgbouncer", "/etc/pgbouncer/pgbouncer.ini", "/etc/haproxy", "/etc/haproxy/haproxy.cfg"); now != owners {
		t.Errorf("the package took\n%s, which was\n%s", now, owners)
	}
	if out, err := asPgbaton(m, "pgbaton", "check", "-config", "/etc/pgbaton/pgbaton.hcl").CombinedOutput(); err != nil {
		t.Errorf("the config that comes with it: %v: %s", err, out)
	}

	// What docs/install.md says. init first: what it writes is a good config, and is then
	// left for one that needs no Consul.
	commands := documented(t, "../docs/install.md", "On Debian")
	m.Run(t, "sh", "-e", "-c", "mkdir /etc/patroni; echo '{scope: batman, consul: {}}' > /etc/patroni/config.yml; cp -a /etc/pgbaton/pgbaton.hcl /root")
	for _, command := range commands {
		if strings.HasPrefix(command, "pgbaton init ") {
			m.Run(t, "sh", "-e", "-c", command)
		}
	}
	if out, err := asPgbaton(m, "pgbaton", "check", "-config", "/etc/pgbaton/pgbaton.hcl").CombinedOutput(); err != nil {
		t.Errorf("what init writes: %v: %s", err, out)
	}
	m.Run(t, "cp", "-a", "/root/pgbaton.hcl", "/etc/pgbaton/pgbaton.hcl")
	onStateFile(t, m, "")
	for _, command := range commands {
		if strings.HasPrefix(command, "apt-get ") || strings.HasPrefix(command, "pgbaton init ") {
			continue // done
		}
		m.Run(t, "sh", "-e", "-c", command)
	}
	inSync(t, m, "10.0.0.11")

	boots(t, m)
	stopReleases(t, m)

	asPgbouncersUser(t, m)

	// An upgrade restarts it, and keeps the config that was edited.
	edited := m.Run(t, "cat", "/etc/pgbaton/pgbaton.hcl")
	pid := m.Run(t, "systemctl", "show", "-P", "MainPID", "pgbaton")
	m.Run(t, "dpkg", "--force-confdef", "--force-confold", "-i", second)
	if now := m.Run(t, "cat", "/etc/pgbaton/pgbaton.hcl"); now != edited {
		t.Errorf("the upgrade made of the config\n%s", now)
	}
	m.Run(t, "grep", "new in 1.1.0", "/etc/pgbaton/pgbaton.hcl.dpkg-dist")
	active("pgbaton", "active")
	if now := m.Run(t, "systemctl", "show", "-P", "MainPID", "pgbaton"); now == pid {
		t.Error("the program of before runs on")
	}
	inSync(t, m, "10.0.0.12")

	// Where a destination's folder is not there, the others are served.
	m.Run(t, "mv", "/etc/haproxy", "/root/haproxy")
	m.Run(t, "systemctl", "restart", "--no-block", "pgbaton")
	servertest.Eventually(t, "it runs without a folder of the unit's", func() error {
		out, err := m.Command("pgbaton", "status").CombinedOutput()
		if strings.Contains(string(out), "folder /etc/haproxy does not exist") {
			return nil
		}
		return fmt.Errorf("%s: %w", strings.TrimSpace(string(out)), err)
	})
	m.Run(t, "mv", "/root/haproxy", "/etc/haproxy")
	inSync(t, m, "10.0.0.12")

	// Removed, it leaves the daemons as they are, and its config and state for the next.
	m.Run(t, "dpkg", "-r", "pgbaton")
	active("pgbaton", "inactive")
	for _, path := range []string{"/etc/pgbaton/pgbaton.hcl", "/var/lib/pgbaton", "/etc/pgbouncer/pgbouncer.ini"} {
		m.Run(t, "test", "-e", path)
	}
	active("pgbouncer", "active")
	m.Run(t, "dpkg", "-P", "pgbaton")
	for _, path := range []string{
		"/etc/pgbaton/pgbaton.hcl", "/var/lib/pgbaton", "/usr/bin/pgbaton", "/usr/share/pgbaton", "/usr/lib/systemd/system/pgbaton.service",
		"/etc/systemd/system/multi-user.target.wants/pgbaton.service",
	} {
		m.Run(t, "test", "!", "-e", path)
		m.Run(t, "test", "!", "-L", path)
	}
	m.Run(t, "grep", "host=10.0.0.12", "/etc/pgbouncer/pgbouncer.ini")
	m.Run(t, "grep", "server leader 10.0.0.12", "/etc/haproxy/haproxy.cfg")
	active("pgbouncer", "active")
	active("haproxy", "active")
}

// boots starts everything as a boot does, in one go, after the leader has moved and
// while the store is away: the daemons wait for the files of now.
func boots(t *testing.T, m *servertest.Machine) {
	t.Helper()
	m.Run(t, "systemctl", "stop", "multi-user.target", "pgbaton", "pgbouncer", "haproxy")
	m.Run(t, "mv", "/etc/pgbaton/state.yaml", "/root/state.yaml")
	replace(t, m.Path("/root/state.yaml"), "batman/leader: pg1", "batman/leader: pg2")
	for daemon, file := range map[string]string{"pgbouncer": "/etc/pgbouncer/pgbouncer.ini", "haproxy": "/etc/haproxy/haproxy.cfg"} {
		dropIn(t, m, daemon, "[Service]\nExecStartPre=+/bin/cp "+file+" /run/"+daemon+".started-with\n")
	}
	// This machine may be slow: no limit is to pass before the store is back.
	unit := m.Run(t, "grep", "^ExecStart=", "/usr/lib/systemd/system/pgbaton.service")
	patient := strings.Replace(unit, "-files-first 10s", "-files-first 80s", 1)
	if patient == unit {
		t.Fatalf("the unit has %s", unit)
	}
	dropIn(t, m, "pgbaton", "[Service]\nExecStart=\n"+patient)
	m.Run(t, "systemctl", "daemon-reload")

	m.Run(t, "systemctl", "start", "--no-block", "multi-user.target")
	servertest.Eventually(t, "pgbaton waits for the store, and the daemons for pgbaton", func() error {
		jobs := strings.Fields(m.Run(t, "systemctl", "list-jobs", "--no-legend", "--plain"))
		for unit, want := range map[string]string{"pgbaton.service": "running", "pgbouncer.service": "waiting", "haproxy.service": "waiting"} {
			at := -1
			for i, word := range jobs {
				if word == unit {
					at = i
				}
			}
			if at < 0 || len(jobs) <= at+2 || jobs[at+2] != want {
				return fmt.Errorf("%s is not %s: %q", unit, want, jobs)
			}
		}
		return nil
	})
	m.Run(t, "mv", "/root/state.yaml", "/etc/pgbaton/state.yaml")
	inSync(t, m, "10.0.0.12")
	m.Run(t, "grep", "host=10.0.0.12", "/run/pgbouncer.started-with")
	m.Run(t, "grep", "server leader 10.0.0.12", "/run/haproxy.started-with")

	// A config that is bad holds nothing up.
	m.Run(t, "systemctl", "stop", "multi-user.target", "pgbaton", "pgbouncer", "haproxy")
	replace(t, m.Path("/etc/pgbaton/pgbaton.hcl"), "scope =", "scoop =")
	m.Run(t, "systemctl", "start", "multi-user.target")
	m.Run(t, "systemctl", "is-active", "pgbouncer", "haproxy")
	replace(t, m.Path("/etc/pgbaton/pgbaton.hcl"), "scoop =", "scope =")
	m.Run(t, "systemctl", "restart", "pgbaton")
	inSync(t, m, "10.0.0.12")
}

// stopReleases stops pgbaton while clients are held: they are not any longer.
func stopReleases(t *testing.T, m *servertest.Machine) {
	t.Helper()
	replace(t, m.Path("/etc/pgbaton/state.yaml"), "services:", "  service/batman/failover: '{\"leader\": \"pg2\", \"member\": \"pg1\"}'\nservices:")
	servertest.Eventually(t, "clients are held", func() error { return holds(t, m, true) })
	m.Run(t, "systemctl", "stop", "pgbaton")
	if err := holds(t, m, false); err != nil {
		t.Error(err)
	}
	replace(t, m.Path("/etc/pgbaton/state.yaml"), "  service/batman/failover: '{\"leader\": \"pg2\", \"member\": \"pg1\"}'\nservices:", "services:")
}

// asPgbouncersUser does what docs/install.md says of the user postgres: the console
// then asks for no password.
func asPgbouncersUser(t *testing.T, m *servertest.Machine) {
	t.Helper()
	const config = "/etc/pgbaton/pgbaton.hcl"
	m.Run(t, "sed", "-i", "-E", `/^  (user|password_file) +=/d; s/^(    user +=) "pgbaton"/\1 "postgres"/`, config)
	if text := m.Run(t, "grep", "-E", "^ *(user|password_file) +=", config); strings.Contains(text, "password") || strings.Count(text, `= "postgres"`) != 2 {
		t.Fatalf("the config has\n%s", text)
	}
	for _, command := range documented(t, "../docs/install.md", "Whom it runs as") {
		m.Run(t, "sh", "-e", "-c", command)
	}
	inSync(t, m, "10.0.0.12")
	pid := strings.TrimSpace(m.Run(t, "systemctl", "show", "-P", "MainPID", "pgbaton"))
	if user := m.Run(t, "stat", "-c", "%U", "/proc/"+pid); user != "postgres\n" {
		t.Errorf("it runs as %s", user)
	}
}

// holds asks the pgbouncer of a machine whether it holds its databases.
func holds(t *testing.T, m *servertest.Machine, want bool) error {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	config, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=6432 user=pgbaton password=%s dbname=pgbouncer", m.Path("/run/postgresql"), consolePassword))
	if err != nil {
		return err
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, "SHOW DATABASES")
	if err != nil {
		return err
	}
	databases, err := pgx.CollectRows(rows, pgx.RowToMap)
	if err != nil {
		return err
	}
	for _, d := range databases {
		if held := fmt.Sprint(d["paused"]) == "1"; d["name"] == "shop" && held == want {
			return nil
		}
	}
	return fmt.Errorf("want shop held %v: %v", want, databases)
}

// inSync waits until the daemons of a machine follow a leader.
func inSync(t *testing.T, m *servertest.Machine, leader string) {
	t.Helper()
	servertest.Eventually(t, "all follow "+leader, func() error {
		out, err := m.Command("pgbaton", "status", "-config", "/etc/pgbaton/pgbaton.hcl").CombinedOutput()
		if err != nil {
			log, _ := m.Command("journalctl", "-u", "pgbaton", "-n", "20", "-o", "cat").CombinedOutput()
			return fmt.Errorf("%w:\n%s\n%s", err, out, log)
		}
		for _, path := range []string{"/etc/pgbouncer/pgbouncer.ini", "/etc/haproxy/haproxy.cfg"} {
			content, err := os.ReadFile(m.Path(path))
			if err != nil || !strings.Contains(string(content), leader+":5432") && !strings.Contains(string(content), "host="+leader+" ") {
				return errors.Join(err, fmt.Errorf("%s has no %s:\n%s", path, leader, content))
			}
		}
		return nil
	})
}

func asPgbaton(m *servertest.Machine, args ...string) *exec.Cmd {
	return m.Command(append([]string{"setpriv", "--reuid=pgbaton", "--regid=pgbaton", "--init-groups"}, args...)...)
}

func dropIn(t *testing.T, m *servertest.Machine, unit, content string) {
	t.Helper()
	dir := m.Path("/etc/systemd/system/" + unit + ".service.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	servertest.File(t, filepath.Join(dir, "test.conf"), content, 0o644)
}

// documented are the commands of the sh blocks below a heading of a document.
func documented(t *testing.T, path, heading string) (commands []string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(content), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no heading %q", path, heading)
	}
	part, _, _ = strings.Cut(part, "\n## ")
	for {
		_, rest, more := strings.Cut(part, "```sh\n")
		if !more {
			break
		}
		block, after, _ := strings.Cut(rest, "```")
		commands = append(commands, strings.Split(strings.TrimSpace(block), "\n")...)
		part = after
	}
	if len(commands) == 0 {
		t.Fatalf("%s: no commands below %q", path, heading)
	}
	return commands
}
