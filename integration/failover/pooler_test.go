//go:build bench

package failover

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// ini is a pgbouncer.ini. Each host and port is text: an address, or what a
// template puts there.
type ini struct {
	dir                  string
	port                 int
	host, leader         string
	otherHost, otherPort string
	settings             string
}

func (s *stage) ini(i ini) string {
	return fmt.Sprintf(`[databases]
%[1]s = host=%[2]s port=%[3]s
%[4]s = host=%[2]s port=%[3]s
%[5]s = host=%[6]s port=%[7]s

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %[8]d
unix_socket_dir = %[9]s
pidfile = %[9]s/pgbouncer.pid
auth_type = trust
auth_file = %[9]s/users
pool_mode = %[10]s
default_pool_size = %[11]d
max_client_conn = 1000
%[12]s`, database, i.host, i.leader, secondDatabase, otherDatabase, i.otherHost, i.otherPort,
		i.port, i.dir, s.plan.pool, s.plan.poolSize(), i.settings)
}

// pgbouncer starts one on a file that leads to the present leader; whoever
// renders the file is started next. It returns the file's path.
func (s *stage) pgbouncer(t *testing.T, i ini) string {
	t.Helper()
	path := filepath.Join(i.dir, "pgbouncer.ini")
	servertest.File(t, filepath.Join(i.dir, "users"), "\"postgres\" \"\"\n", 0o644)
	leader, other := s.cluster.Leader(t), s.endpoint()
	i.leader, i.otherHost, i.otherPort = fmt.Sprint(leader.Port), other.Host, fmt.Sprint(other.Port)
	give(t, servertest.File(t, path, s.ini(i), 0o644))
	s.lives(t, servertest.PgBouncer(t, path, i.port))
	return path
}

// consulTemplatePgBouncer is set up as its users do: the leader key, then the
// leader's member key, and SIGHUP.
func (s *stage) consulTemplatePgBouncer(t *testing.T, at, settings string) doors {
	t.Helper()
	i := ini{dir: servertest.PostgresDir(t), port: servertest.FreePort(t), host: at, settings: settings}
	path := s.pgbouncer(t, i)

	i.leader, i.otherHost, i.otherPort = `{{ index $main 1 }}`, `{{ index $other 0 }}`, `{{ index $other 1 }}`
	text := leaderOf("main", s.cluster.Scope) + leaderOf("other", s.other.Scope) + s.ini(i) + strings.Repeat("{{ end }}", 4)
	config := s.store.Block() + fmt.Sprintf("template {\n  contents = %q\n  destination = %q\n  command = [\"sh\", \"-c\", %q]\n}\n",
		text, path, fmt.Sprintf("kill -HUP $(cat %s/pgbouncer.pid)", i.dir))
	cmd := exec.Command(s.consulTemplate, "-config", servertest.File(t, filepath.Join(i.dir, "ct.hcl"), config, 0o644))
	servertest.AsPostgres(t, cmd)
	s.lives(t, servertest.Start(t, cmd))
	return behind(i.port, i.port)
}

// leaderOf opens two blocks in consul-template's language, in which $name is the
// host and port of a cluster's leader.
func leaderOf(name, scope string) string {
	return fmt.Sprintf(`{{ with key "service/%[1]s/leader" }}{{ with key (printf "service/%[1]s/members/%%s" .) | parseJSON }}`+
		`{{ $%[2]s := (.conn_url | sprig_urlParse).host | split ":" }}`, scope, name)
}

// pgbatonPgBouncer writes the settings that pgbaton's own template writes, in a
// template of two clusters.
func (s *stage) pgbatonPgBouncer(t *testing.T) doors {
	t.Helper()
	i := ini{
		dir: servertest.PostgresDir(t), port: servertest.FreePort(t), host: s.cluster.Members[0].Host,
		settings: "server_login_retry = 1\nserver_connect_timeout = 5\nserver_fast_close = 1\n",
	}
	path := s.pgbouncer(t, i)

	i.host, i.leader = `{{ $main.Leader.Host }}`, `{{ $main.Leader.Port }}`
	i.otherHost, i.otherPort = `{{ $other.Leader.Host }}`, `{{ $other.Leader.Port }}`
	text := `{{ $main := cluster "main" }}{{ $other := cluster "other" }}` + s.ini(i)
	config := func(hold string) string {
		return s.patroniClusters() + fmt.Sprintf(`
target "pgbouncer" "edge" {
  template {
    contents    = %q
    destination = %q
  }
  socket = %q
  port   = %d
%s}
`, text, path, i.dir, i.port, hold)
	}
	s.startPgbaton(t, i.dir, config("  hold   = true\n"), config(""))
	return behind(i.port, i.port)
}

// patroniClusters is the part of pgbaton's config that its contestants share.
func (s *stage) patroniClusters() string {
	text := s.store.Block()
	for name, c := range map[string]*servertest.PatroniCluster{"main": s.cluster, "other": s.other} {
		text += fmt.Sprintf("cluster \"patroni\" %q {\n  scope = %q\n}\n", name, c.Scope)
	}
	return text
}

// startPgbaton runs pgbaton as the user postgres, as an operator does beside a
// pooler. CAP_NET_ADMIN lets it destroy sockets that hang. If it does not know
// the setting hold, it runs without.
func (s *stage) startPgbaton(t *testing.T, dir, holding, without string) {
	t.Helper()
	state := fmt.Sprintf("state_dir = %q\n", filepath.Join(dir, "state"))
	path := servertest.File(t, filepath.Join(dir, "pgbaton.hcl"), state+holding, 0o644)
	if err := exec.Command(s.pgbaton, "check", "-config", path).Run(); err != nil {
		servertest.File(t, path, state+without, 0o644)
		if out, err := exec.Command(s.pgbaton, "check", "-config", path).CombinedOutput(); err != nil {
			t.Fatalf("pgbaton check: %v\n%s", err, out)
		}
	} else if holding != without {
		s.holds = true
	}
	cmd := exec.Command(s.pgbaton, "run", "-config", path)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	servertest.AsPostgres(t, cmd)
	const capNetAdmin = 12
	cmd.SysProcAttr.AmbientCaps = []uintptr{capNetAdmin}
	s.lives(t, servertest.Start(t, cmd))
}

// lives fails the test if a process of a contestant has ended by the end of it:
// what was measured then was something else.
func (s *stage) lives(t *testing.T, p *servertest.Process) {
	t.Cleanup(func() {
		if p.Exited() {
			t.Errorf("%s ended:\n%s", p.Cmd.Args[0], p.Output())
		}
	})
}

// give makes a file the user postgres's, to whom its folder belongs.
func give(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal(errors.New("a folder without an owner"))
	}
	if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
}
