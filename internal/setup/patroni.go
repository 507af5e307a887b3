package setup

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
)

// patroni is what matters here of the config of a Patroni.
type patroni struct {
	Scope     string        `yaml:"scope"`
	Namespace string        `yaml:"namespace"`
	Consul    *patroniStore `yaml:"consul"`
	Citus     struct {
		Group *int `yaml:"group"`
	} `yaml:"citus"`
	REST struct {
		CertFile       string `yaml:"certfile"`
		CAFile         string `yaml:"cafile"`
		VerifyClient   string `yaml:"verify_client"`
		Authentication struct {
			User string `yaml:"username"`
		} `yaml:"authentication"`
	} `yaml:"restapi"`
	Ctl struct { // how Patroni's own client asks the REST servers
		Insecure bool   `yaml:"insecure"`
		CAFile   string `yaml:"cacert"`
		CertFile string `yaml:"certfile"`
		KeyFile  string `yaml:"keyfile"`
	} `yaml:"ctl"`
	PostgreSQL struct {
		Authentication struct {
			Superuser struct {
				User string `yaml:"username"`
			} `yaml:"superuser"`
		} `yaml:"authentication"`
	} `yaml:"postgresql"`
}

// patroniStore is its section consul.
type patroniStore struct {
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

// patroniStores are the sections of stores that Patroni knows.
var patroniStores = []string{"consul", "etcd", "etcd3", "zookeeper", "exhibitor", "kubernetes", "raft"}

// readPatroni reads a config of Patroni's, JSON included, which is YAML too. w says what
// of it is known already.
func readPatroni(path string, w Wish) (p patroni, err error) {
	defer func() {
		if explain.Of(err) == "" {
			err = explain.Mark(err, explain.PatroniFile)
		}
	}()
	text, err := os.ReadFile(path)
	if err != nil {
		err = fmt.Errorf("read patroni's config: %w", err)
		if errors.Is(err, fs.ErrPermission) {
			return patroni{}, hint.Wrap(err, "run it as root or as patroni's user, or name the cluster with -patroni SCOPE")
		}
		return patroni{}, hint.Wrap(err, "name the file that patroni is started with, or the cluster with -patroni SCOPE")
	}
	var root yaml.Node
	if err := errors.Join(yaml.Unmarshal(text, &root), yaml.Unmarshal(text, &p)); err != nil {
		return p, hint.Wrap(fmt.Errorf("read patroni's config %s: %s", path, strings.ReplaceAll(err.Error(), "\n", " ")), "patroni --validate-config %s says what is wrong with it", path)
	}
	stores := storesOf(&root)
	if len(stores) == 0 && w.Consul == "" {
		return p, hint.Wrap(fmt.Errorf("read patroni's config %s: it names no store", path),
			"if patroni has it from its environment (PATRONI_CONSUL_HOST), name both: -patroni SCOPE -consul HOST:PORT")
	}
	if len(stores) > 0 && !slices.ContainsFunc(stores, func(s *yaml.Node) bool { return s.Value == "consul" }) {
		return p, otherStore(fmt.Errorf("%s:%d:%d: patroni keeps its keys in %s, which pgbaton can't read yet", path, stores[0].Line, stores[0].Column, stores[0].Value))
	}
	if p.Scope == "" && w.Scope == "" {
		return p, hint.Wrap(fmt.Errorf("read patroni's config %s: it names no scope", path),
			"if patroni has it from its environment (PATRONI_SCOPE), name it: -patroni SCOPE")
	}
	if p.Consul == nil {
		p.Consul = &patroniStore{} // consul: with nothing below it
	}
	return p, nil
}

func otherStore(err error) error {
	return explain.Mark(hint.Wrap(err, "pgbaton reads Consul, and a state file: the README says what works, and what does not yet"), explain.OtherStore)
}

// storesOf are the names of the stores that a config has sections of.
func storesOf(root *yaml.Node) (names []*yaml.Node) {
	if len(root.Content) == 0 || root.Content[0].Kind != yaml.MappingNode {
		return nil
	}
	top := root.Content[0].Content // a name, its value, and so on
	for i := 0; i+1 < len(top); i += 2 {
		if slices.Contains(patroniStores, top[i].Value) {
			names = append(names, top[i])
		}
	}
	return names
}

// address is where Consul is, as pgbaton's config has it.
func (s *patroniStore) address() string {
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
func (s *patroniStore) secure() bool { return strings.HasPrefix(s.address(), "https://") }

// unverified says whether Consul's certificate is not looked at.
func (s *patroniStore) unverified() bool {
	return slices.Contains([]string{"false", "off", "no", "0"}, strings.ToLower(s.Verify.Value))
}
