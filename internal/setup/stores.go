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

// zookeeperStore is Patroni's section zookeeper.
type zookeeperStore struct {
	Hosts    yaml.Node         `yaml:"hosts"` // a list, or a text with commas; a chroot may stand at its end
	Secure   bool              `yaml:"use_ssl"`
	CAFile   string            `yaml:"cacert"`
	CertFile string            `yaml:"cert"`
	KeyFile  string            `yaml:"key"`
	Verify   *bool             `yaml:"verify"`
	Auth     map[string]string `yaml:"auth_data"` // by scheme; digest is user:password
}

// hosts are where ZooKeeper is, and the znode that paths begin at.
func (s *zookeeperStore) hosts() (list []string, chroot string) {
	text := s.Hosts.Value
	if s.Hosts.Decode(&list) == nil {
		text = strings.Join(list, ",")
	}
	text, chroot, _ = strings.Cut(text, "/")
	list = nil
	for _, h := range strings.Split(text, ",") {
		if h = strings.TrimSpace(h); h != "" {
			list = append(list, h)
		}
	}
	if len(list) == 0 {
		list = []string{"127.0.0.1:2181"}
	}
	return list, strings.TrimSpace(chroot)
}

// store writes the block of the store.
func (m *maker) store() {
	p := m.patroni
	given := func(list string) yaml.Node { return yaml.Node{Kind: yaml.ScalarNode, Value: list} }
	switch {
	case m.Etcd != "":
		m.etcd(&etcdStore{Hosts: given(m.Etcd)}, "")
	case m.ZooKeeper != "":
		m.zookeeper(&zookeeperStore{Hosts: given(m.ZooKeeper)}, "")
	case m.Consul == "" && p.Consul == nil && p.Etcd != nil:
		m.etcd(p.Etcd, "from "+m.PatroniFile)
	case m.Consul == "" && p.Consul == nil && p.ZooKeeper != nil:
		m.zookeeper(p.ZooKeeper, "from "+m.PatroniFile)
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
		m.certificates(e.CAFile, e.CertFile, e.KeyFile, from)
		m.close()
	}
	m.close()
}

// certificates writes the files of TLS.
func (m *maker) certificates(ca, cert, key, from string) {
	for _, s := range []struct{ name, path string }{{"ca_cert", ca}, {"cert", cert}, {"key", key}} {
		if s.path != "" {
			m.set(s.name, absolute(s.path), from)
		}
	}
}

// zookeeper writes the zookeeper block.
func (m *maker) zookeeper(z *zookeeperStore, from string) {
	hosts, chroot := z.hosts()
	m.gap()
	m.open("zookeeper")
	m.set("hosts", hosts, from)
	if chroot != "" {
		m.set("chroot", "/"+chroot, from)
	}
	if user, _, found := strings.Cut(z.Auth["digest"], ":"); found {
		m.set("user", user, from)
		m.set("password_file", "zookeeper-password", "the password itself is in "+m.PatroniFile+", and not copied")
		m.need("write %s's password at ZooKeeper, or that of a user who may read the cluster's znodes, into the file zookeeper-password beside the config, mode 0600", user)
	}
	if z.Secure {
		m.open("ssl")
		m.certificates(z.CAFile, z.CertFile, z.KeyFile, from)
		if z.Verify != nil && !*z.Verify {
			m.set("verify", false, from+", where verify is off")
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
		m.certificates(c.CAFile, c.CertFile, c.KeyFile, from)
		if c.unverified() {
			m.set("verify", false, from+", where verify is off")
		}
		m.close()
	}
	m.close()
}
