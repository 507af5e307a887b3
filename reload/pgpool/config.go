package pgpool

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload"
)

// Config says where one pgpool is reached.
type Config struct {
	// Host is where pcp listens: a name, an address, or the folder of its unix socket.
	// Empty: "localhost".
	Host string `hcl:"host,optional" default:"\"localhost\""`

	// Port is pcp's. Zero: 9898.
	Port int `hcl:"port,optional" default:"9898"`

	// User is one of pgpool's pcp.conf. Empty: "pgbaton".
	User string `hcl:"user,optional" default:"\"pgbaton\""`

	// PassFile holds User's password, in the form of ~/.pcppass:
	// HOST:PORT:USER:PASSWORD, each of them may be *. The clients of pcp read it if
	// it is closed to others: mode 0600. Empty: what they find by themselves.
	PassFile string `hcl:"pass_file,optional" default:"~/.pcppass"`

	// Folder is where the clients of pcp are. Empty: they are in PATH.
	Folder string `hcl:"folder,optional" default:"PATH"`

	// Binary parses files to be checked. Empty: "pgpool".
	Binary string `hcl:"binary,optional" default:"\"pgpool\""`

	// CheckUser is who the check becomes if pgbaton is root. Empty: the owner of the
	// main file unless that is root, else postgres if there is one, else nobody.
	CheckUser string `hcl:"check_user,optional" default:"the owner of the main file, or postgres"`

	// Restart is a program with its arguments that restarts pgpool, for what a reload does
	// not follow. Empty: pgbaton says that a restart is needed, and does none.
	Restart []string `hcl:"restart,optional" default:"none"`

	// Timeout ends a check, a client of pcp that gets no answer, and the command that
	// restarts. Empty: "10s".
	Timeout string `hcl:"timeout,optional" default:"\"10s\""`
}

type daemon struct {
	log       hclog.Logger
	pcp       pcp
	binary    string
	checkUser string
	restart   []string
	timeout   time.Duration
	keeps     proc.Confinement

	strayed struct { // what last led pgpool to another primary; for Follow alone
		places string
		at     time.Time
	}
}

// Resolve makes a relative pass_file begin at dir.
func (c *Config) Resolve(dir string) {
	if c.PassFile != "" && !filepath.IsAbs(c.PassFile) {
		c.PassFile = filepath.Join(dir, c.PassFile)
	}
}

// Confine implements reload.Confiner: to read a file takes no network.
func (d *daemon) Confine(k reload.Keeps) error {
	d.keeps = k.Confinement(false)
	return nil
}

// Daemon returns the pgpool that c describes. It touches none.
func (c *Config) Daemon(log hclog.Logger) (reload.Daemon, error) {
	timeout, err := reload.Timeout("timeout", c.Timeout, 10*time.Second)
	if err != nil {
		return nil, err
	}
	// The clients of pcp take a port out of this range for a reason to do nothing, with success.
	if c.Port != 0 && (c.Port <= 1024 || c.Port > 65535) {
		return nil, hint.Wrap(fmt.Errorf("read port: pcp has none at %d", c.Port), "write the pcp_port of pgpool.conf, 9898 unless it was changed")
	}
	if c.Folder != "" && !filepath.IsAbs(c.Folder) {
		return nil, fmt.Errorf("read folder: %q is no absolute path", c.Folder)
	}
	if c.CheckUser == "root" || c.CheckUser == "0" {
		return nil, hint.Wrap(errors.New("read check_user: a check is not run as root"), "name the user that pgpool runs as")
	}
	return &daemon{
		log: log, binary: cmp.Or(c.Binary, "pgpool"), checkUser: c.CheckUser, restart: c.Restart, timeout: timeout,
		pcp: pcp{
			host: cmp.Or(c.Host, "localhost"), port: cmp.Or(c.Port, 9898), user: cmp.Or(c.User, "pgbaton"),
			passFile: c.PassFile, folder: c.Folder, timeout: timeout,
		},
	}, nil
}
