package pgbouncer

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload"
)

// Config says where one pgbouncer, or several that share a config, are reached.
type Config struct {
	// Socket is the directory of the admin console's unix socket. Empty, with
	// Host and Consoles empty too: /var/run/postgresql.
	Socket string `hcl:"socket,optional" default:"\"/var/run/postgresql\""`

	// Host is where the console is reached over TCP instead. Empty: the socket.
	Host string `hcl:"host,optional" default:"none"`

	// Port belongs to Socket or Host. Zero: 6432.
	Port int `hcl:"port,optional" default:"6432"`

	// Consoles names several, each "DIRECTORY:PORT" or "HOST:PORT", where
	// so_reuseport runs several processes. It excludes Socket, Host and Port.
	Consoles []string `hcl:"consoles,optional" default:"none"`

	// User logs in to the console. Empty: "pgbouncer", who needs no password on
	// the unix socket if pgbaton runs as the same system user as pgbouncer.
	User string `hcl:"user,optional" default:"\"pgbouncer\""`

	// PasswordFile holds User's password in its first line; it is read at each
	// login. Empty: no password.
	PasswordFile string `hcl:"password_file,optional" default:"none"`

	// ConfigFile is what pgbouncer was started with, if that is not the
	// target's first file but includes it. Empty: the target's first file.
	ConfigFile string `hcl:"config_file,optional" default:"the first template"`

	// Binary does the dry run. Empty: "pgbouncer".
	Binary string `hcl:"binary,optional" default:"\"pgbouncer\""`

	// CheckUser is who the dry run becomes if pgbaton is root. Empty: the owner
	// of the main file unless that is root, else postgres if there is one, else
	// nobody. Without effect if pgbaton is not root.
	CheckUser string `hcl:"check_user,optional" default:"the owner of the main file, or postgres"`

	// Timeout ends a dry run, and a console that does not answer. Empty: "10s".
	Timeout string `hcl:"timeout,optional" default:"\"10s\""`
}

type daemon struct {
	log        hclog.Logger
	consoles   []*post
	configFile string
	binary     string
	checkUser  string
	timeout    time.Duration
	claim      string // whom others see as the holder; "" is this process
	ways       []way  // how Cut may cut, the mildest first
	keeps      proc.Confinement
}

// Confine implements reload.Confiner: a dry run needs no network, for it listens
// on a unix socket alone, and connects to no server.
func (d *daemon) Confine(k reload.Keeps) error {
	d.keeps = k.Confinement(false)
	return nil
}

// Resolve makes a relative password_file begin at dir.
func (c *Config) Resolve(dir string) {
	if c.PasswordFile != "" && !filepath.IsAbs(c.PasswordFile) {
		c.PasswordFile = filepath.Join(dir, c.PasswordFile)
	}
}

// Daemon returns the pgbouncer that c describes. It touches none.
func (c *Config) Daemon(log hclog.Logger) (reload.Daemon, error) {
	timeout, err := reload.Timeout("timeout", c.Timeout, 10*time.Second)
	if err != nil {
		return nil, err
	}
	consoles, err := c.places()
	if err != nil {
		return nil, err
	}
	posts := make([]*post, len(consoles))
	for i, at := range consoles {
		at.user = or(c.User, "pgbouncer")
		at.passwordFile = c.PasswordFile
		posts[i] = newPost(at)
	}
	if c.CheckUser == "root" || c.CheckUser == "0" {
		return nil, hint.Wrap(errors.New("read check_user: pgbouncer refuses to run as root"),
			"name the user that pgbouncer runs as")
	}
	if c.ConfigFile != "" && !filepath.IsAbs(c.ConfigFile) {
		return nil, hint.Wrap(fmt.Errorf("read config_file: %q is no absolute path", c.ConfigFile),
			"name the file as pgbouncer finds it from anywhere")
	}
	return &daemon{
		log: log, consoles: posts, configFile: c.ConfigFile,
		binary: or(c.Binary, "pgbouncer"), checkUser: c.CheckUser, timeout: timeout,
		ways: every,
	}, nil
}

func (c *Config) places() ([]console, error) {
	if len(c.Consoles) == 0 {
		if c.Socket != "" && c.Host != "" {
			return nil, hint.Wrap(errors.New("read socket and host: both are set"), "keep one of them")
		}
		if c.Port < 0 || c.Port > 65535 {
			return nil, fmt.Errorf("read port: %d is no port", c.Port)
		}
		where := or(c.Host, or(c.Socket, "/var/run/postgresql"))
		if c.Host == "" && !filepath.IsAbs(where) {
			return nil, hint.Wrap(fmt.Errorf("read socket: %q is no absolute path", where),
				"name the directory of pgbouncer's unix socket; for TCP set host")
		}
		port := c.Port
		if port == 0 {
			port = 6432
		}
		return []console{{host: where, port: uint16(port)}}, nil
	}
	if c.Socket != "" || c.Host != "" || c.Port != 0 {
		return nil, hint.Wrap(errors.New("read consoles: socket, host or port is set too"),
			"name every console in consoles, and drop the others")
	}
	var all []console
	seen := map[string]bool{}
	for _, text := range c.Consoles {
		one, err := place(text)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("read consoles: %q: %w", text, err),
				`write "/var/run/pgbouncer-1:6432" or "127.0.0.1:6432"`)
		}
		if seen[one.String()] {
			return nil, fmt.Errorf("read consoles: %s is named twice", one)
		}
		seen[one.String()] = true
		all = append(all, one)
	}
	return all, nil
}

// place parses "DIRECTORY:PORT" or "HOST:PORT".
func place(text string) (console, error) {
	host, portText := "", ""
	if filepath.IsAbs(text) {
		colon := strings.LastIndexByte(text, ':')
		if colon < 0 {
			return console{}, errors.New("it has no port")
		}
		host, portText = text[:colon], text[colon+1:]
	} else {
		var err error
		if host, portText, err = net.SplitHostPort(text); err != nil {
			return console{}, errors.New("it is not HOST:PORT")
		}
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 || host == "" {
		return console{}, errors.New("it has no host or no port")
	}
	return console{host: host, port: uint16(port)}, nil
}

func or(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}
