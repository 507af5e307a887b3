package integration

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestDoctorUnit installs examples/doctor on a Debian of its own as its README does: the
// unit takes pgDoctor's port from pgDoctor's unit, reads root's file without being root,
// and stays while PostgreSQL is down.
func TestDoctorUnit(t *testing.T) {
	dir := servertest.PostgresDir(t)
	pg := servertest.NewPostgres(t, dir, "pg")
	pg.Start(t, false)
	pg.Exec(t, "postgres", "CREATE ROLE doctor LOGIN PASSWORD 'change-me'")
	program := filepath.Join(t.TempDir(), "pgbaton")
	if err := servertest.Build(program, "-trimpath", "-ldflags=-s -w"); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	m := servertest.StartMachine(t)
	servertest.File(t, m.Path("/usr/bin/pgbaton"), string(content), 0o755)
	// The machine has no network, and no PostgreSQL: its socket leads to ours.
	m.Run(t, "mkdir", "-p", "/run/postgresql")
	socket := m.Path("/run/postgresql/.s.PGSQL.5432")
	forward(t, socket, fmt.Sprintf("127.0.0.1:%d", pg.Port))
	m.Run(t, "chmod", "666", "/run/postgresql/.s.PGSQL.5432")
	example := func(name string) string {
		text, err := os.ReadFile(filepath.Join("../examples/doctor", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	cfg := strings.Replace(example("pgdoctor.cfg"), "pg_host = localhost", "pg_host = /run/postgresql", 1)
	cfg = strings.Replace(cfg, `"SELECT pg_is_in_recovery()" = "t"`, `"SELECT pg_is_in_recovery()" = "f"`, 1) // it is no replica
	servertest.File(t, m.Path("/etc/pgdoctor.cfg"), cfg, 0o600)
	servertest.File(t, m.Path("/etc/systemd/system/pgbaton-doctor.service"), example("pgbaton-doctor.service"), 0o644)
	servertest.File(t, m.Path("/etc/systemd/system/pgdoctor.service"), "[Service]\nExecStart=/usr/bin/python3 -m http.server 8071\n", 0o644)
	m.Run(t, "systemctl", "daemon-reload")
	m.Run(t, "systemctl", "start", "pgdoctor")

	if out := m.Run(t, "pgbaton", "doctor", "-parse-only"); out != "/etc/pgdoctor.cfg: ok, checks: 2\n" {
		t.Errorf("-parse-only says %q", out)
	}
	if out := m.Run(t, "pgbaton", "doctor", "-once"); out != "OK\n" {
		t.Errorf("-once says %q", out)
	}
	m.Run(t, "systemctl", "enable", "--now", "pgbaton-doctor")
	if state, _ := m.Command("systemctl", "is-active", "pgdoctor").Output(); strings.TrimSpace(string(state)) == "active" {
		t.Error("pgDoctor runs still")
	}
	says := func(what, want string) {
		t.Helper()
		ask := "import http.client\nc = http.client.HTTPConnection('127.0.0.1', 8071)\nc.request('GET', '/')\nr = c.getresponse()\nprint(r.status, r.read().decode())"
		servertest.Eventually(t, what, func() error {
			out, err := m.Command("python3", "-c", ask).CombinedOutput()
			if err == nil && !regexp.MustCompile(want).Match(out) {
				err = fmt.Errorf("it says %q", out)
			}
			return err
		})
	}
	says("it answers", `^200 OK\n`)
	status := m.Run(t, "systemctl", "show", "-P", "StatusText", "pgbaton-doctor")
	if status != "serves [::]:8071\n" {
		t.Errorf("its status is %q", status)
	}
	pid := strings.TrimSpace(m.Run(t, "systemctl", "show", "-P", "MainPID", "pgbaton-doctor"))
	process := m.Run(t, "cat", "/proc/"+pid+"/status")
	for _, want := range []string{`(?m)^CapEff:\t0+$`, `(?m)^CapBnd:\t0+$`, `(?m)^Uid:\t6[0-9]{4}\t`, `(?m)^NoNewPrivs:\t1$`} {
		if !regexp.MustCompile(want).MatchString(process) {
			t.Errorf("no %s in:\n%s", want, process)
		}
	}
	if log := m.Run(t, "journalctl", "-u", "pgbaton-doctor", "-o", "cat"); strings.Contains(log, "change-me") || strings.Contains(log, "[WARN]") {
		t.Errorf("the journal:\n%s", log)
	}
	pg.Kill()
	says("PostgreSQL is down", `^500 log in to /run/postgresql:5432: `)
	pg.Start(t, false)
	says("PostgreSQL is back", `^200 OK\n`)
}

// forward hands on what connects to a Unix socket to an address.
func forward(t *testing.T, socket, address string) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", address)
			if err != nil {
				_ = from.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
				all.Go(func() {
					_, _ = io.Copy(way[1], way[0])
					_, _ = from.Close(), to.Close()
				})
			}
		}
	})
}
