package servertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// PgPoolPassword is that of the user pgbaton of pcp.
const PgPoolPassword = "pcp-secret"

// PgPoolFolder fills a folder with what a pgpool takes beside its pgpool.conf: pcp.conf with
// the user pgbaton, empty pool_hba.conf and pool_passwd. It returns the password file of that
// user, which is the user postgres's own.
func PgPoolFolder(t testing.TB, dir string) (passFile string) {
	t.Helper()
	md5, err := exec.Command(Need(t, "pg_md5"), PgPoolPassword).Output()
	if err != nil {
		t.Fatal(err)
	}
	File(t, filepath.Join(dir, "pcp.conf"), "pgbaton:"+string(md5), 0o644)
	File(t, filepath.Join(dir, "pool_hba.conf"), "", 0o644)
	File(t, filepath.Join(dir, "pool_passwd"), "", 0o644)
	passFile = File(t, filepath.Join(dir, "pcppass"), "*:*:pgbaton:"+PgPoolPassword+"\n", 0o600)
	cred := postgresUser(t)
	if err := os.Chown(passFile, int(cred.Uid), int(cred.Gid)); err != nil {
		t.Fatal(err)
	}
	return passFile
}

// PgPool starts a pgpool on a config as the user postgres, and again whenever it ends, as
// systemd does. It waits until pgpool listens at 127.0.0.1:port and pcp at pcpPort. The
// folder of the config is one that PgPoolFolder filled, which pgpool may write to.
func PgPool(t testing.TB, conf string, port, pcpPort int) *Process {
	t.Helper()
	dir := filepath.Dir(conf)
	// It ends in good order, or its shared memory stays.
	cmd := exec.Command("sh", "-c", `trap 'kill -INT $pool; wait $pool; exit' TERM
		while :; do "$0" -n -f "$1" -F "$2/pcp.conf" -a "$2/pool_hba.conf" & pool=$!; wait $pool; done`, Need(t, "pgpool"), conf, dir)
	cmd.Env, cmd.Dir = postgresEnv(), dir
	AsPostgres(t, cmd)
	p := Start(t, cmd)
	for _, at := range []int{port, pcpPort} {
		Eventually(t, "pgpool listens", func() error {
			if strings.Contains(p.Output(), "FATAL") {
				t.Fatalf("pgpool does not start: %s", p.Output())
			}
			return Listening(fmt.Sprintf("127.0.0.1:%d", at))()
		})
	}
	return p
}
