package storm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// action is something that befalls the stage. begin does it, and returns what
// mends it, or nil; another action may come in between.
type action struct {
	name  string
	uses  string // what has to be sound for it: of consul, pgbaton, pooler, leader, disk, program
	hurts string // what is not sound until it is mended
	begin func(*stage, *rand.Rand) (mend func())
}

var actions = []action{
	{"switchover", "consul leader", "", func(s *stage, r *rand.Rand) func() { s.switchover(r); return nil }},
	{"switchover there and back", "consul leader", "", func(s *stage, r *rand.Rand) func() {
		s.switchover(r)
		s.switchover(r)
		return nil
	}},
	{"leader crashes", "consul leader", "", func(s *stage, r *rand.Rand) func() {
		old := s.leader
		if s.members[old].Kill(); s.failover(r) {
			s.demote(old)
		} else {
			s.members[old].Start(s.t, false)
		}
		return nil
	}},
	{"leader hangs", "consul leader", "", func(s *stage, r *rand.Rand) func() {
		old := s.leader
		s.members[old].Freeze()
		if !s.failover(r) {
			return s.members[old].Thaw
		}
		return func() { s.demote(old) }
	}},
	{"leader hangs for good", "consul leader pgbaton pooler program disk", "", func(s *stage, r *rand.Rand) func() {
		old := s.leader
		s.members[old].Freeze()
		if !s.failover(r) {
			s.members[old].Thaw()
			return nil
		}
		s.settle()
		s.demote(old)
		return nil
	}},
	{"leader is deposed, and lives on", "consul leader", "", func(s *stage, r *rand.Rand) func() {
		old := s.leader
		if !s.failover(r) {
			return nil
		}
		return func() { s.demote(old) }
	}},
	{"leader hangs for a moment", "leader", "leader", func(s *stage, _ *rand.Rand) func() {
		at := s.members[s.leader]
		at.Freeze()
		return at.Thaw
	}},
	{"leader restarts in place", "leader", "leader", func(s *stage, r *rand.Rand) func() {
		at := s.members[s.leader]
		at.Kill()
		s.wait(r, 300)
		at.Start(s.t, false)
		return nil
	}},
	{"switchover is asked for, and called off", "consul leader", "leader", func(s *stage, r *rand.Rand) func() {
		s.put("failover", fmt.Sprintf(`{"leader":%q,"member":%q}`, name(s.leader), name((s.leader+1)%3)))
		if r.IntN(8) == 0 {
			s.wait(r, 7000) // past every deadline
		}
		return func() { s.remove("failover") }
	}},
	{"pgbaton is killed, back later", "pgbaton", "pgbaton", func(s *stage, _ *rand.Rand) func() {
		s.end(syscall.SIGKILL)
		return s.launch
	}},
	{"pgbaton is killed while it holds", "consul leader pgbaton pooler", "", func(s *stage, r *rand.Rand) func() {
		s.put("failover", fmt.Sprintf(`{"leader":%q,"member":%q}`, name(s.leader), name((s.leader+1)%3)))
		s.wait(r, 200)
		s.end(syscall.SIGKILL)
		if r.IntN(3) == 0 {
			s.wait(r, 12000) // past every deadline, as often as not
		}
		s.launch()
		s.remove("failover")
		return nil
	}},
	{"pgbaton is killed", "pgbaton", "", func(s *stage, r *rand.Rand) func() {
		s.end(syscall.SIGKILL)
		if r.IntN(4) == 0 {
			s.corrupt(r)
		}
		s.launch()
		return nil
	}},
	{"pgbaton is restarted", "pgbaton", "", func(s *stage, _ *rand.Rand) func() {
		s.end(syscall.SIGTERM)
		s.launch()
		return nil
	}},
	{"pgbaton is frozen", "pgbaton", "pgbaton", func(s *stage, _ *rand.Rand) func() {
		s.signal(syscall.SIGSTOP)
		return func() { s.signal(syscall.SIGCONT) }
	}},
	{"pgbaton reads its config again", "pgbaton", "", func(s *stage, r *rand.Rand) func() {
		// Before it has begun SIGHUP ends it, as any program that has not asked for it.
		servertest.Eventually(s.t, "pgbaton runs", func() error {
			if out := s.daemon.Output(); !strings.Contains(out, "running: ") {
				return fmt.Errorf("it says %q", out)
			}
			return nil
		})
		if r.IntN(2) == 0 {
			s.write("pgbaton.hcl", "cluster {")
			s.signal(syscall.SIGHUP)
			s.wait(r, 100)
			s.write("pgbaton.hcl", s.config())
		}
		s.signal(syscall.SIGHUP)
		return nil
	}},
	{"pgbouncer is killed", "pooler", "", func(s *stage, _ *rand.Rand) func() { s.signalPooler(syscall.SIGKILL); return nil }},
	{"pgbouncer is frozen", "pooler", "pooler", func(s *stage, _ *rand.Rand) func() {
		s.signalPooler(syscall.SIGSTOP)
		return func() { s.signalPooler(syscall.SIGCONT) }
	}},
	{"consul is frozen", "consul", "consul", func(s *stage, _ *rand.Rand) func() {
		s.consul.Freeze(s.t)
		return func() { s.consul.Thaw(s.t) }
	}},
	{"consul is back, empty for a moment", "consul", "", func(s *stage, r *rand.Rand) func() {
		s.consul.Restart(s.t)
		s.wait(r, 300)
		s.catchUp()
		s.keys(s.leader)
		return nil
	}},
	{"leader key is gone for a moment", "consul leader", "", func(s *stage, r *rand.Rand) func() {
		s.remove("leader")
		s.wait(r, 300)
		s.lead(s.leader)
		return nil
	}},
	{"program's template is edited", "", "", func(s *stage, _ *rand.Rand) func() { s.nextVersion(); return nil }},
	{"program's template is refused", "program", "program", func(s *stage, r *rand.Rand) func() {
		text := "version 0 INVALID\nport={{ (cluster \"main\").Leader.Port }}\n"
		if r.IntN(2) == 0 {
			text = "version 0\nport={{ (cluster \"main\").Leader.Port \n"
		}
		s.write("app.tmpl", text)
		return s.nextVersion
	}},
	{"program does not load", "program", "program", func(s *stage, _ *rand.Rand) func() {
		s.write("load-fails", "")
		s.nextVersion()
		return func() { _ = os.Remove(s.file("load-fails")) }
	}},
	{"program's check hangs", "program", "program", func(s *stage, _ *rand.Rand) func() {
		s.write("check-hangs", "")
		s.nextVersion()
		return func() { _ = os.Remove(s.file("check-hangs")) }
	}},
	{"hands in between", "disk", "", func(s *stage, r *rand.Rand) func() { s.tamper(r); return nil }},
	{"disk is read-only", "disk", "disk", func(s *stage, _ *rand.Rand) func() {
		s.disk.ReadOnly(s.t, true)
		return func() { s.disk.ReadOnly(s.t, false) }
	}},
	{"disk is full", "disk", "disk", func(s *stage, _ *rand.Rand) func() { return s.disk.Fill(s.t) }},
	{"program's target is frozen", "pgbaton program", "program", func(s *stage, r *rand.Rand) func() {
		s.word("freeze", true)
		if r.IntN(3) == 0 {
			s.nextVersion()
			s.wait(r, 5000) // longer than what was under way may take
		}
		return func() { s.word("thaw", false) }
	}},
	{"operator pauses another database", "pooler", "pooler", func(s *stage, r *rand.Rand) func() {
		if !s.pauses("PAUSE ops", true) {
			return nil
		}
		return func() { s.pauses("RESUME ops", false) }
	}},
}

// signal sends pgbaton a signal. One that has ended by itself is in the history: whoever
// watches it notes it.
func (s *stage) signal(sig syscall.Signal) { _ = s.daemon.Cmd.Process.Signal(sig) }

// catchUp lets a Consul that has lost everything be as far as it was: of a term with a
// lower index the server's timeline has to be the higher one, and those of members
// that do not replicate say nothing.
func (s *stage) catchUp() {
	servertest.Eventually(s.t, "consul is as far as it was", func() error {
		s.put("round", fmt.Sprint(s.now()))
		pair, _, err := s.consul.Client.KV().Get("service/storm/round", nil)
		if err == nil && (pair == nil || pair.ModifyIndex <= s.index) {
			err = fmt.Errorf("its index is below %d", s.index)
		}
		return err
	})
	s.remove("round")
}

// wait waits up to so many milliseconds.
func (s *stage) wait(r *rand.Rand, ms int) {
	pause(s.t.Context(), time.Duration(r.IntN(ms))*time.Millisecond)
}

// next picks who leads next: any member in recovery; false if there is none.
func (s *stage) next(r *rand.Rand) (member int, found bool) {
	for _, i := range r.Perm(len(s.members)) {
		if i != s.leader && !s.away[i] {
			return i, true
		}
	}
	return 0, false
}

// switchover moves the leader as Patroni does when it is asked to: the key says so
// a moment before, the old one ends, the new one takes the key and then writes.
func (s *stage) switchover(r *rand.Rand) {
	old := s.leader
	next, found := s.next(r)
	if !found {
		return
	}
	s.put("failover", fmt.Sprintf(`{"leader":%q,"member":%q}`, name(old), name(next)))
	s.wait(r, 200)
	s.demote(old)
	s.remove("leader")
	s.rise(r, next)
	s.remove("failover")
}

// failover makes another member the leader, whatever became of the one of before,
// which is not one to lead until it is demoted. It says whether there was another.
func (s *stage) failover(r *rand.Rand) bool {
	next, found := s.next(r)
	if !found {
		return false
	}
	s.away[s.leader] = true
	s.wait(r, 300)
	s.remove("leader")
	s.wait(r, 300)
	s.rise(r, next)
	return true
}

// rise gives the key to a member that is in recovery, and lets it take writes: soon
// after, as Patroni does, or late.
func (s *stage) rise(r *rand.Rand, next int) {
	s.lead(next)
	if r.IntN(4) == 0 {
		s.wait(r, 600)
	}
	e := Event{Kind: Promoted, Member: name(next), Begun: s.now()}
	s.members[next].Promote(s.t)
	s.note(e)
	s.describe()
}

// demote starts a member anew, in recovery.
func (s *stage) demote(member int) {
	e := Event{Kind: Stopped, Member: name(member), Begun: s.now()}
	s.members[member].Stop()
	s.members[member].Start(s.t, true)
	s.away[member] = false
	s.note(e)
}

// nextVersion edits the program's template.
func (s *stage) nextVersion() {
	s.version++
	s.edit(s.version)
}

// corrupt spoils a file that pgbaton keeps.
func (s *stage) corrupt(r *rand.Rand) {
	files, err := filepath.Glob(s.file("state/*.json"))
	if err != nil || len(files) == 0 {
		return
	}
	path := files[r.IntN(len(files))]
	if strings.HasPrefix(filepath.Base(path), "held.") {
		return // what was held would be known to nobody
	}
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return
	}
	b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	if err := os.WriteFile(path, b[:1+r.IntN(len(b))], 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// tamper does to a destination what somebody with a shell might.
func (s *stage) tamper(r *rand.Rand) {
	path := s.file("etc/" + []string{"one.conf", "two.conf", "pgbouncer.ini"}[r.IntN(3)])
	content, mode, err := found(path)
	if err != nil {
		return
	}
	own := func(content, mode string) {
		s.mu.Lock()
		s.hands[mode+content] = true
		s.mu.Unlock()
	}
	switch r.IntN(3) {
	case 0:
		content += "; by hand\n"
		own(content, mode)
		next := path + ".hand"
		if os.WriteFile(next, []byte(content), 0o600) == nil {
			copyOwner(path, next)
			s.note(Event{Kind: Found, File: filepath.Base(path), Content: content, By: "hand"})
			_ = os.Rename(next, path)
		}
	case 1:
		own(content, "0644")
		_ = os.Chmod(path, 0o644)
	default:
		_ = os.Remove(path)
	}
}

// copyOwner gives a file the owner and mode of another.
func copyOwner(from, to string) {
	info, err := os.Stat(from)
	if err != nil {
		return
	}
	st := info.Sys().(*syscall.Stat_t)
	_ = os.Chown(to, int(st.Uid), int(st.Gid))
	_ = os.Chmod(to, info.Mode().Perm())
}

// word gives an operator's word about the program's target.
func (s *stage) word(verb string, is bool) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	cmd := s.as(s.binary, verb, "-config", s.file("pgbaton.hcl"), "-target", app)
	quick := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	quick.Dir, quick.Env, quick.SysProcAttr = cmd.Dir, cmd.Env, cmd.SysProcAttr
	begun := s.now()
	if !is {
		s.note(Event{Kind: Frozen, Target: app, Begun: begun}) // it may be thawed from now on
	}
	if out, err := quick.CombinedOutput(); err != nil {
		s.t.Errorf("pgbaton %s: %v\n%s", verb, err, out)
	}
	if is {
		s.note(Event{Kind: Frozen, Target: app, Is: true, Begun: begun})
	}
}

// pauses gives an operator's word to the pooler's console, and says whether it was
// taken.
func (s *stage) pauses(statement string, is bool) bool {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	conn, err := s.console(ctx)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close(ctx) }()
	if !is {
		s.note(Event{Kind: Operator, Name: "ops"})
	}
	_, err = conn.Exec(ctx, statement)
	if err == nil && is {
		s.note(Event{Kind: Operator, Name: "ops", Is: true})
	}
	return err == nil
}
