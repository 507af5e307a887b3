package servertest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// PatroniMember is one node of a cluster: a Patroni and its PostgreSQL.
type PatroniMember struct {
	Name     string
	Host     string
	Port     int // of PostgreSQL
	RESTPort int

	patroni string
	config  string
	data    string
	sockets string      // the folder of its Unix socket
	host    *Host       // where it runs; nil is here
	tls     *tls.Config // of its REST API; nil is plain
	proc    *Process
}

// Start starts the member's Patroni, which starts its PostgreSQL. Both end with
// the test.
func (m *PatroniMember) Start(t testing.TB) {
	t.Helper()
	cmd := exec.Command(m.patroni, m.config)
	cmd.Env = postgresEnv()
	cmd.Dir = filepath.Dir(m.config)
	AsPostgres(t, cmd)
	m.proc = m.host.Start(t, cmd)
	// This runs before Start's own cleanup: an orderly end takes seconds.
	t.Cleanup(m.Kill)
}

// Config is the file that the member runs with.
func (m *PatroniMember) Config() string { return m.config }

// API is the base URL of the member's REST API.
func (m *PatroniMember) API() string {
	scheme := "http://"
	if m.tls != nil {
		scheme = "https://"
	}
	return scheme + m.hostPort(m.RESTPort)
}

// secure has the test ask the member's REST API by TLS, if its configuration has it
// speak TLS: with the certificates that patronictl has.
func (m *PatroniMember) secure(t testing.TB, config map[string]any) {
	t.Helper()
	rest, _ := config["restapi"].(map[string]any)
	ctl, _ := config["ctl"].(map[string]any)
	if _, speaks := rest["certfile"]; !speaks {
		return
	}
	pair, err := tls.LoadX509KeyPair(fmt.Sprint(ctl["certfile"]), fmt.Sprint(ctl["keyfile"]))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(fmt.Sprint(ctl["cacert"]))
	if err != nil {
		t.Fatal(err)
	}
	m.tls = &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	m.tls.RootCAs.AppendCertsFromPEM(authority)
}

// URL is how the superuser connects to the member.
func (m *PatroniMember) URL() string { return m.in("postgres") }

// in is how the superuser connects to a database of the member's.
func (m *PatroniMember) in(database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", m.hostPort(m.Port), database)
}

// SocketURL is how the superuser connects to the member by its Unix socket, which
// needs no network.
func (m *PatroniMember) SocketURL() string {
	return fmt.Sprintf("postgres://postgres@/postgres?host=%s&port=%d", m.sockets, m.Port)
}

// Namespace is the network namespace of the member's machine, as `ip netns` knows
// it; "" where it has none.
func (m *PatroniMember) Namespace() string {
	if m.host == nil {
		return ""
	}
	return m.host.Namespace
}

// Output is what Patroni and its PostgreSQL printed since Patroni was started last.
func (m *PatroniMember) Output() string { return m.proc.Output() }

// Kill ends Patroni and PostgreSQL at once, as a crash of the machine does. The
// connections of clients are reset, for the kernel lives.
func (m *PatroniMember) Kill() {
	_ = m.proc.Cmd.Process.Signal(syscall.SIGKILL)
	// Twice: Patroni may have been about to start the server.
	m.signalPostgres(syscall.SIGKILL)
	<-m.proc.done
	m.signalPostgres(syscall.SIGKILL)
}

// Freeze stops Patroni and PostgreSQL where they stand.
func (m *PatroniMember) Freeze(t testing.TB) {
	t.Helper()
	m.FreezePatroni(t)
	m.FreezePostgres(t)
}

// FreezePatroni stops Patroni alone: its server goes on without it.
func (m *PatroniMember) FreezePatroni(t testing.TB) {
	t.Helper()
	m.proc.Signal(t, syscall.SIGSTOP)
}

// FreezePostgres stops PostgreSQL alone: it accepts connections, for the kernel
// does, and answers none.
func (m *PatroniMember) FreezePostgres(t testing.TB) {
	t.Helper()
	if !m.signalPostgres(syscall.SIGSTOP) {
		t.Fatalf("%s: no PostgreSQL runs", m.Name)
	}
}

// Thaw lets Patroni and PostgreSQL go on.
func (m *PatroniMember) Thaw(t testing.TB) {
	t.Helper()
	m.signalPostgres(syscall.SIGCONT)
	m.proc.Signal(t, syscall.SIGCONT)
}

// alive is an error with what Patroni printed if it is gone.
func (m *PatroniMember) alive() error {
	if m.proc.Exited() {
		return fmt.Errorf("%s: patroni exited:\n%s", m.Name, m.proc.Output())
	}
	return nil
}

func (m *PatroniMember) hostPort(port int) string { return fmt.Sprintf("%s:%d", m.Host, port) }

// signalPostgres signals the postmaster and its children, which are not of
// Patroni's process group. It says whether there was a postmaster.
func (m *PatroniMember) signalPostgres(sig syscall.Signal) bool {
	pid, ok := m.postmaster()
	if !ok {
		return false
	}
	signalTree(pid, sig)
	return true
}

// signalTree signals a process and its children.
func signalTree(pid int, sig syscall.Signal) {
	// The parent first: it must not see a child die and start anew.
	children := childrenOf(pid)
	_ = syscall.Kill(pid, sig)
	for _, child := range append(children, childrenOf(pid)...) {
		_ = syscall.Kill(child, sig)
	}
}

// postmaster reads the process ID from postmaster.pid and makes sure that the
// process runs on this data folder: the file outlives a killed server.
func (m *PatroniMember) postmaster() (int, bool) {
	f, err := os.Open(filepath.Join(m.data, "postmaster.pid"))
	if err != nil {
		return 0, false
	}
	defer func() { _ = f.Close() }()
	line := bufio.NewScanner(f)
	line.Scan()
	pid, err := strconv.Atoi(line.Text())
	if err != nil {
		return 0, false
	}
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return pid, err == nil && cwd == m.data
}

// childrenOf lists the children of a process.
func childrenOf(parent int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var pids []int
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue // it ended meanwhile
		}
		// "PID (name) state PPID …", and a name may hold blanks and brackets.
		after := string(b[strings.LastIndexByte(string(b), ')')+1:])
		if f := strings.Fields(after); len(f) > 1 && f[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
			pids = append(pids, pid)
		}
	}
	return pids
}
