package servertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// PatroniCluster is a cluster of real Patroni nodes with real PostgreSQL
// servers on loopback. Every connection to them is trusted; the superuser is
// postgres.
type PatroniCluster struct {
	Scope   string
	Members []*PatroniMember // pg1, pg2, …

	store DCS
	dir   string
}

// PatroniOption changes how a cluster is made.
type PatroniOption func(*patroniSettings)

type patroniSettings struct {
	scope   string
	dcs     map[string]any // added to the dynamic configuration
	members string         // what the names of the members begin with
	clients int            // max_connections
	net     *Network       // nil is loopback
	ports   []int          // of PostgreSQL and of the REST API; nil is free ones
	consul  string         // where the members find Consul; "" is its address
	local   func(member string) map[string]any
	adapt   func(member string, config map[string]any)
	initdb  []any // more options of initdb
	prepare func(member, dir string)
}

// Scope names the cluster; without it the name is the first one's that is free
// in the store.
func Scope(name string) PatroniOption {
	return func(s *patroniSettings) { s.scope = name }
}

// DynamicConfig adds a top-level key to Patroni's dynamic configuration.
func DynamicConfig(key string, value any) PatroniOption {
	return func(s *patroniSettings) { s.dcs[key] = value }
}

// MemberPrefix names the members; without it they are pg1, pg2, …
func MemberPrefix(prefix string) PatroniOption {
	return func(s *patroniSettings) { s.members = prefix }
}

// MaxConnections is how many clients each server takes; without it 50.
func MaxConnections(n int) PatroniOption {
	return func(s *patroniSettings) { s.clients = n }
}

// On places each member on a machine of its own, named as the member is. consul is
// where they find the store, as host:port.
func On(n *Network, consul string) PatroniOption {
	return func(s *patroniSettings) { s.net, s.consul = n, consul }
}

// Ports has every member listen at the same two, as machines of their own do.
func Ports(postgres, rest int) PatroniOption {
	return func(s *patroniSettings) { s.ports = []int{postgres, rest} }
}

// Local adds settings to the postgresql section of each member's own configuration.
func Local(settings func(member string) map[string]any) PatroniOption {
	return func(s *patroniSettings) { s.local = settings }
}

// Adapt lets a test change the whole configuration of each member. With a certfile in
// its restapi section, that is asked by TLS as the section's ctl, which the test adds,
// says.
func Adapt(change func(member string, config map[string]any)) PatroniOption {
	return func(s *patroniSettings) { s.adapt = change }
}

// WALSegments is the size of a segment in MB; without it PostgreSQL's 16.
func WALSegments(size int) PatroniOption {
	return func(s *patroniSettings) {
		s.initdb = append(s.initdb, map[string]any{"wal-segsize": fmt.Sprint(size)})
	}
}

// WALFolder gives each member a folder of its own for pg_wal. prepare is called with
// it before the member starts: to mount something there.
func WALFolder(prepare func(member, dir string)) PatroniOption {
	return func(s *patroniSettings) { s.prepare = prepare }
}

// Patroni starts n nodes, the first of them as leader, and returns when the
// others stream from it. Patroni is set to its fastest pace: ttl 20, loop_wait
// 1, retry_timeout 3.
func Patroni(t testing.TB, store DCS, n int, options ...PatroniOption) *PatroniCluster {
	t.Helper()
	set := patroniSettings{members: "pg", clients: 50, dcs: map[string]any{
		"ttl": 20, "loop_wait": 1, "retry_timeout": 3, "maximum_lag_on_failover": 1 << 20,
	}}
	for _, o := range options {
		o(&set)
	}
	c := &PatroniCluster{Scope: set.scope, store: store, dir: PostgresDir(t)}
	if c.Scope == "" {
		c.Scope = "scope-" + filepath.Base(c.dir)
	}
	patroni := Need(t, "patroni")
	Need(t, "patronictl")

	for i := range n {
		m := newMember(t, c, fmt.Sprintf("%s%d", set.members, i+1), set)
		c.Members = append(c.Members, m)
		m.patroni = patroni
		m.Start(t)
		if i == 0 {
			// Whoever takes the initialize key is the first leader.
			Eventually(t, m.Name+" bootstraps", func() error {
				_, found, err := store.Lookup(c.Key("initialize"))
				if err == nil && !found {
					err = errors.New("no initialize key")
				}
				return errors.Join(err, m.alive())
			})
		}
	}
	c.AwaitReady(t)
	return c
}

// Dir is the folder that holds everything of the cluster.
func (c *PatroniCluster) Dir() string { return c.dir }

// Key is the path of one of the cluster's keys in its store.
func (c *PatroniCluster) Key(name string) string {
	return c.store.Root() + "service/" + c.Scope + "/" + name
}

// Member returns a member by its name.
func (c *PatroniCluster) Member(t testing.TB, name string) *PatroniMember {
	t.Helper()
	i := slices.IndexFunc(c.Members, func(m *PatroniMember) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("%s has no member %q", c.Scope, name)
	}
	return c.Members[i]
}

// Leader returns the member that the leader key names; there must be one.
func (c *PatroniCluster) Leader(t testing.TB) *PatroniMember {
	t.Helper()
	name, found, err := c.store.Lookup(c.Key("leader"))
	if err != nil || !found {
		t.Fatalf("leader of %s: found %v, error %v", c.Scope, found, err)
	}
	return c.Member(t, name)
}

// Replicas returns the members that the leader key does not name.
func (c *PatroniCluster) Replicas(t testing.TB) []*PatroniMember {
	t.Helper()
	leader := c.Leader(t)
	return slices.DeleteFunc(slices.Clone(c.Members), func(m *PatroniMember) bool { return m == leader })
}

// SyncStandby returns the member that the leader waits for, where replication is
// synchronous: the one that may lead next.
func (c *PatroniCluster) SyncStandby(t testing.TB) *PatroniMember {
	t.Helper()
	var sync struct {
		Standby string `json:"sync_standby"`
	}
	Eventually(t, "a synchronous standby", func() error {
		value, found, err := c.store.Lookup(c.Key("sync"))
		if err != nil || !found {
			return fmt.Errorf("found %v, error %w", found, err)
		}
		if err := json.Unmarshal([]byte(value), &sync); err != nil {
			return err
		}
		if sync.Standby == "" {
			return errors.New("none yet")
		}
		return nil
	})
	return c.Member(t, strings.Split(sync.Standby, ",")[0])
}

// AwaitReady waits until the leader takes writes and every other member streams
// from it.
func (c *PatroniCluster) AwaitReady(t testing.TB) {
	t.Helper()
	Eventually(t, "patroni cluster is whole", func() error {
		leaders := 0
		for _, m := range c.Members {
			if err := m.alive(); err != nil {
				return err
			}
			st, err := m.status()
			if err != nil {
				return err
			}
			switch {
			case st.State != "running":
				return fmt.Errorf("%s is %q", m.Name, st.State)
			case st.Role == "replica":
			case st.streams() != len(c.Members)-1:
				return fmt.Errorf("%s streams to %d replicas, wanted %d", m.Name, st.streams(), len(c.Members)-1)
			default:
				leaders++
			}
		}
		if leaders != 1 {
			return fmt.Errorf("%d leaders", leaders)
		}
		return nil
	})
}

// Switchover moves the leader with the real patronictl and returns when that
// does: the new leader has the key, and may not take writes yet.
func (c *PatroniCluster) Switchover(t testing.TB, candidate *PatroniMember) {
	t.Helper()
	out := c.Ctl(t, "switchover", c.Scope, "--leader", c.Leader(t).Name, "--candidate", candidate.Name, "--force")
	if !strings.Contains(out, "Successfully switched over") {
		t.Fatalf("patronictl switchover: %s", out)
	}
}

// Ctl runs patronictl with the configuration of the first member.
func (c *PatroniCluster) Ctl(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, "patronictl", append([]string{"-c", c.Members[0].config}, args...)...)
	cmd.Env = postgresEnv()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("patronictl %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// memberStatus is what Patroni's REST API tells of one member.
type memberStatus struct {
	State       string
	Role        string
	Replication []struct{ State string }
}

// streams is to how many replicas it streams. One that only connects, or catches
// up, does not count: it would be promoted without what it lacks.
func (st memberStatus) streams() (n int) {
	for _, r := range st.Replication {
		if r.State == "streaming" {
			n++
		}
	}
	return n
}

// status asks the member itself, for the keys in Consul lag behind.
func (m *PatroniMember) status() (memberStatus, error) {
	var st memberStatus
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{TLSClientConfig: m.tls, DisableKeepAlives: true}}
	resp, err := client.Get(m.API() + "/patroni")
	if err != nil {
		return st, err
	}
	defer func() { _ = resp.Body.Close() }()
	return st, json.NewDecoder(resp.Body).Decode(&st)
}

// newMember writes the configuration of one member.
func newMember(t testing.TB, c *PatroniCluster, name string, set patroniSettings) *PatroniMember {
	t.Helper()
	ports := set.ports
	sockets := c.dir
	if ports == nil {
		ports = FreePorts(t, 2)
	} else { // the number of the port is the socket's name
		sockets = OwnedByPostgres(t, filepath.Join(c.dir, name+".sockets"))
	}
	m := &PatroniMember{
		Name: name, Port: ports[0], RESTPort: ports[1],
		data:    filepath.Join(c.dir, name),
		sockets: sockets,
		config:  filepath.Join(c.dir, name+".yml"),
	}
	hba := []string{"local all all trust", "host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"}
	if set.net != nil {
		m.host = set.net.Host(t, name)
		hba = append(hba, "host all all "+set.net.Subnet()+" trust", "host replication all "+set.net.Subnet()+" trust")
	}
	m.Host = m.host.address()
	dynamic := map[string]any{
		"postgresql": map[string]any{
			"use_pg_rewind": true,
			"parameters":    map[string]any{"max_connections": set.clients, "wal_log_hints": "on"},
		},
	}
	for k, v := range set.dcs {
		dynamic[k] = v
	}
	trust := map[string]any{"username": "postgres"}
	server := map[string]any{
		"listen": m.hostPort(m.Port), "connect_address": m.hostPort(m.Port),
		"data_dir": m.data, "bin_dir": PostgresBin(t),
		"authentication": map[string]any{"superuser": trust, "replication": trust, "rewind": trust},
		"pg_hba":         hba,
		"parameters": map[string]any{
			"unix_socket_directories": sockets, "shared_buffers": "16MB", "fsync": "off",
			// Nothing is left in /dev/shm if the server is killed.
			"dynamic_shared_memory_type": "mmap",
		},
	}
	initdb := append([]any{map[string]any{"encoding": "UTF8"}, "no-sync"}, set.initdb...)
	if set.prepare != nil {
		dir := OwnedByPostgres(t, filepath.Join(c.dir, name+".wal"))
		set.prepare(name, dir)
		wal := map[string]any{"waldir": filepath.Join(dir, "pg_wal")}
		initdb = append(initdb, wal)
		server["basebackup"] = []any{wal}
	}
	if set.local != nil {
		maps.Copy(server, set.local(name))
	}
	// JSON is YAML too.
	whole := c.store.Patroni()
	if set.consul != "" {
		whole = map[string]any{"consul": map[string]any{"host": set.consul}}
	}
	maps.Copy(whole, map[string]any{
		"scope": c.Scope, "name": name,
		"restapi": map[string]any{"listen": m.hostPort(m.RESTPort), "connect_address": m.hostPort(m.RESTPort)},
		"bootstrap": map[string]any{
			"dcs":    dynamic,
			"initdb": initdb,
		},
		"postgresql": server,
	})
	if set.adapt != nil {
		set.adapt(name, whole)
		m.secure(t, whole)
	}
	config, err := json.MarshalIndent(whole, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.config, config, 0o644); err != nil {
		t.Fatal(err)
	}
	return m
}
