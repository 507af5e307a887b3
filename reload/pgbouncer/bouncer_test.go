package pgbouncer_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/pgbouncer"
)

// bouncer is a place for a pgbouncer that runs as postgres.
type bouncer struct {
	dir      string
	ini      string
	port     int
	uid, gid int
	process  *servertest.Process
}

// newBouncer makes the place. Its directory is one that postgres can enter, as
// those of t.TempDir are not.
func newBouncer(t *testing.T) *bouncer {
	t.Helper()
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatalf("the tests run pgbouncer as postgres: %v", err)
	}
	dir, err := os.MkdirTemp("/tmp", "pgbaton-test-") //nolint:usetesting // another user has to enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &bouncer{dir: dir, ini: filepath.Join(dir, "pgbouncer.ini"), port: servertest.FreePort(t)}
	b.uid, _ = strconv.Atoi(u.Uid)
	b.gid, _ = strconv.Atoi(u.Gid)
	if err := os.Chown(dir, b.uid, b.gid); err != nil {
		t.Fatal(err)
	}
	return b
}

// config is a complete pgbouncer.ini with these entries for [databases] and
// further lines for [pgbouncer].
func (b *bouncer) config(databases string, more ...string) string {
	return fmt.Sprintf("[databases]\n%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir = %s\n"+
		"auth_type = any\nadmin_users = root\nlogfile = %[3]s/log\npidfile = %[3]s/pid\n%s\n",
		databases, b.port, b.dir, strings.Join(more, "\n"))
}

// file is a file of the set in this place, staged.
func (b *bouncer) file(t *testing.T, name, content string) reload.File {
	t.Helper()
	f := reload.File{
		Path: filepath.Join(b.dir, name), Staged: filepath.Join(b.dir, "."+name+".staged"),
		Content: []byte(content), Mode: 0o640, UID: b.uid, GID: b.gid,
	}
	b.put(t, f.Staged, content)
	return f
}

func (b *bouncer) put(t *testing.T, path, content string) {
	t.Helper()
	servertest.File(t, path, content, 0o640)
	if err := os.Chown(path, b.uid, b.gid); err != nil {
		t.Fatal(err)
	}
}

// commit does what a commit does, for the daemon.
func (b *bouncer) commit(t *testing.T, content string) []reload.File {
	t.Helper()
	f := b.file(t, "pgbouncer.ini", content)
	if err := os.Rename(f.Staged, f.Path); err != nil {
		t.Fatal(err)
	}
	f.Staged = f.Path
	return []reload.File{f}
}

func (b *bouncer) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(servertest.Need(t, "pgbouncer"), b.ini)
	cmd.Dir = b.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(b.uid), Gid: uint32(b.gid)}}
	b.process = servertest.Start(t, cmd)
	// The socket comes last, and is its own where others share the port.
	servertest.Eventually(t, "pgbouncer listens", func() error {
		c, err := net.Dial("unix", filepath.Join(b.dir, fmt.Sprintf(".s.PGSQL.%d", b.port)))
		if err != nil {
			return err
		}
		return c.Close()
	})
}

func (b *bouncer) daemon(t *testing.T, c pgbouncer.Config) reload.Daemon {
	t.Helper()
	d, err := c.Daemon(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return d
}
