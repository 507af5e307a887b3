package keepalived_test

import (
	"errors"
	"fmt"
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
	"github.com/pgbaton/pgbaton/reload/keepalived"
)

const vip = "10.89.0.100"

// node is a network namespace with a keepalived in it.
type node struct {
	namespace, dir, conf, pidFile, binary string
	process                               *servertest.Process
}

// pair makes two namespaces with a line between them.
func pair(t *testing.T) [2]*node {
	t.Helper()
	servertest.Need(t, "keepalived")
	var nodes [2]*node
	for i, namespace := range servertest.Namespaces(t, "10.89.0") {
		dir := t.TempDir()
		nodes[i] = &node{
			namespace: namespace, dir: dir, conf: filepath.Join(dir, "keepalived.conf"), pidFile: filepath.Join(dir, "pid"),
			// The check has to see the node's interfaces.
			binary: servertest.File(t, filepath.Join(dir, "keepalived"),
				fmt.Sprintf("#!/bin/sh\nexec ip netns exec %s keepalived \"$@\"\n", namespace), 0o755),
		}
	}
	return nodes
}

func config(priority int) string {
	return fmt.Sprintf(`global_defs {
  vrrp_version 3
}
vrrp_instance lb {
  interface eth9
  state BACKUP
  virtual_router_id 51
  priority %d
  advert_int 0.1
  virtual_ipaddress {
    %s/24
  }
}
`, priority, vip)
}

func (n *node) commit(t *testing.T, content string) []reload.File {
	t.Helper()
	servertest.File(t, n.conf, content, 0o644)
	return []reload.File{{Path: n.conf, Staged: n.conf, Content: []byte(content), Mode: 0o644}}
}

func (n *node) start(t *testing.T) {
	t.Helper()
	n.process = servertest.Start(t, exec.Command("ip", "netns", "exec", n.namespace, "keepalived", "-n", "-l", "-D", "-P",
		"-f", n.conf, "-p", n.pidFile, "-r", filepath.Join(n.dir, "vrrp.pid")))
}

func (n *node) daemon(t *testing.T, c keepalived.Config) reload.Daemon {
	t.Helper()
	if c.Binary == "" {
		c.Binary = n.binary
	}
	c.PIDFile = n.pidFile
	d, err := c.Daemon(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// holds is a condition: the node has the address, and the other has not.
func (n *node) holds(t *testing.T, other *node) func() error {
	return func() error {
		has := func(n *node) bool {
			return strings.Contains(servertest.IP(t, "-n", n.namespace, "-o", "addr"), vip+"/")
		}
		if !has(n) || has(other) {
			return fmt.Errorf("the address: %s %v, %s %v", n.namespace, has(n), other.namespace, has(other))
		}
		return nil
	}
}

func TestFollowMovesTheAddress(t *testing.T) {
	nodes := pair(t)
	a, b := nodes[0], nodes[1]
	a.commit(t, config(150))
	b.commit(t, config(100))
	a.start(t)
	b.start(t)
	servertest.Eventually(t, "the first node gets the address", a.holds(t, b))

	for i, step := range []struct {
		priority int
		holder   *node
		other    *node
	}{{200, b, a}, {50, a, b}} {
		want := b.commit(t, config(step.priority))
		d := b.daemon(t, keepalived.Config{})
		if err := d.Check(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		mark, err := d.Follow(t.Context(), want, reload.Mark{})
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if mark.Proof != reload.Sent || !strings.Contains(mark.How, "SIGHUP to process") {
			t.Errorf("mark %+v", mark)
		}
		servertest.Eventually(t, "the address moves", step.holder.holds(t, step.other))
	}

	// What a check would have refused ends keepalived, and Follow sees it.
	bad := b.commit(t, strings.Replace(config(50), "virtual_router_id 51", "virtual_router_id 300", 1))
	_, err := b.daemon(t, keepalived.Config{Binary: "/bin/true"}).Follow(t.Context(), bad, reload.Mark{})
	if err == nil || !strings.Contains(err.Error(), "ended on the reload") || hint.Of(err) == "" {
		t.Errorf("error %v, hint %q", err, hint.Of(err))
	}
	if _, err := b.daemon(t, keepalived.Config{}).Follow(t.Context(), bad, reload.Mark{}); err == nil || !strings.Contains(err.Error(), b.pidFile) {
		t.Errorf("without a keepalived: %v", err)
	}
}

// What was fine when it was checked may end keepalived a moment later.
func TestFollowLooksOnceMore(t *testing.T) {
	nodes := pair(t)
	a, b := nodes[0], nodes[1]
	a.commit(t, config(150))
	a.start(t)
	servertest.Eventually(t, "the node gets the address", a.holds(t, b))
	d := a.daemon(t, keepalived.Config{})

	servertest.IP(t, "-n", a.namespace, "link", "add", "eth7", "type", "veth", "peer", "name", "eth6")
	more := config(150) + strings.NewReplacer("global_defs {\n  vrrp_version 3\n}\n", "", "vrrp_instance lb", "vrrp_instance more", "eth9", "eth7", "id 51", "id 52", vip, "10.89.1.100").Replace(config(150))
	for _, tc := range []struct {
		name             string
		spoil, heal      func()
		mentions, hinted string
	}{
		{
			"the interface is gone", func() { servertest.IP(t, "-n", a.namespace, "link", "del", "eth7") },
			func() {
				servertest.IP(t, "-n", a.namespace, "link", "add", "eth7", "type", "veth", "peer", "name", "eth6")
			}, "eth7", "network namespace",
		},
		{
			"the file is executable", func() { _ = os.Chmod(a.conf, 0o755) }, func() { _ = os.Chmod(a.conf, 0o644) },
			"mode 0755 has an exec bit", "0644",
		},
		{
			"the file is gone", func() { _ = os.Rename(a.conf, a.conf+".away") }, func() { _ = os.Rename(a.conf+".away", a.conf) },
			"no such file", "tries again",
		},
	} {
		want := a.commit(t, more)
		if err := d.Check(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		tc.spoil()
		_, err := d.Follow(t.Context(), want, reload.Mark{})
		if err == nil || errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), "left as it is") ||
			!strings.Contains(err.Error(), tc.mentions) || !strings.Contains(hint.Of(err), tc.hinted) {
			t.Errorf("%s: error %v, hint %q", tc.name, err, hint.Of(err))
		}
		if err := a.holds(t, b)(); err != nil || a.process.Exited() || strings.Contains(a.process.Output(), "Reloading") {
			t.Errorf("%s: keepalived was reloaded: %v", tc.name, err)
		}
		tc.heal()
	}
	if _, err := d.Follow(t.Context(), a.commit(t, more), reload.Mark{}); err != nil {
		t.Error(err)
	}
}

func TestTrackFileMovesTheAddressWithoutAReload(t *testing.T) {
	nodes := pair(t)
	a, b := nodes[0], nodes[1]
	a.commit(t, config(150))
	a.start(t)
	set := func(priority, track int) []reload.File {
		path := filepath.Join(b.dir, "leads")
		content := strings.Replace(config(priority), "vrrp_instance lb {", fmt.Sprintf(
			"track_file leads {\n  file \"%s\"\n  weight 100\n}\nvrrp_instance lb {\n  track_file {\n    leads\n  }", path), 1)
		want := b.commit(t, content)
		// A commit is a rename.
		number := fmt.Sprintf("%d\n", track)
		servertest.File(t, path+".staged", number, 0o644)
		if err := os.Rename(path+".staged", path); err != nil {
			t.Fatal(err)
		}
		return append(want, reload.File{Path: path, Staged: path, Content: []byte(number), Mode: 0o644})
	}
	first := set(100, 0)
	b.start(t)
	servertest.Eventually(t, "the first node gets the address", a.holds(t, b))

	d, mark := b.daemon(t, keepalived.Config{}), reload.Mark{}
	for i, step := range []struct {
		want          []reload.File
		how           string
		holder, other *node
	}{
		{first, "SIGHUP", a, b}, // nothing is known yet
		{set(100, 1), "leads holds 1: process", b, a},
		{set(100, 0), "leads holds 0: process", a, b},
		{set(90, 0), "SIGHUP", a, b},
		{set(90, 1), "leads holds 1: process", b, a},
		{set(90, 1), "leads holds 1: process", b, a},
	} {
		// As it was when its turn came.
		for _, f := range step.want {
			servertest.File(t, f.Path+".staged", string(f.Content), 0o644)
			if err := os.Rename(f.Path+".staged", f.Path); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Check(t.Context(), step.want); err != nil {
			t.Fatal(err)
		}
		reloads := strings.Count(b.process.Output(), "Reloading")
		begun := time.Now()
		var err error
		if mark, err = d.Follow(t.Context(), step.want, mark); err != nil {
			t.Fatal(err)
		}
		if mark.Proof != reload.Sent || !strings.Contains(mark.How, step.how) {
			t.Errorf("step %d: mark %+v", i, mark)
		}
		servertest.Eventually(t, "the address moves", step.holder.holds(t, step.other))
		t.Logf("step %d: %v: %s", i, time.Since(begun).Round(time.Millisecond), mark.How)
		if strings.Contains(step.how, "SIGHUP") != (strings.Count(b.process.Output(), "Reloading") > reloads) {
			t.Errorf("step %d: there was a reload, or none: %s", i, mark.How)
		}
	}

	// Another process knows nothing of that.
	b.process.Stop()
	b.start(t)
	servertest.Eventually(t, "keepalived writes its pid file", func() error {
		_, err := d.Follow(t.Context(), first, reload.Mark{})
		return err
	})
	if again, err := d.Follow(t.Context(), set(90, 1), mark); err != nil || !strings.Contains(again.How, "SIGHUP") {
		t.Errorf("mark %+v, error %v", again, err)
	}

	empty := set(90, 1)
	empty[1].Content = nil
	if err := d.Check(t.Context(), empty); !errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), "is no number") {
		t.Errorf("error %v", err)
	}
}

func TestCheck(t *testing.T) {
	n := pair(t)[0]
	good := config(100)
	executable := servertest.File(t, filepath.Join(n.dir, "more.conf"), good, 0o755)
	replace := func(old, with string) string { return strings.Replace(good, old, with, 1) }
	for _, tc := range []struct {
		name, content string
		mode          os.FileMode
		mentions      string // "" passes
		hinted        string
	}{
		{"good", good, 0o644, "", ""},
		{"empty", "", 0o644, "nothing but comments", "empty answer"},
		{"blank", "\n \t\n", 0o644, "nothing but comments", "empty answer"},
		{"comments", "! a\n  # b\n", 0o644, "nothing but comments", "empty answer"},
		{"executable by one", good, 0o654, "mode 0654 has an exec bit", "0644"},
		{"unknown keyword", replace("priority 100", "prioritty 100"), 0o644, "keepalived.conf: Line 8) Unknown keyword 'prioritty'", "line"},
		{"router id out of range", replace("51", "300"), 0o644, "VRID '300' not valid", "line"},
		{"missing interface", replace("eth9", "eth8"), 0o644, "interface eth8", "network namespace"},
		{"cut off", good[:len(good)-10], 0o644, "missing '}'s", "line"},
		{"global settings alone", "global_defs {\n  vrrp_version 3\n}\n", 0o644, "no vrrp_instance", "empty answer"},
		{"include of an executable", "include " + executable + "\n", 0o644, "non-executable file", "exec bit"},
		{"include of nothing", good + "include /nowhere/*.conf\n", 0o644, "Config files missing", "into place first"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := reload.File{Path: n.conf, Staged: filepath.Join(n.dir, ".keepalived.conf.staged"), Content: []byte(tc.content), Mode: tc.mode}
			servertest.File(t, f.Staged, tc.content, 0o644)
			if err := os.Chmod(f.Staged, tc.mode); err != nil {
				t.Fatal(err)
			}
			err := n.daemon(t, keepalived.Config{}).Check(t.Context(), []reload.File{f})
			if tc.mentions == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), tc.mentions) || !strings.Contains(hint.Of(err), tc.hinted) {
				t.Fatalf("error %v (hint %q), want a refusal that says %q", err, hint.Of(err), tc.mentions)
			}
			if strings.Contains(err.Error(), ".staged") {
				t.Errorf("error %v shows the staged path", err)
			}
		})
	}
}

func TestCheckGivesNoAnswer(t *testing.T) {
	dir := t.TempDir()
	n := &node{pidFile: filepath.Join(dir, "pid")}
	path := servertest.File(t, filepath.Join(dir, "keepalived.conf"), config(100), 0o644)
	set := []reload.File{{Path: path, Staged: path, Content: []byte(config(100)), Mode: 0o644}}
	hangs := servertest.File(t, filepath.Join(dir, "stub"), "#!/bin/sh\nsleep 600 & wait\n", 0o755)
	for _, tc := range []struct{ name, binary, mentions, hinted string }{
		{"missing", "no-such-keepalived", "no-such-keepalived", "install no-such-keepalived or correct binary"},
		{"hangs", hangs, "timed out after 300ms", "timeout sets how long"},
	} {
		err := n.daemon(t, keepalived.Config{Binary: tc.binary, Timeout: "300ms"}).Check(t.Context(), set)
		if err == nil || errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), tc.mentions) || !strings.Contains(hint.Of(err), tc.hinted) {
			t.Errorf("%s: error %v, hint %q", tc.name, err, hint.Of(err))
		}
	}
}

func TestFollowRefusesAnotherProcess(t *testing.T) {
	other := servertest.Start(t, exec.Command("sleep", "600"))
	n := &node{binary: "keepalived", pidFile: servertest.File(t, filepath.Join(t.TempDir(), "pid"), fmt.Sprint(other.Pid()), 0o644)}
	if _, err := n.daemon(t, keepalived.Config{}).Follow(t.Context(), nil, reload.Mark{}); err == nil || !strings.Contains(err.Error(), `it is "sleep"`) {
		t.Errorf("error %v", err)
	}
	if other.Exited() {
		t.Error("another's process was signalled")
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, c := range []keepalived.Config{{PIDFile: "pid"}, {Timeout: "x"}} {
		if _, err := c.Daemon(hclog.NewNullLogger()); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

// Without the network there are no interfaces, and keepalived would refuse every
// config.
func TestCheckNeedsTheNetwork(t *testing.T) {
	d, err := (&keepalived.Config{}).Daemon(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	confiner, can := reload.As[reload.Confiner](d)
	if !can {
		t.Fatal("its check can't be confined")
	}
	no := false
	if err := confiner.Confine(reload.Keeps{Network: &no}); err == nil || hint.Of(err) == "" {
		t.Errorf("check_network = false: %v, hint %q", err, hint.Of(err))
	}
	if err := confiner.Confine(reload.Keeps{Env: []string{"A"}}); err != nil {
		t.Error(err)
	}
}
