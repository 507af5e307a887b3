package servertest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// PostgresDir is a fresh folder that belongs to the user postgres and that
// every user may enter; it is removed when the test ends. Its path is short: a
// Unix socket's has 107 bytes. (A test's own TempDir is closed to others.)
func PostgresDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgbaton-") //nolint:usetesting // the user postgres may not enter a TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return OwnedByPostgres(t, dir)
}

// OwnedByPostgres makes a folder, unless it is there, the user postgres's own. It
// returns its path.
func OwnedByPostgres(t testing.TB, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cred := postgresUser(t)
	if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// AsPostgres makes a command run as the user postgres: PostgreSQL, PgBouncer
// and their keepers refuse to run as root.
func AsPostgres(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Credential = postgresUser(t)
}

func postgresUser(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test runs servers as the user postgres: run it as root")
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatalf("%v: run the tests with `make test`, which installs what they need", err)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// postgresEnv is the environment of Debian's servers: theirs is not ours.
func postgresEnv() []string {
	return []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/tmp", "PYTHONUNBUFFERED=1", "TZ=UTC"}
}

// PostgresBin is where Debian keeps initdb and postgres, which are not in PATH:
// that of the newest version installed.
func PostgresBin(t testing.TB) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	best, bin := 0, ""
	for _, f := range found {
		dir := filepath.Dir(f)
		if v, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir))); v > best {
			best, bin = v, dir
		}
	}
	if bin == "" {
		t.Fatal("postgresql is not installed: run the tests with `make test`, which installs what they need")
	}
	return bin
}

// PgBouncer starts a pgbouncer on a config as the user postgres and waits until
// it listens at 127.0.0.1:port. The config must name no logfile: what the server
// says is wanted when a test fails.
func PgBouncer(t testing.TB, ini string, port int) *Process {
	t.Helper()
	return (*Host)(nil).PgBouncer(t, ini, port)
}

// PgBouncer does the same on a machine, at whose address it listens.
func (h *Host) PgBouncer(t testing.TB, ini string, port int) *Process {
	t.Helper()
	cmd := exec.Command(Need(t, "pgbouncer"), ini)
	cmd.Env = postgresEnv()
	cmd.Dir = filepath.Dir(ini)
	AsPostgres(t, cmd)
	p := h.Start(t, cmd)
	Eventually(t, "pgbouncer listens", func() error {
		if p.Exited() {
			t.Fatalf("pgbouncer exited: %s", strings.TrimSpace(p.Output()))
		}
		return Listening(fmt.Sprintf("%s:%d", h.address(), port))()
	})
	return p
}
