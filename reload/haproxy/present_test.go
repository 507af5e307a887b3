package haproxy

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
		{"as Patroni's own example", `
global
    maxconn 100
defaults
    mode tcp
listen stats
    mode http
    bind *:7000
    stats enable
    stats uri /
listen batman
    bind *:5000
    option httpchk
    http-check expect status 200
    server pg1 10.0.0.11:5432 maxconn 100 check port 8008
`, Present{ReadWrite: 5000, StatsListen: "*:7000"}},
		{"two ports", `
global
  log /dev/log local0 notice # loud
  log /dev/log local1
  user haproxy
  group haproxy
  stats socket /run/haproxy/admin.sock mode 660 level admin
listen rw
  bind 10.0.0.5:5432,10.0.0.6:5432
  option httpchk OPTIONS /master
listen ro
  bind :5433
  option httpchk
  http-check send meth GET uri /replica?lag=16MB
frontend web
  bind :80
`, Present{
			ReadWrite: 5432, ReadOnly: 5433, Address: "10.0.0.5", Log: "/dev/log local0 notice", User: "haproxy", Group: "haproxy",
			StatsSocket: "/run/haproxy/admin.sock", Others: 1,
		}},
		{"nothing", "# \n", Present{}},
		{"what it can't know", "listen \"a b\"\n  bind \"$ADDRESS\"\n", Present{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "haproxy.cfg")
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
