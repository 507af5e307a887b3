package haproxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/haproxy"
)

// serve is a server that says its address to each client and keeps it. It can
// die as PostgreSQL does: nobody listens any more, and its clients are gone.
type serve struct {
	addr string
	l    net.Listener
	all  sync.WaitGroup
}

func newServe(t *testing.T, addr string) *serve {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &serve{addr: l.Addr().String(), l: l}
	t.Cleanup(s.die)
	s.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.all.Go(func() {
				_, _ = fmt.Fprintln(c, s.addr)
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			})
		}
	})
	return s
}

func (s *serve) die() { _ = s.l.Close() }

func (s *serve) address() reload.Address {
	host, port, _ := net.SplitHostPort(s.addr)
	n, _ := strconv.Atoi(port)
	return reload.Address{Host: host, Port: n}
}

// client is a connection through HAProxy, and whom it was led to.
type client struct {
	net.Conn
	to string
}

func dial(t *testing.T, port int) (*client, error) {
	t.Helper()
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 5*time.Second)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	return &client{c, strings.TrimSpace(line)}, err
}

// leads dials and checks whom it is led to.
func leads(t *testing.T, port int, to *serve) *client {
	t.Helper()
	c, err := dial(t, port)
	if err != nil || c.to != to.addr {
		t.Fatalf("led to %+v, error %v, want %s", c, err, to.addr)
	}
	return c
}

// cut says whether HAProxy has ended the connection, within a time.
func (c *client) cut(within time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(within))
	_, err := c.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// leader is a config with one slot for the leader and a backend of replicas.
func leader(port int, to, options string, more ...string) string {
	return fmt.Sprintf(`defaults
  mode tcp
  timeout connect 1s
  option redispatch 1
  timeout client 60s
  timeout server 60s
frontend rw
  bind 127.0.0.1:%d
  default_backend primary
backend primary
  default-server inter 500ms downinter 60s fall 2 rise 2
  server leader %s %s
backend replicas
%s
`, port, to, options, strings.Join(more, "\n"))
}

// processes tells the worker and how many reloads there were. Those of before end
// when they do.
func (b *balancer) processes(t *testing.T) string {
	t.Helper()
	var said []string
	now, _, _ := strings.Cut(b.ask(t, "show proc"), "# old workers")
	for line := range strings.Lines(now) {
		if f := strings.Fields(line); len(f) > 2 && (f[1] == "master" || f[1] == "worker") {
			said = append(said, strings.Join(f[:3], " "))
		}
	}
	return strings.Join(said, ", ")
}

func (b *balancer) ask(t *testing.T, command string) string {
	t.Helper()
	var c net.Conn
	servertest.Eventually(t, "haproxy's master listens", func() (err error) {
		c, err = net.Dial("unix", b.socket)
		return err
	})
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = fmt.Fprintln(c, command)
	var answer strings.Builder
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if line == "\n" || err != nil {
			return answer.String()
		}
		answer.WriteString(line)
	}
}

// follows commits a config and follows it.
func (b *balancer) follows(t *testing.T, content string, last reload.Mark) reload.Mark {
	t.Helper()
	return b.followsBy(t, daemon(t, haproxy.Config{MasterSocket: b.socket}), content, last)
}

// followsBy does so by a daemon that may hold.
func (b *balancer) followsBy(t *testing.T, d reload.Daemon, content string, last reload.Mark) reload.Mark {
	t.Helper()
	want := b.commit(t, content)
	if err := d.Check(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	mark, err := d.Follow(t.Context(), want, last)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, hint.Of(err))
	}
	t.Logf("%v: %s", time.Since(begun).Round(100*time.Microsecond), mark.How)
	if mark.Proof != reload.Followed {
		t.Errorf("mark %+v", mark)
	}
	return mark
}

func (b *balancer) cuts(t *testing.T, left ...reload.Address) string {
	t.Helper()
	c, ok := reload.As[reload.Cutter](daemon(t, haproxy.Config{MasterSocket: b.socket}))
	if !ok {
		t.Fatal("haproxy is no Cutter")
	}
	begun := time.Now()
	how, err := c.Cut(t.Context(), left)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v: %s", time.Since(begun).Round(100*time.Microsecond), how)
	return how
}

func TestFollowMovesTheLeaderWithoutAReload(t *testing.T) {
	one, two, six := newServe(t, "127.0.0.1:0"), newServe(t, "127.0.0.1:0"), newServe(t, "[::1]:0")
	b := newBalancer(t)
	b.commit(t, leader(b.port, one.addr, "check"))
	b.start(t)
	// Nothing is known yet: it takes a reload to be sure.
	mark := b.follows(t, leader(b.port, one.addr, "check"), reload.Mark{})
	if !strings.HasPrefix(mark.How, "reload 1 ") {
		t.Errorf("mark %+v", mark)
	}
	before := b.processes(t)
	old := leads(t, b.port, one)
	byName := strings.Replace(two.addr, "127.0.0.1", "localhost", 1)
	for _, step := range []struct {
		to   *serve
		addr string
	}{{two, two.addr}, {six, six.addr}, {two, byName}, {one, one.addr}, {two, two.addr}} {
		mark = b.follows(t, "# a remark is nothing\n"+leader(b.port, step.addr, "check"), mark)
		if !strings.HasPrefix(mark.How, "moved primary/leader to "+step.to.addr) {
			t.Errorf("mark %+v", mark)
		}
		leads(t, b.port, step.to)
		if after := b.processes(t); after != before {
			t.Errorf("there was a reload: %s, then %s", before, after)
		}
	}
	if mark = b.follows(t, leader(b.port, two.addr, "check"), mark); !strings.HasPrefix(mark.How, "nothing to change") {
		t.Errorf("mark %+v", mark)
	}

	// The sessions of before hang until they are cut; those of now live.
	now := leads(t, b.port, two)
	if how := b.cuts(t, one.address()); !strings.Contains(how, "ended 1 sessions of worker ") && !strings.Contains(how, "ended 2 sessions of worker ") {
		t.Errorf("cut: %q", how)
	}
	if !old.cut(time.Second) || now.cut(100*time.Millisecond) {
		t.Error("the wrong session was cut")
	}
	if how := b.cuts(t, one.address()); how != "" {
		t.Errorf("cut: %q", how)
	}

	// A master that was restarted runs the file: that can't be known, so it is
	// reloaded. The slot is right before that, for whoever started it may have
	// moved it.
	b.process.Stop()
	b.start(t)
	b.ask(t, fmt.Sprintf("@1 set server primary/leader addr 127.0.0.1 port %d", one.address().Port))
	mark = b.follows(t, leader(b.port, two.addr, "check"), mark)
	if !strings.HasPrefix(mark.How, "moved primary/leader to "+two.addr+", then reload 1 ") {
		t.Errorf("mark %+v", mark)
	}
	leads(t, b.port, two)

	// A reload by somebody else makes a worker of which nothing is known.
	b.process.Signal(t, syscall.SIGUSR2)
	servertest.Eventually(t, "there is another worker", func() error {
		if p := b.processes(t); !strings.Contains(p, "master 2") || !strings.Contains(p, "worker 0") {
			return errors.New(p)
		}
		return nil
	})
	if mark = b.follows(t, leader(b.port, one.addr, "check"), mark); !strings.Contains(mark.How, ", then reload 3 ") {
		t.Errorf("mark %+v", mark)
	}
}

func TestFollowBringsADeadSlotBack(t *testing.T) {
	one, two := newServe(t, "127.0.0.1:0"), newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	check := func(s *serve) string { return fmt.Sprintf("check port %d", s.address().Port) }
	b.commit(t, leader(b.port, one.addr, check(one)))
	b.start(t)
	mark := b.follows(t, leader(b.port, one.addr, check(one)), reload.Mark{})
	before := b.processes(t)
	one.die()
	servertest.Eventually(t, "the slot is down", func() error {
		if state := b.ask(t, "@1 show stat"); !strings.Contains(state, "DOWN") {
			return errors.New("it is up")
		}
		return nil
	})
	// It would be looked at again in a minute.
	begun := time.Now()
	mark = b.follows(t, leader(b.port, two.addr, check(two)), mark)
	leads(t, b.port, two)
	t.Logf("from Follow to the first answer: %v", time.Since(begun))
	if after := b.processes(t); after != before || !strings.HasPrefix(mark.How, "moved") {
		t.Errorf("there was a reload: %+v", mark)
	}
	// What is checked is the new one, from now on: two times the interval, twice.
	select {
	case <-time.After(2 * time.Second):
	case <-t.Context().Done():
	}
	leads(t, b.port, two)
}

func TestFollowDisablesAndEnables(t *testing.T) {
	one, two := newServe(t, "127.0.0.1:0"), newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	of := func(l *serve, one1, two2 string) string {
		return leader(b.port, l.addr, "check", "  server pg1 "+one.addr+" check "+one1, "  server pg2 "+two.addr+" check "+two2, "  server pg3 "+two.addr)
	}
	b.commit(t, of(one, "disabled", ""))
	b.start(t)
	mark := b.follows(t, of(one, "disabled", ""), reload.Mark{})
	before := b.processes(t)
	status := func(server string) string {
		for line := range strings.Lines(b.ask(t, "@1 show stat")) {
			if strings.HasPrefix(line, "replicas,"+server+",") {
				status, _, _ := strings.Cut(strings.Split(line, ",")[17], " ") // "UP 1/3" is up
				return status
			}
		}
		return ""
	}
	// An operator's own maintenance stays.
	b.ask(t, "@1 set server replicas/pg3 state maint")
	mark = b.follows(t, of(two, "", "disabled"), mark)
	if want := fmt.Sprintf("moved primary/leader to %s, enabled replicas/pg1, disabled replicas/pg2", two.addr); !strings.HasPrefix(mark.How, want) {
		t.Errorf("mark %+v", mark)
	}
	if s := status("pg1") + " " + status("pg2") + " " + status("pg3"); s != "UP MAINT MAINT" {
		t.Error(s)
	}
	mark = b.follows(t, of(one, "disabled", ""), mark)
	if s := status("pg1") + " " + status("pg2") + " " + status("pg3"); s != "MAINT UP MAINT" {
		t.Error(s)
	}
	if after := b.processes(t); after != before {
		t.Errorf("there was a reload: %s, then %s", before, after)
	}

	// One that is not there is more than a worker can be told; the slot moves first.
	mark = b.follows(t, of(two, "", "")+"  server pg4 "+two.addr+"\n", mark)
	if !strings.HasPrefix(mark.How, "moved primary/leader to "+two.addr) || !strings.Contains(mark.How, ", then reload 2 ") {
		t.Errorf("mark %+v", mark)
	}
	leads(t, b.port, two)
}

// A server that is drained keeps its sessions, and gets no new ones.
func TestFollowDrains(t *testing.T) {
	one, two := newServe(t, "127.0.0.1:0"), newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	of := func(first, second int) string {
		text := leader(b.port, one.addr, fmt.Sprintf("weight %d check", first), fmt.Sprintf("  server pg2 %s weight %d check", two.addr, second))
		return strings.Replace(text, "backend replicas\n", "", 1) // both in one
	}
	b.commit(t, of(100, 0))
	b.start(t)
	mark := b.follows(t, of(100, 0), reload.Mark{})
	before := b.processes(t)
	stays, err := dial(t, b.port)
	if err != nil || stays.to != one.addr {
		t.Fatalf("led to %q, error %v", stays.to, err)
	}
	mark = b.follows(t, of(0, 100), mark)
	if want := "drained primary/leader, took back primary/pg2"; !strings.HasPrefix(mark.How, want) {
		t.Errorf("mark %+v, want %q", mark, want)
	}
	for range 4 {
		c, err := dial(t, b.port)
		if err != nil || c.to != two.addr {
			t.Fatalf("a new session: led to %q, error %v", c.to, err)
		}
	}
	_ = stays.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := stays.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the session that was there: %v", err)
	}
	b.follows(t, of(50, 50), mark)
	if after := b.processes(t); after != before {
		t.Errorf("there was a reload: %s, then %s", before, after)
	}
}

func TestFollowReloadsForOtherChanges(t *testing.T) {
	one := newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	b.commit(t, leader(b.port, one.addr, "check"))
	b.start(t)
	mark := b.follows(t, leader(b.port, one.addr, "check"), reload.Mark{})
	for i, content := range []string{
		leader(b.port, one.addr, "check maxconn 7"),
		leader(b.port, one.addr, "check maxconn 7", "  balance leastconn"),
		leader(b.port, one.addr, "check maxconn 7", "  balance leastconn", "  server a "+one.addr+" # here"),
	} {
		if mark = b.follows(t, content, mark); !strings.HasPrefix(mark.How, fmt.Sprintf("reload %d ", i+2)) {
			t.Errorf("mark %+v", mark)
		}
	}
	// Files beside the configs are read at a reload alone.
	d := daemon(t, haproxy.Config{MasterSocket: b.socket})
	want := b.commit(t, leader(b.port, one.addr, "check"))
	for i, content := range []string{"a", "b", "b"} {
		var err error
		mark, err = d.Follow(t.Context(), append(want, reload.File{Path: "/etc/some.map", Content: []byte(content)}), mark)
		if err != nil || strings.HasPrefix(mark.How, "reload") != (i < 2) {
			t.Errorf("step %d: %+v, %v", i, mark, err)
		}
	}
}

// A server-state file gives a fresh worker the addresses of before.
func TestFollowOverrulesAServerStateFile(t *testing.T) {
	one, two := newServe(t, "127.0.0.1:0"), newServe(t, "127.0.0.1:0")
	b := newBalancer(t)
	first := strings.Replace(leader(b.port, one.addr, "check"), "defaults\n", "global\n  server-state-file "+b.dir+"/state\ndefaults\n  load-server-state-from-file global\n", 1)
	b.commit(t, first)
	b.start(t)
	servertest.File(t, b.dir+"/state", b.ask(t, "@1 show servers state"), 0o644)
	mark := b.follows(t, strings.Replace(first, "leader "+one.addr, "leader "+two.addr, 1), reload.Mark{})
	if !strings.Contains(mark.How, "then reload 1 ") {
		t.Errorf("mark %+v", mark)
	}
	leads(t, b.port, two)
}
