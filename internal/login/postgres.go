package login

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Postgres is a login to a PostgreSQL server, all of it: what the environment could bring
// in is named, so that it cannot.
type Postgres struct {
	Host     string // a name, an address, or the folder of a Unix socket
	Port     int
	User     string
	Database string
	Password string // "" is none
	SSLMode  string // as libpq's
	CAFile   string // PEM, for verify-ca and verify-full; "" is none
	CertFile string // PEM; "" is none
	KeyFile  string // PEM
	Here     bool   // nobody can listen in between, or answer in its place
}

// ErrInTheClear is for a server that wants a password as it is: anybody may be the server
// that a key or a name leads to.
var ErrInTheClear = errors.New("the server wants the password in the clear, and has shown no certificate")

// Config returns it as pgx has it. A password goes in the clear only to whoever has shown a
// certificate, or is here.
func (p Postgres) Config() (*pgconn.Config, error) {
	text := fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=%s sslrootcert=%s sslcert=%s sslkey=%s target_session_attrs=any",
		Quote(p.Host), p.Port, Quote(p.User), Quote(p.Database), Quote(p.SSLMode), Quote(p.CAFile), Quote(p.CertFile), Quote(p.KeyFile))
	config, err := pgconn.ParseConfig(text)
	if err != nil {
		return nil, err
	}
	config.Password, config.RequireAuth = p.Password, ""
	if !p.Here && !strings.HasPrefix(p.SSLMode, "verify-") {
		config.RequireAuth = "!password"
	}
	return config, nil
}

// InTheClear says whether a login ended for a password that was wanted in the clear.
func InTheClear(err error) bool { return err != nil && strings.Contains(err.Error(), "require_auth") }
