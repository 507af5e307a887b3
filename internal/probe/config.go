package probe

import (
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/login"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// Config says how the members of one cluster are asked.
type Config struct {
	Ways []cluster.Way // those that a leader may be confirmed by
	API  API
	SQL  SQL
}

// Probe is one question that is put to every member again and again.
type Probe struct {
	Name     string // unlike any other's of the cluster
	Kind     cluster.ProbeKind
	Interval time.Duration
	Timeout  time.Duration // of one answer
	Patience cluster.Patience
	Limit    cluster.LagLimit // of a lag probe
	Query    string           // of a query probe
	Want     Comparison       // what its answer has to be
}

// API is how Patroni's REST servers are reached; their addresses are in the
// members' keys. The zero value asks without credentials, which GET /patroni
// does not need, and verifies certificates by the system's authorities.
type API struct {
	User         string // of basic authentication; "" is none
	PasswordFile string // holds its password in the first line, read at each request
	CAFile       string // PEM; "" is the system's
	CertFile     string // PEM, for verify_client = required
	KeyFile      string // PEM; "" is in CertFile
	Insecure     bool   // certificates are not verified
}

// SQL is how PostgreSQL is logged in to. The zero value is the user postgres
// without a password, its database postgres, TLS if the server offers it.
type SQL struct {
	User         string // "" is postgres
	Database     string // "" is postgres
	PasswordFile string // holds the password in its first line, read at each login; "" is none
	SSLMode      string // as libpq's; "" is prefer
	CAFile       string // PEM, for verify-ca and verify-full
	CertFile     string // PEM
	KeyFile      string // PEM
}

// Prober asks the members of one cluster.
type Prober struct {
	config Config
	ways   []cluster.Way // those of config.Ways that ask a member
	client *http.Client
	log    hclog.Logger
}

// New returns a prober that has asked nobody yet.
func New(c Config, log hclog.Logger) (*Prober, error) {
	t, err := login.TLS{CAFile: c.API.CAFile, CertFile: c.API.CertFile, KeyFile: c.API.KeyFile, Insecure: c.API.Insecure}.Config()
	if err != nil {
		return nil, err
	}
	if _, err := c.SQL.connConfig(cluster.Endpoint{Host: "localhost", Port: 5432}); err != nil {
		return nil, err
	}
	// Patroni's server closes each connection anyway.
	transport := &http.Transport{TLSClientConfig: t, DisableKeepAlives: true, TLSHandshakeTimeout: patience}
	p := &Prober{config: c, client: &http.Client{Transport: transport, Timeout: patience, CheckRedirect: stay}, log: log}
	for _, w := range c.Ways {
		if w == cluster.WayAPI || w == cluster.WaySQL {
			p.ways = append(p.ways, w)
		}
	}
	return p, nil
}

// stay follows nobody elsewhere: what a member says counts, and nothing that it
// points to.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// patience is how long a single look may take.
const patience = time.Second
