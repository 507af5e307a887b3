package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
)

// patroni is what matters here of the config of a Patroni.
type patroni struct {
	Scope     string          `yaml:"scope"`
	Namespace string          `yaml:"namespace"`
	Consul    *consulStore    `yaml:"consul"`
	Etcd      *etcdStore      `yaml:"etcd3"`
	ZooKeeper *zookeeperStore `yaml:"zookeeper"`
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
	if len(stores) == 0 && w.Consul+w.Etcd+w.ZooKeeper == "" {
		return p, hint.Wrap(fmt.Errorf("read patroni's config %s: it names no store", path),
			"if patroni has it from its environment (PATRONI_CONSUL_HOST), name both: -patroni SCOPE -consul HOST:PORT")
	}
	if len(stores) > 0 && !slices.ContainsFunc(stores, func(s *yaml.Node) bool { return slices.Contains(readable, s.Value) }) {
		return p, otherStore(stores[0].Value, fmt.Errorf("%s:%d:%d: patroni keeps its keys in %s, which pgbaton can't read", path, stores[0].Line, stores[0].Column, stores[0].Value))
	}
	if p.Scope == "" && w.Scope == "" {
		return p, hint.Wrap(fmt.Errorf("read patroni's config %s: it names no scope", path),
			"if patroni has it from its environment (PATRONI_SCOPE), name it: -patroni SCOPE")
	}
	for _, store := range stores { // those with nothing below them
		switch {
		case store.Value == "consul" && p.Consul == nil:
			p.Consul = &consulStore{}
		case store.Value == "etcd3" && p.Etcd == nil:
			p.Etcd = &etcdStore{}
		case store.Value == "zookeeper" && p.ZooKeeper == nil:
			p.ZooKeeper = &zookeeperStore{}
		}
	}
	return p, nil
}

// readable are those of them that pgbaton can read.
var readable = []string{"consul", "etcd3", "zookeeper"}

func otherStore(name string, err error) error {
	advice := "the README says which stores work; a state file that something else keeps up to date works with each"
	if name == "etcd" {
		advice = "that is etcd's old API: with etcd 3 Patroni can use the new one, in a section etcd3"
	}
	return explain.Mark(hint.Wrap(err, "%s", advice), explain.OtherStore)
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
