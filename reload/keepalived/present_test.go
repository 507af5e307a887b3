package keepalived

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       Present
	}{
		{"an instance", `
global_defs {
  router_id here
}
vrrp_instance VI_1 {
  interface eth0 # the only one
  priority 120
  nopreempt
  authentication {
    auth_type PASS
    auth_pass s3cret
  }
  unicast_peer { 10.0.0.2 }
  virtual_ipaddress {
    192.0.2.10/24 dev eth0
    192.0.2.11/24
  }
}
`, Present{
			Settings:  map[string]string{"interface": "eth0", "priority": "120", "nopreempt": ""},
			Lists:     map[string][]string{"unicast_peer": {"10.0.0.2"}, "virtual_ipaddress": {"192.0.2.10/24 dev eth0", "192.0.2.11/24"}},
			Instances: 1, Secret: true,
		}},
		{"the first of two", "vrrp_instance a {\n  priority 1\n}\nvrrp_instance b {\n  priority 2\n}\n", Present{
			Settings: map[string]string{"priority": "1"}, Lists: map[string][]string{}, Instances: 2,
		}},
		{"none, and brackets too many", "}}\nvirtual_server 10.0.0.1 80 {\n  delay_loop 6\n}\n", Present{Settings: map[string]string{}, Lists: map[string][]string{}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keepalived.conf")
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Read(path)
			if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}
