package templates_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/haproxy"
	"github.com/pgbaton/pgbaton/reload/pgbouncer"
	"github.com/pgbaton/pgbaton/reload/pgpool"
)

// Every golden file is one that the daemon itself accepts.
func TestDaemonsAccept(t *testing.T) {
	servertest.Need(t, "pgbouncer")
	servertest.Need(t, "haproxy")
	servertest.Need(t, "keepalived")
	servertest.Need(t, "pgpool")
	servertest.Need(t, "unshare")
	servertest.Need(t, "ip")
	dir := folder(t)
	certificate(t, dir)
	servertest.File(t, filepath.Join(dir, "track"), "0\n", 0o644)
	servertest.File(t, filepath.Join(dir, "userlist.txt"), "", 0o644)
	servertest.File(t, filepath.Join(dir, "pg_hba.conf"), "local all all peer\n", 0o644)

	bouncer, err := (&pgbouncer.Config{}).Daemon(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := (&haproxy.Config{MasterSocket: filepath.Join(dir, "master.sock")}).Daemon(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	pool, err := (&pgpool.Config{}).Daemon(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	hikari := servertest.NewHikari(t)
	for _, f := range fixtures(t) {
		t.Run(f.name, func(t *testing.T) {
			golden, err := os.ReadFile(f.golden())
			if err != nil {
				t.Fatal(err)
			}
			// Files that a config names must be there for the daemon to accept it.
			content := strings.ReplaceAll(string(golden), "/etc/pgbaton/", dir+"/")
			path := servertest.File(t, filepath.Join(dir, f.template), content, 0o644)
			set := []reload.File{{Path: path, Staged: path, Content: []byte(content), Mode: 0o644, UID: os.Getuid(), GID: os.Getgid()}}
			switch f.template {
			case "pgbouncer.ini":
				err = bouncer.Check(t.Context(), set)
			case "haproxy.cfg", "haproxy-pgbouncer.cfg":
				err = proxy.Check(t.Context(), set)
				quiet(t, exec.CommandContext(t.Context(), "haproxy", "-c", "-f", path))
			case "pgpool.conf":
				err = pool.Check(t.Context(), set)
			case "keepalived.conf":
				// keepalived looks whether the interface exists.
				quiet(t, exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-ec",
					`ip link add eth0 type veth peer name eth1; ip link set eth0 up; exec keepalived --config-test --use-file "$0"`, path))
			case "barman.conf":
				barmanReads(t, dir, path, content)
			case "pg_service.conf":
				servicesLead(t, path, content)
			case "uri":
				urisLead(t, content)
			case "pgpass":
				passwordsAre(t, path, f.vars)
			case "jdbc.properties":
				poolReads(t, hikari, path, f.vars)
			case "wal-g.env":
				walgReads(t, f, path, content)
			case "ucarp.env":
				if have := shellReads(t, path, content); have["UCARP_ADDR"] != f.vars["addr"] {
					t.Errorf("the shell has %v", have)
				}
			default:
				t.Fatalf("which daemon reads %s?", f.template)
			}
			if err != nil {
				t.Errorf("%v (hint: %s)\n%s", err, hint.Of(err), content)
			}
		})
	}
}

// quiet runs a check that must find nothing to say, not even a warning.
func quiet(t *testing.T, check *exec.Cmd) {
	t.Helper()
	out, err := check.CombinedOutput()
	if err != nil || strings.Contains(string(out), "[WARNING]") || (check.Args[0] == "unshare" && len(out) > 0) {
		t.Errorf("%v: %s", err, out)
	}
}

// folder is one that daemons of other users may read.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// certificate writes one that is its own authority, in all the forms that the
// fixtures name.
func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	crt := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	pk := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	for name, content := range map[string]string{"ca.pem": crt, "server.crt": crt, "server.key": pk, "client.pem": crt + pk} {
		servertest.File(t, filepath.Join(dir, name), content, 0o644)
	}
}
