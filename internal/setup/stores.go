package setup

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// consulStore is Patroni's section consul.
type consulStore struct {
	URL        string    `yaml:"url"`
	Host       string    `yaml:"host"`
	Port       int       `yaml:"port"`
	Scheme     string    `yaml:"scheme"`
	Token      string    `yaml:"token"`
	Datacenter string    `yaml:"dc"`
	CAFile     string    `yaml:"cacert"`
	CertFile   string    `yaml:"cert"`
	KeyFile    string    `yaml:"key"`
	Verify     yaml.Node `yaml:"verify"`
}

// address is where Consul is, as pgbaton's config has it.
func (s *consulStore) address() string {
	scheme, host := s.Scheme, s.Host
	if u, err := url.Parse(s.URL); err == nil && s.URL != "" {
		scheme, host = cmp.Or(u.Scheme, scheme), u.Host
	}
	port := "8500"
	if s.Port != 0 {
		port = fmt.Sprint(s.Port)
	}
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	}
	address := net.JoinHostPort(strings.Trim(cmp.Or(host, "127.0.0.1"), "[]"), port)
	if scheme == "https" {
		return "https://" + address
	}
	return address
}

// secure says whether Consul is asked over TLS.
func (s *consulStore) secure() bool { return strings.HasPrefix(s.address(), "https://") }

// unverified says whether Consul's certificate is not looked at.
func (s *consulStore) unverified() bool {
	return slices.Contains([]string{"false", "off", "no", "0"}, strings.ToLower(s.Verify.Value))
}

// etcdStore is Patroni's section etcd3.
type etcdStore struct {
	URL      string    `yaml:"url"`
	Host     string    `yaml:"host"`
	Hosts    yaml.Node `yaml:"hosts"` // a list, or a text with commas
	Protocol string    `yaml:"protocol"`
	User     string    `yaml:"username"`
	Password string    `yaml:"password"`
	CAFile   string    `yaml:"cacert"`
	CertFile string    `yaml:"cert"`
	KeyFile  string    `yaml:"key"`
}

// endpoints are where etcd is, as pgbaton's config has them.
func (s *etcdStore) endpoints() (list []string) {
	hosts := list
	if s.Hosts.Decode(&hosts) != nil {
		hosts = strings.Split(s.Hosts.Value, ",")
	}
	protocol := s.Protocol
	if u, err := url.Parse(s.URL); err == nil && s.URL != "" {
		hosts, protocol = []string{u.Host}, cmp.Or(u.Scheme, protocol)
	}
	if s.Host != "" {
		hosts = append(hosts, s.Host)
	}
	for _, h := range hosts {
		if h = strings.TrimSpace(h); h == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(h); err != nil {
			h = net.JoinHostPort(strings.Trim(h, "[]"), "2379")
		}
		if protocol == "https" {
			h = "https://" + h
		}
		list = append(list, h)
	}
	if len(list) == 0 {
		return []string{"127.0.0.1:2379"}
	}
	return list
}

// store writes the block of the store.
func (m *maker) store() {
	p := m.patroni
	switch {
	case m.Etcd != "":
		m.etcd(&etcdStore{Hosts: yaml.Node{Kind: yaml.ScalarNode, Value: m.Etcd}}, "")
	case m.Consul == "" && p.Consul == nil && p.Etcd != nil:
		m.etcd(p.Etcd, "from "+m.PatroniFile)
	default:
		m.consul()
	}
}

// etcd writes the etcd block.
func (m *maker) etcd(e *etcdStore, from string) {
	m.gap()
	m.open("etcd")
	m.set("endpoints", e.endpoints(), from)
	if e.User != "" {
		m.set("user", e.User, from)
		m.set("password_file", "etcd-password", "the password itself is in "+m.PatroniFile+", and not copied")
		m.need("write %s's password at etcd, or that of a user who may read the cluster's keys, into the file etcd-password beside the config, mode 0600", e.User)
	}
	if e.CAFile+e.CertFile != "" {
		m.open("ssl")
		for _, s := range []struct{ name, path string }{{"ca_cert", e.CAFile}, {"cert", e.CertFile}, {"key", e.KeyFile}} {
			if s.path != "" {
				m.set(s.name, absolute(s.path), from)
			}
		}
		m.close()
	}
	m.close()
}

// consul writes the consul block.
func (m *maker) consul() {
	c := m.patroni.Consul
	if c == nil {
		c = &consulStore{}
	}
	from := "from " + m.PatroniFile
	address, why := m.Consul, ""
	if address == "" {
		address, why = c.address(), from
		if m.patroni.Consul == nil {
			why = "guessed: the agent of this machine"
		}
	}
	m.gap()
	m.open("consul")
	m.set("address", address, why)
	if c.Datacenter != "" {
		m.set("datacenter", c.Datacenter, from)
	}
	if c.Token != "" {
		m.set("token_file", "consul-token", "the token itself is in "+m.PatroniFile+", and not copied")
		m.need("write a token of Consul's that may read the cluster's keys into the file consul-token beside the config, mode 0600")
	}
	if c.secure() && m.Consul == "" {
		m.open("ssl")
		for _, s := range []struct{ name, path string }{{"ca_cert", c.CAFile}, {"cert", c.CertFile}, {"key", c.KeyFile}} {
			if s.path != "" {
				m.set(s.name, absolute(s.path), from)
			}
		}
		if c.unverified() {
			m.set("verify", false, from+", where verify is off")
		}
		m.close()
	}
	m.close()
}
