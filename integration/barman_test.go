package integration

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// barman is a Barman with a folder of its own, whose user is postgres.
type barman struct{ config string }

// newBarman makes one that finds its servers in dir/barman.d.
func newBarman(t *testing.T, dir string) barman {
	t.Helper()
	servertest.Need(t, "barman")
	home := servertest.OwnedByPostgres(t, filepath.Join(dir, "home"))
	folder := servertest.OwnedByPostgres(t, filepath.Join(dir, "barman.d"))
	return barman{servertest.File(t, filepath.Join(dir, "barman.conf"), fmt.Sprintf(
		"[barman]\nbarman_user = postgres\nbarman_home = %s\nconfiguration_files_directory = %s\nlog_file = %s/barman.log\nlog_level = INFO\n", home, folder, home), 0o644)}
}

// run runs Barman.
func (b barman) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "barman", append([]string{"-c", b.config}, args...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + filepath.Dir(b.config), "LC_ALL=C.UTF-8"}
	cmd.Dir = "/"
	servertest.AsPostgres(t, cmd)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("barman %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// must runs it, and fails the test if it fails.
func (b barman) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := b.run(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// isWell waits until Barman's own check finds nothing wrong with a server.
func (b barman) isWell(t *testing.T, server string) {
	t.Helper()
	servertest.Eventually(t, "barman check "+server, func() error {
		_, err := b.run(t, "check", server)
		return err
	})
}

// TestBarmanFollowsTheLeader: Barman backs up the leader, and streams its WAL, before and
// after it moves; a second server of Barman's is the standby, for as long as there is one.
func TestBarmanFollowsTheLeader(t *testing.T) {
	t.Parallel()
	m := newTwoMembers(t, "CREATE ROLE barman LOGIN SUPERUSER", "CREATE ROLE streaming_barman LOGIN REPLICATION")
	b := newBarman(t, m.dir)
	// The target of the documentation, for this Barman, and another one beside it.
	target := strings.NewReplacer("/etc/barman.conf", b.config, "/etc/barman.d/", m.dir+"/barman.d/", "barman -q", "barman -q -c "+b.config,
		"/usr/lib/postgresql/15/bin", servertest.PostgresBin(t)).Replace(documentedTarget(t, "../docs/files.md", "Barman"))
	standby, standbyFile := m.file("barman.conf", "barman.d/standby.conf", `server = "standby", role = "standby", streaming_archiver = false, archiver = true, slot_name = ""`)
	p := startDaemon(t, m.dir, m.block()+target+standby, filepath.Join(m.dir, "barman.d/main.conf"), standbyFile)
	t.Cleanup(func() { _, _ = b.run(t, "receive-wal", "--stop", "main") })

	leads := func(server, setting string, s *servertest.Postgres) {
		t.Helper()
		servertest.Eventually(t, fmt.Sprintf("%s of %s leads to port %d", setting, server, s.Port), func() error {
			out, err := b.run(t, "show-servers", server)
			if err == nil && !strings.Contains(out, fmt.Sprintf("\t%s: host=127.0.0.1 port=%d ", setting, s.Port)) {
				err = errors.New(out)
			}
			return err
		})
	}
	leads("main", "conninfo", m.first)
	leads("main", "streaming_conninfo", m.first)
	leads("standby", "conninfo", m.second)
	leads("standby", "primary_conninfo", m.first)
	servertest.Eventually(t, "the first segment is archived", func() error {
		_, err := b.run(t, "switch-wal", "--force", "--archive", "--archive-timeout", "5", "main")
		return err
	})
	b.isWell(t, "main")
	t.Log(b.must(t, "backup", "--wait", "main"))

	m.move(t)
	leads("main", "conninfo", m.second)
	leads("main", "streaming_conninfo", m.second)
	leads("standby", "conninfo", m.second) // there is no other
	if out := b.must(t, "show-servers", "standby"); !strings.Contains(out, "\tprimary_conninfo: None\n") {
		t.Errorf("the leader is to be a standby of itself:\n%s", out)
	}
	b.isWell(t, "main")
	t.Log(b.must(t, "backup", "--wait", "main"))
	if backups := strings.Count(b.must(t, "list-backups", "--minimal", "main"), "\n"); backups != 2 {
		t.Errorf("there are %d backups", backups)
	}
	if out := p.Output(); strings.Count(out, "applied: target=exec.barman") < 2 {
		t.Errorf("pgbaton:\n%s", out)
	}
}
