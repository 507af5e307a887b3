package storm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// holdTimeout is short: a hold that does not end is found soon.
const holdTimeout = 2 * time.Second

// stage is what a storm rages on: a pgbouncer whose clients write to the leader of
// three members, a program with two files of its own, and the pgbaton of both.
type stage struct {
	t      *testing.T
	dir    string
	began  time.Time
	binary string

	consul  *servertest.ConsulServer
	members []*servertest.Postgres
	system  string       // the members' system identifier
	index   uint64       // of the last leader key
	leader  int          // index of who has the leader key
	away    map[int]bool // members that can't lead next
	disk    faulttest.Disk
	port    int // of the pooler
	pooler  *servertest.Process
	daemon  *servertest.Process
	version int    // of the program's template
	source  string // what that template is now

	mu       sync.Mutex
	history  History
	hands    map[string]bool // contents and modes that the test wrote itself
	excused  map[*servertest.Process]bool
	progress [3]progress // of the clients
	scenes   []*servertest.Process
}

// progress is how far a client has come.
type progress struct {
	row    int
	member string
	begun  time.Duration
}

func (s *stage) file(name string) string { return filepath.Join(s.dir, name) }

// now is the time since the start of the run.
func (s *stage) now() time.Duration { return time.Since(s.began) }

// note adds an event. Its At is now unless it says otherwise.
func (s *stage) note(e Event) {
	if e.At == 0 {
		e.At = s.now()
	}
	if e.Begun == 0 {
		e.Begun = e.At
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history.Events = append(s.history.Events, e)
}

// did tells what the schedule does.
func (s *stage) did(what string, args ...any) {
	s.note(Event{Kind: Did, Note: fmt.Sprintf(what, args...)})
}

func name(member int) string { return fmt.Sprint("pg", member+1) }

// newStage starts everything, with the first member as leader, and waits until all
// is in sync.
func newStage(t *testing.T, binary string, seed uint64) *stage {
	t.Helper()
	s := &stage{
		t: t, dir: servertest.PostgresDir(t), began: time.Now(), binary: binary, port: servertest.FreePort(t),
		hands: map[string]bool{}, excused: map[*servertest.Process]bool{}, away: map[int]bool{},
	}
	s.consul = servertest.Consul(t)
	first := servertest.NewPostgres(t, s.dir, "data1")
	first.Start(t, false)
	first.Exec(t, "postgres", "CREATE DATABASE app", "CREATE DATABASE ops")
	first.Exec(t, "app", "CREATE TABLE rows (writer int, id int)")
	s.system = first.Ask(t, "SELECT system_identifier::text FROM pg_control_system()")
	first.Stop()
	s.members = []*servertest.Postgres{first, first.Copy(t, "data2"), first.Copy(t, "data3")}
	for _, m := range s.members {
		m.Start(t, true)
	}
	for _, dir := range []string{"etc", "log"} {
		s.mkdir(dir)
	}
	s.disk = faulttest.NewDisk(t, s.file("etc"), "size=256k,nr_inodes=64")
	leads := func(pattern string) func(string) string {
		return func(content string) string {
			for i, m := range s.members {
				if strings.Contains(content, fmt.Sprintf(pattern, m.Port)) {
					return name(i)
				}
			}
			return ""
		}
	}
	s.history = History{Seed: seed, Hold: holdTimeout, Files: map[string]File{
		"pgbouncer.ini": {Target: pooler, Mode: "0640", Leader: leads("port=%d")},
		"one.conf":      {Target: app, Mode: "0640", Leader: leads("port=%d\n")},
		"two.conf":      {Target: app, Mode: "0600", Leader: leads("port=%d\n")},
	}}
	s.history.Ports = map[string]string{}
	for i, m := range s.members {
		s.history.Ports[name(i)] = fmt.Sprint(m.Port)
	}
	s.program()
	s.write("etc/users", "\"postgres\" \"\"\n")
	s.edit(0)
	s.members[0].Promote(t)
	s.note(Event{Kind: Promoted, Member: name(0)})
	s.keys(0)
	s.write("pgbaton.hcl", s.config())
	s.launch()
	servertest.Eventually(t, "pgbaton writes pgbouncer's file", func() error {
		_, err := os.Stat(s.file("etc/pgbouncer.ini"))
		return err
	})
	s.pooler = servertest.PgBouncer(t, s.file("etc/pgbouncer.ini"), s.port)
	return s
}

// keepPooler starts the pooler again whenever it has ended, as its unit does.
func (s *stage) keepPooler(ctx context.Context) {
	each(ctx, 100*time.Millisecond, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.pooler.Exited() {
			s.pooler = servertest.Start(s.t, s.as(servertest.Need(s.t, "pgbouncer"), s.file("etc/pgbouncer.ini")))
		}
	})
}

func (s *stage) signalPooler(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.pooler.Cmd.Process.Signal(sig)
}

// app is the target of the program with two files.
const app = "exec.app"

// config names the program's template in a file, and the pooler's that is built in.
func (s *stage) config() string {
	return fmt.Sprintf(`state_dir = "%[1]s/state"
consul {
  address = %[2]q
}
cluster "patroni" "main" {
  scope        = "storm"
  confirm      = ["sql"]
  hold_timeout = %[3]q
}
target "pgbouncer" "edge" {
  template {
    source      = "builtin:pgbouncer.ini"
    destination = "%[1]s/etc/pgbouncer.ini"
    perms       = "0640"
  }
  vars = {
    databases       = ["app", "ops"]
    ro_suffix       = ""
    listen_addr     = "127.0.0.1"
    listen_port     = %[4]d
    unix_socket_dir = %[1]q
    pidfile         = "%[1]s/pgbouncer.pid"
    auth_type       = "trust"
    auth_file       = "%[1]s/etc/users"
    stats_users     = ["postgres"]
    admin_users     = ["postgres"]
  }
  socket = %[1]q
  port   = %[4]d
  hold   = true
}
target "exec" "app" {
  template {
    source      = "%[1]s/app.tmpl"
    destination = "%[1]s/etc/one.conf"
    perms       = "0640"
  }
  template {
    contents    = "agrees: port={{ (cluster \"main\").Leader.Port }}\n"
    destination = "%[1]s/etc/two.conf"
    perms       = "0600"
  }
  check         = ["%[1]s/check", "{file:one.conf}", "{file:two.conf}"]
  check_timeout = "3s"
  command       = ["%[1]s/load"]
}
`, s.dir, s.consul.Addr, holdTimeout.String(), s.port)
}

// program writes the check and the reload of the program with two files. Both write
// down what they saw; both can be told to fail or to hang.
func (s *stage) program() {
	s.script("check", `#!/bin/sh
[ -e DIR/check-hangs ] && sleep 2
text=$(cat "$1" "$2"; echo .)
one=$(sed -n 's/^port=//p' "$1")
grep -q INVALID "$1" && { echo "it says INVALID"; exit 1; }
grep -qx "agrees: port=$one" "$2" || { echo "they do not agree"; exit 1; }
printf '%s %s\n' "$(date +%s%N)" "$(printf %s "$text" | base64 -w0)" >> DIR/log/checked
`)
	s.script("load", `#!/bin/sh
[ -e DIR/load-fails ] && { echo "it does not load"; exit 1; }
text=$(cat DIR/etc/one.conf DIR/etc/two.conf; echo .)
printf %s "$text" > DIR/served.$$ && mv DIR/served.$$ DIR/served
printf '%s %s\n' "$(date +%s%N)" "$(printf %s "$text" | base64 -w0)" >> DIR/log/loaded
`)
}

// as is a command of the user postgres.
func (s *stage) as(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	servertest.AsPostgres(s.t, cmd)
	return cmd
}

func (s *stage) mkdir(name string) {
	s.t.Helper()
	if out, err := s.as("mkdir", s.file(name)).CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
}

// write puts a file in place at once.
func (s *stage) write(name, content string) {
	s.t.Helper()
	servertest.File(s.t, s.file(name)+".new", content, 0o644)
	if err := os.Rename(s.file(name)+".new", s.file(name)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) script(name, text string) {
	s.t.Helper()
	s.write(name, strings.ReplaceAll(text, "DIR", s.dir))
	if err := os.Chmod(s.file(name), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// edit makes the program's template one that yields text, or is refused.
func (s *stage) edit(version int) {
	s.t.Helper()
	s.source = fmt.Sprintf("version %d\nport=PORT\n", version)
	e := Event{Kind: Source, File: "one.conf", Wants: s.source, Begun: s.now()}
	s.write("app.tmpl", strings.Replace(s.source, "PORT", `{{ (cluster "main").Leader.Port }}`, 1))
	s.note(e)
}

// launch starts pgbaton.
func (s *stage) launch() {
	s.t.Helper()
	cmd := s.as(s.binary, "run", "-config", s.file("pgbaton.hcl"))
	s.daemon = servertest.Start(s.t, cmd)
	s.mu.Lock()
	s.scenes = append(s.scenes, s.daemon)
	s.mu.Unlock()
}

// end ends pgbaton by a signal.
func (s *stage) end(sig syscall.Signal) {
	s.mu.Lock()
	s.excused[s.daemon] = true
	s.mu.Unlock()
	_ = s.daemon.Cmd.Process.Signal(sig)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.daemon.Wait(ctx); errors.Is(err, context.DeadlineExceeded) {
		s.note(Event{Kind: Settled, Note: "pgbaton does not end within 20 s"})
		s.daemon.Kill()
	}
}

// put writes a key of the cluster.
func (s *stage) put(key, value string) {
	s.t.Helper()
	servertest.Eventually(s.t, "consul takes a key", func() error {
		_, err := s.consul.Client.KV().Put(&api.KVPair{Key: "service/storm/" + key, Value: []byte(value)}, nil)
		return err
	})
}

func (s *stage) remove(key string) {
	s.t.Helper()
	servertest.Eventually(s.t, "consul removes a key", func() error {
		_, err := s.consul.Client.KV().Delete("service/storm/"+key, nil)
		return err
	})
}

// describe writes the keys of the members.
func (s *stage) describe() {
	for i, m := range s.members {
		role := "replica"
		if i == s.leader {
			role = "master"
		}
		s.put("members/"+name(i), fmt.Sprintf(`{"conn_url":"postgres://127.0.0.1:%d/postgres","state":"running","role":%q,"timeline":%d}`, m.Port, role, 1))
	}
}

// keys writes all keys of the cluster, with a leader.
func (s *stage) keys(leader int) {
	s.leader = leader
	s.put("initialize", s.system)
	s.put("config", `{"ttl":20,"loop_wait":1,"retry_timeout":3}`)
	s.describe()
	s.lead(leader)
}

// lead gives a member the leader key.
func (s *stage) lead(member int) {
	s.leader = member
	e := Event{Kind: Led, Member: name(member), Begun: s.now()}
	s.put("leader", name(member))
	s.note(e)
	servertest.Eventually(s.t, "consul has the leader key", func() error {
		pair, _, err := s.consul.Client.KV().Get("service/storm/leader", nil)
		if err == nil && pair == nil {
			err = errors.New("it is not there")
		}
		if err == nil {
			s.index = max(s.index, pair.ModifyIndex)
		}
		return err
	})
}
