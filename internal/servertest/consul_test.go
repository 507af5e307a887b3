package servertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

func TestConsulRestarts(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...string) *ConsulServer{
		"in memory": Consul,
		"on disk":   PersistentConsul,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			s.Put(t, "a", "1")
			s.Restart(t)
			pair, _, err := s.Client.KV().Get("a", nil)
			if err != nil {
				t.Fatal(err)
			}
			if kept := pair != nil; kept != (name == "on disk") {
				t.Errorf("key kept after a restart: %v", kept)
			}
			// Patroni's first act: a session on the agent's own node.
			if _, _, err := s.Client.Session().Create(&api.SessionEntry{TTL: "10s"}, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// The Makefile builds what the tests look for.
func TestToolVersions(t *testing.T) {
	root := ModuleRoot(t)
	for file, want := range map[string][]string{
		"Makefile":                 {"consul-" + consulVersion + "/", "consul-template@v" + consulTemplateVersion, "consul-template-" + consulTemplateVersion + "/"},
		"integration/tools/go.mod": {"github.com/hashicorp/consul v" + consulVersion + "\n"},
	} {
		b, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(string(b), w) {
				t.Errorf("%s does not name %q", file, w)
			}
		}
	}
}
