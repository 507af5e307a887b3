package haproxy

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// Config says where one HAProxy in master-worker mode is reached. Exactly one
// of MasterSocket and PIDFile is set.
type Config struct {
	// MasterSocket is the path of the master's socket, haproxy's option -S.
	// Empty: PIDFile is used.
	MasterSocket string `hcl:"master_socket,optional" default:"none"`

	// PIDFile is where the master's process ID is, haproxy's option -p. Empty:
	// MasterSocket is used, which can see more.
	PIDFile string `hcl:"pid_file,optional" default:"none"`

	// Binary does the check, and is the name that the process in PIDFile has to
	// have. Empty: "haproxy".
	Binary string `hcl:"binary,optional" default:"\"haproxy\""`

	// Timeout ends a check, and the wait for a reload. Empty: "10s".
	Timeout string `hcl:"timeout,optional" default:"\"10s\""`
}

type daemon struct {
	log     hclog.Logger
	master  master // its path is empty if there is only a PID file
	pidFile string
	binary  string
	timeout time.Duration
	keeps   reload.Keeps

	mu    sync.Mutex
	names map[string]lookedUp // of leaders

	// moving is held from a look at a worker's servers to what is made of it: a
	// Hold must not take away the server that a Follow has just led to.
	moving sync.Mutex
	held   map[string]netip.AddrPort // guarded by moving: what this process holds, and where it led
}

// Daemon returns the HAProxy that c describes. It touches none.
func (c *Config) Daemon(log hclog.Logger) (reload.Daemon, error) {
	timeout, err := reload.Timeout("timeout", c.Timeout, 10*time.Second)
	if err != nil {
		return nil, err
	}
	for _, s := range []struct{ setting, path string }{{"master_socket", c.MasterSocket}, {"pid_file", c.PIDFile}} {
		if s.path != "" && !filepath.IsAbs(s.path) {
			return nil, fmt.Errorf("read %s: %q is no absolute path", s.setting, s.path)
		}
	}
	if (c.MasterSocket == "") == (c.PIDFile == "") {
		return nil, hint.Wrap(errors.New("read master_socket and pid_file: exactly one has to be set"),
			"start haproxy with -W -S /run/haproxy-master.sock and set master_socket: a PID file cannot tell whether a reload worked")
	}
	binary := c.Binary
	if binary == "" {
		binary = "haproxy"
	}
	d := &daemon{
		log: log, master: master{path: c.MasterSocket}, pidFile: c.PIDFile, binary: binary, timeout: timeout, names: map[string]lookedUp{},
		held: map[string]netip.AddrPort{},
	}
	if c.MasterSocket == "" {
		return d, nil
	}
	return &reachable{d}, nil
}
