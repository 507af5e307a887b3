// Package consul answers queries from Consul with blocking queries in its
// default consistency: an answer comes from the servers' leader or not at all.
package consul

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/internal/dial"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/login"
	"github.com/pgbaton/pgbaton/watcher"
)

// Config is the consul block. Zero fields take Consul's own environment
// variables (CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, …), then its defaults.
type Config struct {
	Address    string `hcl:"address,optional" default:"\"127.0.0.1:8500\"" env:"CONSUL_HTTP_ADDR"` // host:port, http(s)://host:port or unix:///path; "" is 127.0.0.1:8500
	Token      string `hcl:"token,optional" default:"none" env:"CONSUL_HTTP_TOKEN"`                // ACL token
	TokenFile  string `hcl:"token_file,optional" default:"none" env:"CONSUL_HTTP_TOKEN_FILE"`      // a file with the token, read again when it changes
	Datacenter string `hcl:"datacenter,optional" default:"the agent's"`                            // "" is the agent's own
	Auth       *Auth  `hcl:"auth,block"`                                                           // nil is no basic authentication
	SSL        *SSL   `hcl:"ssl,block"`                                                            // nil is plain HTTP, unless the address says https
	Namespace  string `hcl:"namespace,optional" default:"the token's" env:"CONSUL_NAMESPACE"`      // "" is the token's own
	Partition  string `hcl:"partition,optional" default:"the agent's" env:"CONSUL_PARTITION"`      // "" is the agent's own
	Wait       string `hcl:"block_query_wait,optional" default:"\"1m\""`

	// MaxConnections is how many connections to the agent are open at the same time,
	// as far as it lies with us; 0 is 100. More queries than that are watched several
	// at a time. With TLS queries share connections, and it has no effect.
	MaxConnections int `hcl:"max_connections,optional" default:"100"`

	// consul-template's, without an effect: pgbaton never gives up, waits two
	// seconds at most before it tries again, and tunes its own connections.
	Retry     *Retry     `hcl:"retry,block"`
	Transport *Transport `hcl:"transport,block"`
}

// Retry is how consul-template tries again.
type Retry struct {
	Enabled    *bool  `hcl:"enabled,optional" default:"none"`
	Attempts   *int   `hcl:"attempts,optional" default:"none"`
	Backoff    string `hcl:"backoff,optional" default:"none"`
	MaxBackoff string `hcl:"max_backoff,optional" default:"none"`
}

// Transport is how consul-template connects.
type Transport struct {
	DialKeepAlive       string `hcl:"dial_keep_alive,optional" default:"none"`
	DialTimeout         string `hcl:"dial_timeout,optional" default:"none"`
	DisableKeepAlives   *bool  `hcl:"disable_keep_alives,optional" default:"none"`
	IdleConnTimeout     string `hcl:"idle_conn_timeout,optional" default:"none"`
	MaxIdleConns        *int   `hcl:"max_idle_conns,optional" default:"none"`
	MaxIdleConnsPerHost *int   `hcl:"max_idle_conns_per_host,optional" default:"none"`
	TLSHandshakeTimeout string `hcl:"tls_handshake_timeout,optional" default:"none"`
}

// QueryWait sets how long Consul may hold a query, unless the block does.
func (c *Config) QueryWait(text string) {
	if c.Wait == "" {
		c.Wait = text
	}
}

// Environment is what consul-template tells programs and templates of Consul.
func (c *Config) Environment() []string {
	var env []string
	add := func(name, value string) {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	add(api.HTTPAddrEnvName, c.Address)
	if c.Auth.on() {
		add(api.HTTPAuthEnvName, c.Auth.Username+":"+c.Auth.Password)
	}
	add(api.HTTPTokenEnvName, c.Token)
	add(api.HTTPTokenFileEnvName, c.TokenFile)
	ssl, verify := cmp.Or(os.Getenv(api.HTTPSSLEnvName), "false"), cmp.Or(os.Getenv(api.HTTPSSLVerifyEnvName), "true")
	if c.SSL != nil {
		ssl = strconv.FormatBool(c.SSL.on())
	}
	if c.SSL != nil && c.SSL.Verify != nil {
		verify = strconv.FormatBool(*c.SSL.Verify)
	}
	add(api.HTTPSSLEnvName, ssl)
	add(api.HTTPSSLVerifyEnvName, verify)
	return env
}

// Auth is HTTP basic authentication.
type Auth struct {
	Enabled  *bool  `hcl:"enabled,optional" default:"true"` // nil is true: the block is there
	Username string `hcl:"username,optional" default:"none"`
	Password string `hcl:"password,optional" default:"none" env:"CONSUL_HTTP_AUTH"`
}

func (a *Auth) on() bool { return a != nil && (a.Enabled == nil || *a.Enabled) }

// SSL is the TLS of the connection.
type SSL struct {
	Enabled    *bool  `hcl:"enabled,optional" default:"true" env:"CONSUL_HTTP_SSL"`       // nil is true: the block is there
	Verify     *bool  `hcl:"verify,optional" default:"true" env:"CONSUL_HTTP_SSL_VERIFY"` // nil is true
	Cert       string `hcl:"cert,optional" default:"none" env:"CONSUL_CLIENT_CERT"`
	Key        string `hcl:"key,optional" default:"none" env:"CONSUL_CLIENT_KEY"`
	CACert     string `hcl:"ca_cert,optional" default:"the system's" env:"CONSUL_CACERT"`
	CAPath     string `hcl:"ca_path,optional" default:"none" env:"CONSUL_CAPATH"`
	ServerName string `hcl:"server_name,optional" default:"from the address" env:"CONSUL_TLS_SERVER_NAME"`
}

func (s *SSL) on() bool { return s != nil && (s.Enabled == nil || *s.Enabled) }

// defaultWait is how long Consul may hold a blocking query that sees no
// change. Consul adds up to a sixteenth of it.
const defaultWait = time.Minute

// defaultConnections leaves room for as many again of an agent's limit of 200 for
// each client: it keeps a query that waits, and counts its connection, though
// whoever asked is gone.
const defaultConnections = 100

// Resolve makes relative paths begin at dir.
func (c *Config) Resolve(dir string) {
	paths := []*string{&c.TokenFile}
	if c.SSL != nil {
		paths = append(paths, &c.SSL.Cert, &c.SSL.Key, &c.SSL.CACert, &c.SSL.CAPath)
	}
	login.Beside(dir, paths...)
}

// Open returns a store for c. It connects to nothing yet.
func (c *Config) Open() (watcher.Store, error) { return c.open(nil) }

// open returns a store that asks through a transport of its own, unless there is one.
func (c *Config) open(through http.RoundTripper) (watcher.Store, error) {
	conf := api.DefaultConfig()
	if c.Address != "" {
		conf.Address = c.Address
	}
	if c.Token != "" {
		conf.Token = c.Token
	}
	if c.TokenFile != "" {
		conf.TokenFile = c.TokenFile
	}
	if c.Namespace != "" {
		conf.Namespace = c.Namespace
	}
	if c.Partition != "" {
		conf.Partition = c.Partition
	}
	if c.Datacenter != "" {
		conf.Datacenter = c.Datacenter
	}
	if c.Auth.on() {
		conf.HttpAuth = &api.HttpBasicAuth{Username: c.Auth.Username, Password: c.Auth.Password}
	}
	if s := c.SSL; s.on() {
		conf.Scheme = "https"
		// What the block leaves out is as the environment has it.
		c := &conf.TLSConfig
		c.Address, c.CAFile, c.CAPath = cmp.Or(s.ServerName, c.Address), cmp.Or(s.CACert, c.CAFile), cmp.Or(s.CAPath, c.CAPath)
		c.CertFile, c.KeyFile = cmp.Or(s.Cert, c.CertFile), cmp.Or(s.Key, c.KeyFile)
		if s.Verify != nil {
			c.InsecureSkipVerify = !*s.Verify
		}
	}
	wait := defaultWait
	if c.Wait != "" {
		d, err := time.ParseDuration(c.Wait)
		if err != nil || d <= 0 {
			return nil, hint.Wrap(fmt.Errorf("consul: block_query_wait %q is no duration", c.Wait), `write it as "60s"`)
		}
		wait = d
	}
	conf.Transport = transport()
	var err error
	if conf.Transport.TLSClientConfig, err = clientTLS(conf.TLSConfig); err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	if path, is := strings.CutPrefix(conf.Address, "unix://"); is {
		// Not left to the client, which would make a transport of its own.
		conf.Address = path
		conf.Transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "unix", path)
		}
	}
	if through == nil {
		through = conf.Transport
	}
	conf.HttpClient = &http.Client{Transport: limited{through}}
	client, err := api.NewClient(conf)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("consul: %w", err), "check the consul block and the CONSUL_* environment variables")
	}
	s := &Store{client: client, wait: wait, prompt: defaultPrompt, idle: conf.Transport.CloseIdleConnections}
	most := cmp.Or(c.MaxConnections, defaultConnections)
	if most < 2 {
		return nil, hint.Wrap(fmt.Errorf("consul: max_connections %d leaves no room", most), "make it 2 at least; the default is 100")
	}
	if conf.Scheme != "https" { // NewClient sets it from the address
		s.budget = most - max(1, most/10)
		conf.Transport.MaxConnsPerHost = most
	}
	conf.Transport.DisableCompression = local(conf.Address)
	if conf.TokenFile != "" {
		s.token = &tokenFile{path: conf.TokenFile}
	}
	return s, nil
}

// local says whether host:port is on this machine: to compress what does not leave
// it takes longer than to send it.
func local(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// transport keeps one idle connection for each watch, so that a watch does not
// dial anew at every change.
func transport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dial.Prompt().DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ExpectContinueTimeout: time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          0, // no limit
		MaxIdleConnsPerHost:   4096,
		IdleConnTimeout:       90 * time.Second,
	}
}
