//go:build bench

package bench

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// contestant is one program under test, with a receiver of its own. It is
// stopped (SIGSTOP) while another has its turn: on a small machine they would
// measure each other.
type contestant struct {
	name string
	lags bool // signals for what is long past, with hundreds of clusters
	proc *servertest.Process
	hups chan time.Time

	latencies []time.Duration
	cpu       time.Duration // while it had its turn, its children's included
	turns     time.Duration
}

// newContestants starts them all on the same clusters. Each writes one file
// for each cluster.
func newContestants(t *testing.T, c *clusters, dir string) []*contestant {
	t.Helper()
	starts := []struct {
		name    string
		command func(t *testing.T, c *clusters, dir string, pid int) *exec.Cmd
	}{{"floor", floor}, {"floor, synced to disk", floorSynced}, {"consul-template", consulTemplate}, {"pgbaton", pgbaton}}
	if c.store.name() != "consul" {
		starts = slices.Delete(starts, 2, 3) // consul-template knows no other store
	}
	var all []*contestant
	for _, s := range starts {
		own := filepath.Join(dir, s.name)
		if err := os.MkdirAll(own, 0o755); err != nil {
			t.Fatal(err)
		}
		pid, hups := receiver(t)
		x := &contestant{name: s.name, hups: hups, lags: s.name == "consul-template"}
		x.proc = servertest.Start(t, s.command(t, c, own, pid))
		servertest.Eventually(t, s.name+" writes all files", func() error {
			if x.proc.Exited() {
				t.Fatalf("%s exited:\n%s", s.name, x.proc.Output())
			}
			for _, scope := range c.scopes {
				if _, err := os.Stat(filepath.Join(own, scope)); err != nil {
					return err
				}
			}
			return nil
		})
		all = append(all, x)
	}
	return all
}

func floor(_ *testing.T, c *clusters, dir string, pid int) *exec.Cmd {
	return exec.Command(programs.floor, append([]string{c.store.address(), strconv.Itoa(pid), dir}, c.scopes...)...)
}

// floorSynced pays for the disk what pgbaton pays before it swaps a file in.
func floorSynced(t *testing.T, c *clusters, dir string, pid int) *exec.Cmd {
	cmd := floor(t, c, dir, pid)
	cmd.Env = append(os.Environ(), "SYNC=1")
	return cmd
}

// consulTemplate is set up as its users do for Patroni: a template for each
// cluster that looks up the leader and then the leader's member key.
func consulTemplate(t *testing.T, c *clusters, dir string, pid int) *exec.Cmd {
	var conf strings.Builder
	conf.WriteString(c.store.Block())
	for _, scope := range c.scopes {
		fmt.Fprintf(&conf, "template {\n  contents = %q\n  destination = %q\n  command = %q\n}\n",
			fmt.Sprintf(`{{ with key "service/%s/leader" }}{{ with key (printf "service/%s/members/%%s" .) | parseJSON }}conn_url={{ .conn_url }}
{{ end }}{{ end }}`, scope, scope),
			filepath.Join(dir, scope), fmt.Sprintf("kill -HUP %d", pid))
	}
	return exec.Command(programs.consulTemplate, "-config", config(t, "ct.hcl", conf.String()))
}

// pgbaton trusts the key: the members have no server that could be asked.
func pgbaton(t *testing.T, c *clusters, dir string, pid int) *exec.Cmd {
	var conf strings.Builder
	state := filepath.Join(dir, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	pidFile := servertest.File(t, filepath.Join(state, "pid"), strconv.Itoa(pid)+"\n", 0o644)
	fmt.Fprintf(&conf, "state_dir = %q\n%s", state, c.store.Block())
	for _, scope := range c.scopes {
		fmt.Fprintf(&conf, "cluster \"patroni\" %q {\n  scope = %[1]q\n  confirm = [\"none\"]\n}\n", scope)
		fmt.Fprintf(&conf, "target \"signal\" %q {\n  pid_file = %q\n  template {\n    contents = %q\n    destination = %q\n  }\n}\n",
			scope, pidFile,
			fmt.Sprintf(`{{ with cluster "%s" }}host={{ .Leader.Host }} port={{ .Leader.Port }}
{{ end }}`, scope),
			filepath.Join(dir, scope))
	}
	return exec.Command(programs.pgbaton, "run", "-config", config(t, "pgbaton.hcl", conf.String()))
}

func config(t *testing.T, name, content string) string {
	return servertest.File(t, filepath.Join(t.TempDir(), name), content, 0o644)
}

// receiver starts a receiver and returns the times of its signals.
func receiver(t *testing.T) (pid int, hups chan time.Time) {
	t.Helper()
	cmd := exec.Command(programs.receiver)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	p := servertest.Start(t, cmd)
	_ = w.Close()
	t.Cleanup(func() { _ = r.Close() })
	lines := bufio.NewScanner(r)
	if !lines.Scan() {
		t.Fatal("the receiver does not start")
	}
	hups = make(chan time.Time, 1024)
	go func() {
		for lines.Scan() {
			ns, _ := strconv.ParseInt(lines.Text(), 10, 64)
			hups <- time.Unix(0, ns)
		}
	}()
	return p.Pid(), hups
}
