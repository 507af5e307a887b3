package servertest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Box is a machine of a network with processes, a /run, and changes to /etc,
// /var/lib and /var/log of its own: daemons find there what they find on a machine of theirs, by the
// paths that Debian's packages have. It is root's; Machine has a systemd beside.
type Box struct {
	*Host
	holder *Process
	first  string // its process 1, as seen from here
}

// itsOwn is process 1 of a Box. It waits for orphans too.
const itsOwn = `
mount -t tmpfs tmpfs /run
for dir in etc var/lib var/log; do
	over=/run/.$(basename $dir)
	mkdir -p $over/upper $over/work
	mount -t overlay -o lowerdir=/$dir,upperdir=$over/upper,workdir=$over/work overlay /$dir
done
mkdir -p /etc/pgbaton /etc/pgbouncer /etc/haproxy /etc/keepalived /var/lib/pgbaton /run/haproxy /run/postgresql
chown postgres:postgres /run/postgresql
chown haproxy:haproxy /run/haproxy
echo ready
while sleep 1; do :; done
`

// Box adds a machine, whose end of the line is called eth0.
func (n *Network) Box(t testing.TB, name string) *Box {
	t.Helper()
	b := &Box{Host: n.Host(t, name)}
	for _, args := range []string{"down", "name eth0", "up"} {
		device := "eth9"
		if args == "up" {
			device = "eth0"
		}
		IP(t, append([]string{"-n", b.Namespace, "link", "set", device}, strings.Fields(args)...)...)
	}
	b.holder = b.Start(t, exec.Command(Need(t, "unshare"), "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", itsOwn))
	t.Cleanup(b.holder.Kill)
	Eventually(t, name+" is up", func() error {
		if b.holder.Exited() {
			t.Fatalf("%s ended: %s", name, b.holder.Output())
		}
		if !strings.Contains(b.holder.Output(), "ready\n") {
			return errors.New("not yet")
		}
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", b.holder.Pid()))
		b.first = strings.TrimSpace(string(children))
		return err
	})
	return b
}

// Path is where a file of the machine is seen from here.
func (b *Box) Path(path string) string { return "/proc/" + b.first + "/root" + path }

// Run starts a program there, as root.
func (b *Box) Run(t testing.TB, args ...string) *Process {
	t.Helper()
	cmd := exec.Command(Need(t, "nsenter"), append([]string{"-t", b.first, "-m", "-p", "--"}, args...)...)
	cmd.Env = append(postgresEnv(), "GORACE=halt_on_error=1")
	p := b.Start(t, cmd)
	t.Cleanup(b.holder.Kill) // before the program's own: with process 1 they all end
	return p
}

// Signal signals a program that Run started: the process that Run knows is what
// entered the machine for it.
func (b *Box) Signal(t testing.TB, p *Process, sig syscall.Signal) {
	t.Helper()
	children := childrenOf(p.Pid())
	if len(children) == 0 {
		t.Fatalf("%s has ended: %s", strings.Join(p.Cmd.Args, " "), p.Output())
	}
	if err := syscall.Kill(children[0], sig); err != nil {
		t.Fatalf("signal %s: %v", strings.Join(p.Cmd.Args, " "), err)
	}
}

// RunAs starts one as a user of the machine.
func (b *Box) RunAs(t testing.TB, user string, args ...string) *Process {
	t.Helper()
	return b.Run(t, append([]string{"setpriv", "--reuid=" + user, "--regid=" + user, "--init-groups"}, args...)...)
}

// Die ends the machine as a loss of power does: nobody hears of it.
func (b *Box) Die(t testing.TB) {
	t.Helper()
	IP(t, "-n", b.Namespace, "link", "set", "eth0", "down")
	b.holder.Kill()
}

// Addresses are those that it has, as ip shows them.
func (b *Box) Addresses(t testing.TB) string {
	t.Helper()
	return IP(t, "-n", b.Namespace, "-o", "addr", "show", "dev", "eth0")
}
