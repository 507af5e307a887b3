package servertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// The versions that `make tools` builds.
const (
	consulVersion         = "1.22.7"
	consulTemplateVersion = "0.41.1"
)

// ConsulServer is one real Consul server on loopback.
type ConsulServer struct {
	Addr   string // host:port of its HTTP API
	Client *api.Client

	node   string
	gossip string // host:port of its gossip
	args   []string
	proc   *Process
}

// Consul starts a server that keeps its data in memory, ready within half a
// second. Restart brings it back empty, with its index back at the start. Each
// of config is a fragment in Consul's own language, for example an acl block.
func Consul(t testing.TB, config ...string) *ConsulServer {
	t.Helper()
	s := newConsul(t, "consul", []string{"-dev"}, config)
	s.start(t)
	return s
}

// PersistentConsul starts a server that keeps its data on disk: Restart brings
// it back as it was. It takes some seconds longer to elect itself.
func PersistentConsul(t testing.TB, config ...string) *ConsulServer {
	t.Helper()
	s := newConsul(t, "consul", []string{"-server", "-bootstrap", "-data-dir", t.TempDir()}, config)
	s.start(t)
	return s
}

// ConsulServers starts n servers that keep their data on disk and elect one of
// themselves.
func ConsulServers(t testing.TB, n int, config ...string) []*ConsulServer {
	t.Helper()
	var servers []*ConsulServer
	for i := range n {
		s := newConsul(t, fmt.Sprintf("consul%d", i+1), []string{"-server", "-bootstrap-expect", fmt.Sprint(n), "-data-dir", t.TempDir()}, config)
		if i > 0 {
			s.args = append(s.args, "-retry-join", servers[0].gossip, "-retry-interval", "1s")
		}
		s.Launch(t)
		servers = append(servers, s)
	}
	for _, s := range servers {
		s.AwaitLeader(t)
	}
	return servers
}

func newConsul(t testing.TB, node string, mode, config []string) *ConsulServer {
	t.Helper()
	ports := FreePorts(t, 3)
	s := &ConsulServer{Addr: fmt.Sprintf("127.0.0.1:%d", ports[0]), node: node, gossip: fmt.Sprintf("127.0.0.1:%d", ports[2])}
	s.args = append([]string{
		consulPath(t), "agent",
		"-node", node, "-disable-host-node-id", "-log-level", "warn",
		"-bind", "127.0.0.1", "-client", "127.0.0.1",
		"-http-port", fmt.Sprint(ports[0]),
		"-server-port", fmt.Sprint(ports[1]),
		"-serf-lan-port", fmt.Sprint(ports[2]),
		"-serf-wan-port", "-1", "-dns-port", "-1", "-grpc-port", "-1", "-grpc-tls-port", "-1",
		"-hcl", "disable_update_check = true",
		"-hcl", "connect { enabled = false }",
		"-hcl", "performance { raft_multiplier = 1 }",
	}, mode...)
	for _, c := range config {
		s.args = append(s.args, "-hcl", c)
	}
	var err error
	if s.Client, err = api.NewClient(&api.Config{Address: s.Addr}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *ConsulServer) start(t testing.TB) {
	t.Helper()
	s.Launch(t)
	s.AwaitLeader(t)
}

// Launch starts a server that was killed, on the same ports, and waits for nothing.
func (s *ConsulServer) Launch(t testing.TB) {
	t.Helper()
	s.proc = Start(t, exec.Command(s.args[0], s.args[1:]...))
}

// AwaitLeader waits until there is a leader, and this server serves.
func (s *ConsulServer) AwaitLeader(t testing.TB) {
	t.Helper()
	Eventually(t, "consul elects a leader", func() error {
		if s.proc.Exited() {
			t.Fatalf("consul exited:\n%s", s.proc.Output())
		}
		leader, err := s.Client.Status().Leader()
		if err == nil && leader == "" {
			err = errors.New("no leader")
		}
		if err != nil {
			return err
		}
		// A leader that has just been elected refuses reads for a moment. Its own
		// node is in the catalog when it has settled: sessions need it.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		node, _, err := s.Client.Catalog().Node(s.node, (&api.QueryOptions{}).WithContext(ctx))
		if err == nil && node == nil {
			err = errors.New("its node is not in the catalog")
		}
		return err
	})
}

// Pid is the process ID of the server.
func (s *ConsulServer) Pid() int { return s.proc.Pid() }

// Freeze stops the server where it stands: its connections stay open and say
// nothing.
func (s *ConsulServer) Freeze(t testing.TB) { t.Helper(); s.proc.Signal(t, syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *ConsulServer) Thaw(t testing.TB) { t.Helper(); s.proc.Signal(t, syscall.SIGCONT) }

// Kill ends the server with SIGKILL.
func (s *ConsulServer) Kill() { s.proc.Kill() }

// Leads says whether the server is the leader of its cluster.
func (s *ConsulServer) Leads() (bool, error) {
	self, err := s.Client.Agent().Self()
	if err != nil {
		return false, err
	}
	raft, _ := self["Stats"]["raft"].(map[string]any)
	return raft["state"] == "Leader", nil
}

// Restart ends the server, if it lives, and starts it on the same ports.
func (s *ConsulServer) Restart(t testing.TB) {
	t.Helper()
	s.proc.Stop()
	s.start(t)
}

// Put writes a key.
func (s *ConsulServer) Put(t testing.TB, key, value string) {
	t.Helper()
	if _, err := s.Client.KV().Put(&api.KVPair{Key: key, Value: []byte(value)}, nil); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

// Delete deletes a key.
func (s *ConsulServer) Delete(t testing.TB, key string) {
	t.Helper()
	if _, err := s.Client.KV().Delete(key, nil); err != nil {
		t.Fatalf("delete %s: %v", key, err)
	}
}

// consulPath finds the program: PGBATON_CONSUL, what `make tools` built, PATH.
func consulPath(t testing.TB) string {
	t.Helper()
	return tool(t, "PGBATON_CONSUL", "consul", consulVersion)
}

// ConsulTemplate is the path of consul-template: PGBATON_CONSUL_TEMPLATE, what
// `make tools` built, PATH.
func ConsulTemplate(t testing.TB) string {
	t.Helper()
	return tool(t, "PGBATON_CONSUL_TEMPLATE", "consul-template", consulTemplateVersion)
}

// tool finds a program that integration/tools builds.
func tool(t testing.TB, env, name, version string) string {
	t.Helper()
	if path := os.Getenv(env); path != "" {
		return path
	}
	path := filepath.Join(ModuleRoot(t), ".cache", "tools", name+"-"+version, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s %s is not there: run `make tools`, or set %s", name, version, env)
	}
	return path
}
