package keepalived

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload"
)

// Config says where one keepalived is reached.
type Config struct {
	// PIDFile is where the parent process's ID is, keepalived's option -p.
	// Empty: /run/keepalived.pid.
	PIDFile string `hcl:"pid_file,optional" default:"\"/run/keepalived.pid\""`

	// Binary does the check, and is the name that the process in PIDFile may
	// have, beside "keepalived". Empty: "keepalived".
	Binary string `hcl:"binary,optional" default:"\"keepalived\""`

	// Timeout ends a check. Empty: "10s".
	Timeout string `hcl:"timeout,optional" default:"\"10s\""`
}

type daemon struct {
	log     hclog.Logger
	pidFile string
	binary  string
	timeout time.Duration
	keeps   proc.Confinement
	told    string // the structure that it was last told to read, by this process
}

// Daemon returns the keepalived that c describes. It touches none.
func (c *Config) Daemon(log hclog.Logger) (reload.Daemon, error) {
	timeout, err := reload.Timeout("timeout", c.Timeout, 10*time.Second)
	if err != nil {
		return nil, err
	}
	d := &daemon{log: log, pidFile: c.PIDFile, binary: c.Binary, timeout: timeout, keeps: proc.Confinement{Network: true, Rights: enters}}
	if d.pidFile == "" {
		d.pidFile = "/run/keepalived.pid"
	}
	if d.binary == "" {
		d.binary = "keepalived"
	}
	if !filepath.IsAbs(d.pidFile) {
		return nil, fmt.Errorf("read pid_file: %q is no absolute path", d.pidFile)
	}
	return d, nil
}
