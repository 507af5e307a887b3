package servertest

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// EtcdCluster is a cluster of real etcd servers on loopback.
type EtcdCluster struct {
	Servers []*EtcdServer
	Client  *clientv3.Client
}

// EtcdServer is one of them.
type EtcdServer struct {
	Addr string // host:port for clients

	dir  string
	args []string
	proc *Process
}

// Etcd starts n servers that keep their data on disk. flags are further ones of etcd,
// for each of them. With --cert-file= they serve clients over TLS, and Client is nil.
func Etcd(t testing.TB, n int, flags ...string) *EtcdCluster {
	t.Helper()
	program := Need(t, "etcd")
	scheme := "http"
	for _, f := range flags {
		if strings.HasPrefix(f, "--cert-file") {
			scheme = "https"
		}
	}
	ports := FreePorts(t, 2*n)
	var peers []string
	for i := range n {
		peers = append(peers, fmt.Sprintf("etcd%d=http://127.0.0.1:%d", i+1, ports[2*i+1]))
	}
	c := &EtcdCluster{}
	for i := range n {
		s := &EtcdServer{Addr: fmt.Sprintf("127.0.0.1:%d", ports[2*i]), dir: t.TempDir()}
		s.args = append([]string{
			program, "--name", fmt.Sprintf("etcd%d", i+1), "--data-dir", s.dir, "--log-level", "warn", "--logger", "zap",
			"--listen-client-urls", scheme + "://" + s.Addr, "--advertise-client-urls", scheme + "://" + s.Addr,
			"--listen-peer-urls", strings.TrimPrefix(peers[i], fmt.Sprintf("etcd%d=", i+1)), "--initial-advertise-peer-urls", strings.TrimPrefix(peers[i], fmt.Sprintf("etcd%d=", i+1)),
			"--initial-cluster", strings.Join(peers, ","), "--heartbeat-interval", "50", "--election-timeout", "500",
		}, flags...)
		s.Launch(t)
		c.Servers = append(c.Servers, s)
	}
	if scheme == "http" {
		c.connect(t)
	}
	return c
}

// connect makes the client, and waits until the cluster serves it.
func (c *EtcdCluster) connect(t testing.TB) {
	t.Helper()
	var err error
	if c.Client, err = clientv3.New(clientv3.Config{Endpoints: c.endpoints(), DialTimeout: 2 * time.Second, Logger: zap.NewNop()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Client.Close() })
	c.Await(t)
}

// Await waits until the cluster answers.
func (c *EtcdCluster) Await(t testing.TB) {
	t.Helper()
	Eventually(t, "etcd serves", func() error {
		_, _, err := c.Lookup("none")
		return err
	})
}

// Launch starts a server that was killed, on the same ports, and waits for nothing.
func (s *EtcdServer) Launch(t testing.TB) {
	t.Helper()
	s.proc = Start(t, exec.Command(s.args[0], s.args[1:]...))
}

// Kill ends the server with SIGKILL.
func (s *EtcdServer) Kill() { s.proc.Kill() }

// Freeze stops the server where it stands: its connections stay open and say nothing.
func (s *EtcdServer) Freeze(t testing.TB) { t.Helper(); s.proc.Signal(t, syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *EtcdServer) Thaw(t testing.TB) { t.Helper(); s.proc.Signal(t, syscall.SIGCONT) }

// Kill ends all servers.
func (c *EtcdCluster) Kill() {
	for _, s := range c.Servers {
		s.Kill()
	}
}

// Launch starts all servers that were killed, and waits until the cluster answers.
func (c *EtcdCluster) Launch(t testing.TB) {
	t.Helper()
	for _, s := range c.Servers {
		s.Launch(t)
	}
	c.Await(t)
}

// Keep copies what the servers hold. The returned function brings it back, as from a
// backup.
func (c *EtcdCluster) Keep(t testing.TB) (again func()) {
	t.Helper()
	kept := make([]string, len(c.Servers))
	c.Kill()
	for i, s := range c.Servers {
		kept[i] = filepath.Join(t.TempDir(), "kept")
		replaceFolder(t, s.dir, kept[i])
	}
	c.Launch(t)
	return func() {
		t.Helper()
		c.Kill()
		for i, s := range c.Servers {
			replaceFolder(t, kept[i], s.dir)
		}
		c.Launch(t)
	}
}

// Put implements DCS.
func (c *EtcdCluster) Put(t testing.TB, key, value string) {
	t.Helper()
	Eventually(t, "put "+key, func() error { // its leader may have just gone
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.Client.Put(ctx, key, value)
		return err
	})
}

// Delete implements DCS.
func (c *EtcdCluster) Delete(t testing.TB, key string) {
	t.Helper()
	Eventually(t, "delete "+key, func() error { // its leader may have just gone
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.Client.Delete(ctx, key)
		return err
	})
}

// Lookup implements DCS.
func (c *EtcdCluster) Lookup(key string) (value string, found bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	resp, err := c.Client.Get(ctx, key)
	if err != nil || len(resp.Kvs) == 0 {
		return "", false, err
	}
	return string(resp.Kvs[0].Value), true, nil
}

// Root implements DCS.
func (c *EtcdCluster) Root() string { return "/" }

// Patroni implements DCS.
func (c *EtcdCluster) Patroni() map[string]any {
	return map[string]any{"etcd3": map[string]any{"hosts": c.endpoints()}}
}

// Block implements DCS.
func (c *EtcdCluster) Block() string {
	return fmt.Sprintf("etcd {\n  endpoints = [\"%s\"]\n}\n", strings.Join(c.endpoints(), `", "`))
}

func (c *EtcdCluster) endpoints() (list []string) {
	for _, s := range c.Servers {
		list = append(list, s.Addr)
	}
	return list
}
