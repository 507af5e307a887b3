package servertest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

// ZooKeeperEnsemble is an ensemble of real ZooKeeper servers on loopback.
type ZooKeeperEnsemble struct {
	Servers []*ZooKeeperServer

	mu     sync.Mutex
	client *zk.Conn // nil until it is needed
}

// ZooKeeperServer is one of them.
type ZooKeeperServer struct {
	Addr string // host:port for clients

	dir  string
	args []string
	proc *Process
}

// zookeeperJars are where Debian has them. slf4j-simple prints errors; TLS needs the
// last two, which the first one forgets to name.
const zookeeperJars = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar:/usr/share/java/netty-codec.jar:/usr/share/java/netty-resolver.jar"

// ZooKeeper starts n servers that keep their data on disk. settings are further lines
// of the config of each.
func ZooKeeper(t testing.TB, n int, settings ...string) *ZooKeeperEnsemble {
	t.Helper()
	java := Need(t, "java")
	ports := FreePorts(t, 3*n)
	var peers []string
	for i := range n {
		peers = append(peers, fmt.Sprintf("server.%d=127.0.0.1:%d:%d", i+1, ports[3*i+1], ports[3*i+2]))
	}
	if n == 1 {
		peers = nil
	}
	c := &ZooKeeperEnsemble{}
	for i := range n {
		s := &ZooKeeperServer{Addr: fmt.Sprintf("127.0.0.1:%d", ports[3*i]), dir: t.TempDir()}
		data := s.data()
		if err := os.Mkdir(data, 0o755); err != nil { //nolint:gosec // nothing in it is secret
			t.Fatal(err)
		}
		File(t, filepath.Join(data, "myid"), fmt.Sprint(i+1), 0o644)
		// A partner that is gone is noticed after syncLimit ticks.
		config := File(t, filepath.Join(s.dir, "zoo.cfg"), strings.Join(append(append([]string{
			"tickTime=250", "initLimit=20", "syncLimit=8", "maxSessionTimeout=60000", "maxClientCnxns=0",
			"dataDir=" + data, "clientPortAddress=127.0.0.1", fmt.Sprintf("clientPort=%d", ports[3*i]),
			"4lw.commands.whitelist=*", "admin.enableServer=false", "preAllocSize=64",
		}, peers...), settings...), "\n")+"\n", 0o644)
		s.args = []string{
			java, "-Xms32m", "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
			"-Dzookeeper.forceSync=no", "-Dzookeeper.cnxTimeout=500", "-Dzookeeper.jmx.log4j.disable=true",
			"-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-Dorg.slf4j.simpleLogger.showDateTime=true",
			"-cp", zookeeperJars, "org.apache.zookeeper.server.quorum.QuorumPeerMain", config,
		}
		s.Launch(t)
		c.Servers = append(c.Servers, s)
	}
	t.Cleanup(func() { c.disconnect() })
	c.Await(t)
	return c
}

func (s *ZooKeeperServer) data() string { return filepath.Join(s.dir, "data") }

// Launch starts a server that was killed, on the same ports, and waits for nothing.
func (s *ZooKeeperServer) Launch(t testing.TB) {
	t.Helper()
	s.proc = Start(t, exec.Command(s.args[0], s.args[1:]...))
}

// Kill ends the server with SIGKILL.
func (s *ZooKeeperServer) Kill() { s.proc.Kill() }

// Freeze stops the server where it stands: its connections stay open and say nothing.
func (s *ZooKeeperServer) Freeze(t testing.TB) { t.Helper(); s.proc.Signal(t, syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *ZooKeeperServer) Thaw(t testing.TB) { t.Helper(); s.proc.Signal(t, syscall.SIGCONT) }

// Ask returns what the server says to a word of four letters, as mntr.
func (s *ZooKeeperServer) Ask(word string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	// One that is just starting may trip over it, and never answer.
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, word); err != nil {
		return "", err
	}
	text, err := io.ReadAll(conn)
	return string(text), err
}

// Leads says whether the server is the leader of its ensemble.
func (s *ZooKeeperServer) Leads() bool {
	text, _ := s.Ask("srvr")
	return strings.Contains(text, "Mode: leader")
}

// Kill ends all servers.
func (c *ZooKeeperEnsemble) Kill() {
	for _, s := range c.Servers {
		s.Kill()
	}
}

// Launch starts all servers that were killed, and waits until they serve.
func (c *ZooKeeperEnsemble) Launch(t testing.TB) {
	t.Helper()
	for _, s := range c.Servers {
		s.Launch(t)
	}
	c.Await(t)
}

// Await waits until all servers that run serve.
func (c *ZooKeeperEnsemble) Await(t testing.TB) {
	t.Helper()
	for _, s := range c.Servers {
		Eventually(t, "zookeeper serves at "+s.Addr, func() error {
			if s.proc.Exited() {
				return nil
			}
			text, err := s.Ask("srvr")
			if err == nil && !strings.Contains(text, "Mode: ") {
				err = fmt.Errorf("it says %q", text)
			}
			return err
		})
	}
}

// Keep copies what the servers hold. The returned function brings it back, as from a
// backup.
func (c *ZooKeeperEnsemble) Keep(t testing.TB) (again func()) {
	t.Helper()
	kept := make([]string, len(c.Servers))
	c.Kill()
	for i, s := range c.Servers {
		kept[i] = filepath.Join(t.TempDir(), "kept")
		replaceFolder(t, s.data(), kept[i])
	}
	c.Launch(t)
	return func() {
		t.Helper()
		c.Kill()
		for i, s := range c.Servers {
			replaceFolder(t, kept[i], s.data())
		}
		c.Launch(t)
	}
}

func replaceFolder(t testing.TB, from, to string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(from))); err != nil {
		t.Fatal(err)
	}
}

// Do does something with a client. What could not be known to have been done is done
// again, with another client if need be: the servers refuse one that has seen more than
// they have.
func (c *ZooKeeperEnsemble) Do(t testing.TB, what string, do func(*zk.Conn) error) {
	t.Helper()
	Eventually(t, what, func() error { return c.once(do) })
}

func (c *ZooKeeperEnsemble) once(do func(*zk.Conn) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		client, _, err := zk.Connect(c.hosts(), 10*time.Second, zk.WithLogger(silence{}))
		if err != nil {
			return err
		}
		c.client = client
	}
	done := make(chan error, 1)
	go func(client *zk.Conn) { done <- do(client) }(c.client)
	var err error
	select {
	case err = <-done:
	case <-time.After(2 * time.Second):
		err = errors.New("no answer")
	}
	if err != nil {
		go c.client.Close()
		c.client = nil
	}
	return err
}

// silence logs nothing.
type silence struct{}

func (silence) Printf(string, ...any) {}

func (c *ZooKeeperEnsemble) disconnect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		c.client.Close()
		c.client = nil
	}
}

// Put implements DCS. It makes the folders that the key is in.
func (c *ZooKeeperEnsemble) Put(t testing.TB, key, value string) {
	t.Helper()
	path := znode(key)
	c.Do(t, "put "+key, func(client *zk.Conn) error {
		_, err := client.Set(path, []byte(value), -1)
		if !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		for at := 1; at < len(path); at++ {
			if path[at] == '/' {
				if err := create(client, path[:at], ""); err != nil {
					return err
				}
			}
		}
		return create(client, path, value)
	})
}

func create(client *zk.Conn, path, value string) error {
	_, err := client.Create(path, []byte(value), 0, zk.WorldACL(zk.PermAll))
	if errors.Is(err, zk.ErrNodeExists) {
		return nil
	}
	return err
}

// Delete implements DCS.
func (c *ZooKeeperEnsemble) Delete(t testing.TB, key string) {
	t.Helper()
	c.Do(t, "delete "+key, func(client *zk.Conn) error {
		err := client.Delete(znode(key), -1)
		if errors.Is(err, zk.ErrNoNode) { // it was done, and the answer lost
			return nil
		}
		return err
	})
}

// Lookup implements DCS.
func (c *ZooKeeperEnsemble) Lookup(key string) (value string, found bool, err error) {
	got := make(chan []byte, 1)
	err = c.once(func(client *zk.Conn) error {
		data, _, err := client.Get(znode(key))
		switch {
		case errors.Is(err, zk.ErrNoNode):
			close(got)
			return nil
		case err == nil:
			got <- data
		}
		return err
	})
	if err != nil {
		return "", false, err
	}
	data, found := <-got
	return string(data), found, nil
}

// znode is the path of a key.
func znode(key string) string { return "/" + strings.TrimPrefix(key, "/") }

// Root implements DCS.
func (c *ZooKeeperEnsemble) Root() string { return "/" }

// Patroni implements DCS.
func (c *ZooKeeperEnsemble) Patroni() map[string]any {
	return map[string]any{"zookeeper": map[string]any{"hosts": c.hosts()}}
}

// Block is the ensemble's block of pgbaton's config.
func (c *ZooKeeperEnsemble) Block() string {
	return fmt.Sprintf("zookeeper {\n  hosts = [\"%s\"]\n}\n", strings.Join(c.hosts(), `", "`))
}

func (c *ZooKeeperEnsemble) hosts() (list []string) {
	for _, s := range c.Servers {
		list = append(list, s.Addr)
	}
	return list
}
