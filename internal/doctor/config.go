package doctor

import (
	"net"
	"strconv"
	"time"

	"github.com/pgbaton/pgbaton/internal/probe"
)

// Config is what a pgdoctor.cfg says.
type Config struct {
	HTTPPort    int
	HTTPAddress string        // an address of this machine; "" is all
	HTTPCert    string        // PEM, with HTTPKey: HTTPS; "" is HTTP
	HTTPKey     string        // PEM; "" is in HTTPCert
	HTTPTimeout time.Duration // every request is answered within

	SyslogFacility string // "" is no syslog

	Host         string // a name, an address, or the folder of a Unix socket
	Port         int
	User         string
	Password     string
	PasswordFile string // its first line, read at each login, in the place of Password; "" is none
	Database     string
	SSLMode      string        // as libpq's
	RootCert     string        // PEM, for verify-ca and verify-full
	Cert         string        // PEM
	Key          string        // PEM
	Connect      time.Duration // limit of one login

	CheckTimeout time.Duration // limit of each check
	Checks       []Check       // in the order of the file
}

// Check is one that a server has to pass.
type Check struct {
	Line   int              // of the file
	SQL    string           // yields one row, whose first column is compared; "" is the lag
	Want   probe.Comparison // of what SQL yields
	MaxLag time.Duration    // how far a replica may be behind, where SQL is ""
}

// Defaults are those of pgDoctor's documentation, and of what it did not have.
func Defaults() Config {
	return Config{
		HTTPPort: 8071, HTTPTimeout: 1500 * time.Millisecond,
		Host: "localhost", Port: 5432, User: "postgres", Database: "postgres", SSLMode: "prefer",
		Connect: 3 * time.Second, CheckTimeout: time.Second,
	}
}

// Where is the server, for a person.
func (c Config) Where() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

// Listens is where balancers ask.
func (c Config) Listens() string { return net.JoinHostPort(c.HTTPAddress, strconv.Itoa(c.HTTPPort)) }
