package compat

import (
	"fmt"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// keys are what is in Consul's key/value store.
var keys = map[string]string{
	"app/name": "shop", "app/empty": "", "app/unicode": "Größe – 値", "app/lines": "one\ntwo\n\nthree", "app/which": "name",
	"app/a name with blanks": "blanks", "app/a|b~c": "odd", "app/service": "api", "app/list": "n1, n2,n3",
	"numbers/one": "1", "numbers/two": "2", "numbers/half": "0.5",
	"deep/a": "1", "deep/b/c": "2", "deep/b/d/e": "3 <&>", "deep/folder/": "",
	"clash/a": "1", "clash/a/b": "2",
	"json/object":             `{"name":"x","n":3,"list":[1,"b",null],"nested":{"deep":true}}`,
	"json/flat":               `{"a/b":1,"a/c":2,"d":3}`,
	"yaml/object":             "name: x\nlist: [1, b, 2.5]\non: yes\nn: 12\nnested:\n  deep: [a, {b: c}]\n",
	"haproxy/timeout/connect": "10s", "haproxy/users/ada": "$6$salt$hash", "haproxy/users/bob": "secret",
	"service/batman/leader":      "pg1",
	"service/batman/config":      `{"ttl":30,"postgresql":{"parameters":{"max_connections":100,"wal_level":"replica"}}}`,
	"service/batman/members/pg1": `{"conn_url":"postgres://10.0.0.1:5432/postgres","api_url":"http://10.0.0.1:8008/patroni","state":"running","role":"primary","version":"3.0.2","xlog_location":67108960,"timeline":1}`,
	"service/batman/members/pg2": `{"conn_url":"postgres://10.0.0.2:5432/postgres","state":"running","role":"replica","xlog_location":67108960,"tags":{"nofailover":true}}`,
	"env/app/db-host":            "db 1", "env/app/db-port": "5432", "env/app/sub/key": "a\"b",
	"flags/on": "true", "flags/off": "false", "flags/one": "1",
	"firewall/port": "5432", "deploy/live": "green",
}

// fixture fills Consul.
func fixture(t *testing.T) *servertest.ConsulServer {
	t.Helper()
	consul := servertest.Consul(t, "connect { enabled = true }", fmt.Sprintf("ports { grpc_tls = %d }", servertest.FreePort(t)))
	for key, value := range keys {
		consul.Put(t, key, value)
	}
	node := func(name, id, address string) *api.CatalogRegistration {
		return &api.CatalogRegistration{
			Node: name, ID: id, Address: address, NodeMeta: map[string]string{"rack": "r" + name[1:], "external-node": "true"},
			TaggedAddresses: map[string]string{"lan": address, "wan": "198.51.100." + name[1:]},
		}
	}
	nodes := map[string]*api.CatalogRegistration{
		"n1": node("n1", "aaaaaaaa-0000-0000-0000-000000000001", "10.0.0.1"),
		"n2": node("n2", "aaaaaaaa-0000-0000-0000-000000000002", "10.0.0.2"),
		"n3": node("n3", "aaaaaaaa-0000-0000-0000-000000000003", "10.0.0.3"),
	}
	register := func(on string, s *api.AgentService, checks ...*api.HealthCheck) {
		r := *nodes[on]
		r.Service = s
		for _, c := range checks {
			c.Node, c.ServiceID = on, s.ID
			r.Checks = append(r.Checks, c)
		}
		if _, err := consul.Client.Catalog().Register(&r, nil); err != nil {
			t.Fatal(err)
		}
	}
	check := func(id, status string) *api.HealthCheck {
		return &api.HealthCheck{CheckID: id, Name: "Check " + id, Status: status, Output: "output of " + id, Notes: "notes"}
	}
	for _, n := range nodes {
		if _, err := consul.Client.Catalog().Register(n, nil); err != nil {
			t.Fatal(err)
		}
	}
	web := func(id string, port int) *api.AgentService {
		return &api.AgentService{ID: id, Service: "web", Port: port, Tags: []string{"http"}, Weights: api.AgentWeights{Passing: 3, Warning: 1}}
	}
	register("n1", web("web-1", 8001), check("c1", "passing"))
	register("n2", web("web-2", 8002), check("c2", "warning"))
	register("n3", web("web-3", 8003), check("c3", "critical"), check("c4", "passing"))
	register("n1", web("web-0", 8000), check("_service_maintenance:web-0", "critical"))

	api1 := &api.AgentService{
		ID: "api-1", Service: "api", Address: "10.1.0.1", Port: 9000, Tags: []string{"v1", "http", "urlprefix-/api"},
		Meta: map[string]string{"version": "1.2", "weight": "10"}, Weights: api.AgentWeights{Passing: 5, Warning: 2},
		TaggedAddresses: map[string]api.ServiceAddress{"lan": {Address: "10.1.0.1", Port: 9000}, "wan": {Address: "198.51.100.9", Port: 443}},
	}
	api2 := &api.AgentService{ID: "api-2", Service: "api", Port: 9000, Tags: []string{"v2", "a.b=c:d", "http"}, Meta: map[string]string{"version": "1.3 beta"}}
	api3 := &api.AgentService{ID: "api-3", Service: "api", Port: 9001, Tags: []string{"v1", "v2"}, Meta: map[string]string{"version": "1.2", "weight": "7"}}
	register("n3", api3, check("a3", "passing"))
	register("n1", api1, check("a1", "passing"))
	register("n2", api2)

	for i, on := range []string{"n1", "n2", "n3"} {
		role := "replica"
		if i == 0 {
			role = "primary"
		}
		register(on, &api.AgentService{ID: "batman/" + on, Service: "pg", Address: nodes[on].Address, Port: 5432, Tags: []string{role}}, check("pg-"+on, "passing"))
	}
	register("n1", &api.AgentService{ID: "redis", Service: "redis", Port: 6379, Tags: []string{"sentinel"}})
	register("n2", &api.AgentService{ID: "uni", Service: "uni", Port: 1, Tags: []string{"größe", "値"}, Meta: map[string]string{"text": "Zürich – 値 & <b>"}})
	register("n2", &api.AgentService{ID: "plain", Service: "plain"})
	register("n3", &api.AgentService{ID: "deploy-green", Service: "deploy", Port: 80, Tags: []string{"green"}})
	register("n3", &api.AgentService{ID: "deploy-blue", Service: "deploy", Port: 81, Tags: []string{"blue"}})
	register("n1", &api.AgentService{ID: "mesh-1", Service: "mesh", Port: 7000})
	register("n1", &api.AgentService{
		ID: "mesh-proxy", Service: "mesh-proxy", Kind: api.ServiceKindConnectProxy, Port: 7001,
		Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: "mesh"},
	})
	if _, _, err := consul.Client.Peerings().GenerateToken(t.Context(), api.PeeringGenerateTokenRequest{
		PeerName: "east", Meta: map[string]string{"for": "test"}, ServerExternalAddresses: []string{"192.0.2.1:8502"},
	}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := consul.Client.ConfigEntries().Set(&api.ExportedServicesConfigEntry{
		Name: "default", Services: []api.ExportedService{{Name: "web", Consumers: []api.ServiceConsumer{{Peer: "east"}}}, {Name: "api", Consumers: []api.ServiceConsumer{{Peer: "east"}}}},
	}, nil); err != nil {
		t.Fatal(err)
	}
	// The agent tells its own node's addresses and version a while after it began.
	servertest.Eventually(t, "the agent's node is whole", func() error {
		node, _, err := consul.Client.Catalog().Node("consul", nil)
		if err == nil && (node == nil || node.Node.TaggedAddresses["lan"] == "" || node.Node.Meta["consul-version"] == "") {
			err = fmt.Errorf("it is %+v", node)
		}
		return err
	})
	return consul
}
