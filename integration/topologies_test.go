package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// landscape is what the topologies of the examples have in common: a network, Consul,
// and a cluster with a member in each of three zones.
type landscape struct {
	net     *servertest.Network
	consul  *servertest.ConsulServer
	store   string // where the machines find it, as host:port
	cluster *servertest.PatroniCluster
}

func newLandscape(t *testing.T) *landscape {
	t.Helper()
	l := &landscape{net: servertest.NewNetwork(t, "198.51.100")}
	l.consul = servertest.Consul(t, fmt.Sprintf(`addresses { http = "127.0.0.1 %s" }`, l.net.Addr))
	_, port, err := net.SplitHostPort(l.consul.Addr)
	if err != nil {
		t.Fatal(err)
	}
	l.store = net.JoinHostPort(l.net.Addr, port)
	zones := map[string]string{"pg1": "a", "pg2": "b", "pg3": "c"}
	l.cluster = servertest.Patroni(t, l.consul, 3, servertest.Scope("batman"), servertest.On(l.net, l.store), servertest.Ports(5432, 8008),
		servertest.DynamicConfig("maximum_lag_on_failover", 1<<30), servertest.MaxConnections(100),
		servertest.Adapt(func(member string, config map[string]any) { config["tags"] = map[string]any{"zone": zones[member]} }))
	for _, name := range []string{"app", "shop"} {
		sql(l.cluster.Leader(t), "CREATE DATABASE "+name)(t)
	}
	return l
}

// box is a machine with a config of the examples, and a pgbaton that runs on it.
type box struct {
	*servertest.Box
	daemon *servertest.Process
}

// box starts a machine with an example's config, in which the pairs of change are put in
// the place of one another.
func (l *landscape) box(t *testing.T, name, example string, change ...string) *box {
	t.Helper()
	b := &box{Box: l.net.Box(t, name)}
	text, err := os.ReadFile(filepath.Join("../examples", example))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(change); i += 2 {
		if !strings.Contains(string(text), change[i]) {
			t.Fatalf("%s has no %q", example, change[i])
		}
		text = []byte(strings.ReplaceAll(string(text), change[i], change[i+1]))
	}
	servertest.File(t, b.Path("/etc/pgbaton/pgbaton.hcl"), string(text), 0o644)
	servertest.File(t, b.Path("/etc/pgbouncer/userlist.txt"), "\"postgres\" \"secret\"\n\"pgbaton\" \"secret\"\n", 0o644)
	return b
}

// at starts one with a pgbaton that runs as root, and waits for a file that this writes.
func (l *landscape) at(t *testing.T, name, example, written string, change ...string) *box {
	t.Helper()
	b := l.box(t, name, example, change...)
	b.keeps(t, b.Run(t, "env", "CONSUL_HTTP_ADDR="+l.store, binary, "run", "-config", "/etc/pgbaton/pgbaton.hcl"), written)
	return b
}

// keeps waits until the machine's pgbaton has written a file.
func (b *box) keeps(t *testing.T, daemon *servertest.Process, written string) {
	t.Helper()
	b.daemon = daemon
	servertest.Eventually(t, "pgbaton writes "+written, func() error {
		if daemon.Exited() {
			t.Fatalf("pgbaton ended:\n%s", daemon.Output())
		}
		text, err := os.ReadFile(b.Path(written)) // the package's own may be there
		if err == nil && !strings.Contains(string(text), "Written by pgbaton") {
			err = errors.New("not yet")
		}
		return err
	})
}

// does runs a program on the machine to its end.
func (b *box) does(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Deadline)
	defer cancel()
	p := b.Run(t, args...)
	if err := p.Wait(ctx); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, p.Output())
	}
}

// balances starts HAProxy there as Debian's unit does.
func (b *box) balances(t *testing.T) *servertest.Process {
	t.Helper()
	return b.balancesFor(t, "root")
}

// balancesFor starts it with a master socket that a group may use.
func (b *box) balancesFor(t *testing.T, group string) *servertest.Process {
	t.Helper()
	p := b.Run(t, "haproxy", "-W", "-S", "/run/haproxy-master.sock,mode,660,group,"+group, "-f", "/etc/haproxy/haproxy.cfg")
	b.applied(t, "haproxy.lb")
	return p
}

// pools starts PgBouncer there as Debian's unit does.
func (b *box) pools(t *testing.T) *servertest.Process {
	t.Helper()
	p := b.RunAs(t, "postgres", "pgbouncer", "/etc/pgbouncer/pgbouncer.ini")
	b.applied(t, "pgbouncer.edge")
	return p
}

func (b *box) applied(t *testing.T, target string) {
	t.Helper()
	servertest.Eventually(t, target+" follows on "+b.Name, func() error { return logged(b.daemon, "applied: target="+target) })
}

// reloads is how often pgbaton had a HAProxy read its config anew.
func (b *box) reloads() int { return strings.Count(b.daemon.Output(), `how="reload `) }

// reach is how a client reaches a database at an address.
func reach(addr string, port int, database string) endpoint {
	return endpoint{fmt.Sprintf("postgres://postgres:secret@%s:%d/%s?sslmode=disable&default_query_exec_mode=simple_protocol&connect_timeout=5", addr, port, database)}
}

// servedBy asks a session which server it is on, by its address, and which machine that
// takes for its client.
func servedBy(ctx context.Context, conn *pgx.Conn) (server, client string, err error) {
	err = conn.QueryRow(ctx, "SELECT host(inet_server_addr()), host(inet_client_addr())").Scan(&server, &client)
	return server, client, err
}

// spread is an error unless new sessions are served by all of want, and by nobody else.
func (e endpoint) spread(t *testing.T, seen func(server, client string) string, want ...string) error {
	t.Helper()
	have, err := e.serving(t, seen, 4*len(want))
	for _, w := range want {
		if err == nil && !have[w] {
			err = fmt.Errorf("none comes by %s, but by %v", w, have)
		}
		delete(have, w)
	}
	if err == nil && len(have) > 0 {
		err = fmt.Errorf("some come by %v", have)
	}
	return err
}

// within is an error if new sessions are served by another than one of want.
func (e endpoint) within(t *testing.T, seen func(server, client string) string, want ...string) error {
	t.Helper()
	have, err := e.serving(t, seen, 4)
	for by := range have {
		if err == nil && !slices.Contains(want, by) {
			err = fmt.Errorf("some come by %s", by)
		}
	}
	return err
}

// serving is who serves the next n sessions.
func (e endpoint) serving(t *testing.T, seen func(server, client string) string, n int) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	have := map[string]bool{}
	for range n {
		conn, err := pgx.Connect(ctx, e.url)
		if err != nil {
			return have, err
		}
		server, client, err := servedBy(ctx, conn)
		_ = conn.Close(ctx)
		if err != nil {
			return have, err
		}
		have[seen(server, client)] = true
	}
	return have, nil
}

func server(server, _ string) string { return server }
func client(_, client string) string { return client }

// hosts are the addresses of members.
func hosts(members ...*servertest.PatroniMember) (all []string) {
	for _, m := range members {
		all = append(all, m.Host)
	}
	return all
}

// writesOn waits until a session through the endpoint writes on a member.
func (e endpoint) writesOn(t *testing.T, m *servertest.PatroniMember) {
	t.Helper()
	servertest.Eventually(t, "writes reach "+m.Name, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, e.url)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		if _, err = conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS landed (at timestamptz); INSERT INTO landed VALUES (now())"); err != nil {
			return err
		}
		at, _, err := servedBy(ctx, conn)
		if err == nil && at != m.Host {
			err = fmt.Errorf("it is on %s, %s on %s", at, m.Name, m.Host)
		}
		return err
	})
}

// unnoticed wants a switchover that no writer notices, but one whose transaction was under
// way on a slow machine. daemons are the pgbatons that hold.
func (l *landscape) unnoticed(t *testing.T, through endpoint, daemons ...*box) {
	t.Helper()
	l.cluster.AwaitReady(t)
	w := servertest.StartWriters(t, through.url, 8)
	next := l.cluster.Replicas(t)[0]
	l.cluster.Switchover(t, next)
	through.writesOn(t, next)
	w.Everyone(t, time.Now())
	failed, missing := w.End(t, next)
	for _, b := range daemons {
		failed, _ = (&edge{daemon: b.daemon}).noticed(t, failed)
	}
	if len(failed)+len(missing) > 0 {
		t.Errorf("%d errors, first of them %v; %d acknowledged rows missing", len(failed), errors.Join(failed...), len(missing))
	}
	t.Logf("a switchover: longest stall %v, %d rows", w.Stall().Round(time.Millisecond), w.Rows())
	l.cluster.AwaitReady(t)
}

// TestTopologies runs the examples that docs/topologies.md names.
func TestTopologies(t *testing.T) {
	t.Parallel()
	l := newLandscape(t)
	t.Run("examples/three-zones", l.threeZones) // first, as it wants the leader to be in zone a
	t.Run("examples/systemd", l.oneMachine)
	t.Run("examples/haproxy-keepalived", l.twoBalancers)
	t.Run("examples/haproxy-pgbouncer", l.twoPoolers)
	t.Run("examples/barman-haproxy", l.barmanBeside)
}

// oneMachine: pgbouncer and HAProxy beside one another on a machine of the application,
// kept by a user of pgbaton's own.
func (l *landscape) oneMachine(t *testing.T) {
	b := l.box(t, "edge", "systemd/pgbaton.hcl", "127.0.0.1:8500", l.store,
		"  token_file = \"/etc/pgbaton/consul-token\" # leave it out if Consul has no ACLs\n", "")
	for name, path := range map[string]string{
		"pgbaton.sysusers": "/etc/sysusers.d/pgbaton.conf", "pgbaton.tmpfiles": "/etc/tmpfiles.d/pgbaton.conf",
		"destinations.tmpfiles": "/etc/tmpfiles.d/pgbaton-destinations.conf",
	} {
		text, err := os.ReadFile("../examples/systemd/" + name)
		if err != nil {
			t.Fatal(err)
		}
		b.does(t, "mkdir", "-p", filepath.Dir(path))
		servertest.File(t, b.Path(path), string(text), 0o644)
	}
	b.does(t, "systemd-sysusers")
	b.does(t, "systemd-tmpfiles", "--create", "pgbaton.conf", "pgbaton-destinations.conf")
	b.does(t, "chown", "pgbaton:", "/var/lib/pgbaton")
	servertest.File(t, b.Path("/etc/pgbaton/console-password"), "secret\n", 0o640)
	b.does(t, "chgrp", "pgbaton", "/etc/pgbaton/console-password")
	b.keeps(t, b.RunAs(t, "pgbaton", binary, "run", "-config", "/etc/pgbaton/pgbaton.hcl"), "/etc/haproxy/haproxy.cfg")
	b.balancesFor(t, "pgbaton")
	b.pools(t)

	leader := l.cluster.Leader(t)
	shop, reports := reach(b.Addr, 6432, "shop"), reach(b.Addr, 6432, "shop_ro")
	reach(b.Addr, 5000, "shop").writesOn(t, leader)
	stays, err := pgx.Connect(t.Context(), reports.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stays.Close(context.Background()) }()
	l.unnoticed(t, shop, b)
	servertest.Eventually(t, "shop_ro leads to the replicas", func() error { return reports.within(t, server, hosts(l.cluster.Replicas(t)...)...) })
	servertest.Eventually(t, "a client of shop_ro goes on", func() error {
		at, _, err := servedBy(t.Context(), stays)
		if err != nil {
			t.Fatal(err)
		}
		if at == l.cluster.Leader(t).Host {
			return errors.New("it is on the leader")
		}
		return nil
	})
	reach(b.Addr, 5000, "shop").writesOn(t, l.cluster.Leader(t))
}

// behind is the config of a pgbouncer with HAProxy behind it, which nobody changes.
const behind = `[databases]
app = host=198.51.100.10 port=5000
[pgbouncer]
listen_addr = *
listen_port = 6432
unix_socket_dir = /run/postgresql
auth_type = scram-sha-256
auth_file = /etc/pgbouncer/userlist.txt
pool_mode = transaction
`

// twoBalancers: clients know one address. It moves when the balancer that has it dies,
// and when HAProxy there does; behind it, writes reach whoever leads.
func (l *landscape) twoBalancers(t *testing.T) {
	const vip = "198.51.100.10"
	var balancers [2]*box
	var proxies [2]*servertest.Process
	for i := range balancers {
		b := l.at(t, fmt.Sprintf("lb%d", i+1), "haproxy-keepalived/pgbaton.hcl", "/etc/haproxy/haproxy.cfg")
		proxies[i] = b.balances(t)
		b.Run(t, "keepalived", "-n", "-l", "-P")
		b.applied(t, "keepalived.vip")
		balancers[i] = b
	}
	hasIt := func(b *box) bool { return strings.Contains(b.Addresses(t), vip+"/") }
	moved := func(to, from *box) func() error {
		return func() error {
			if !hasIt(to) || hasIt(from) {
				return fmt.Errorf("%s has it: %v, %s: %v", to.Name, hasIt(to), from.Name, hasIt(from))
			}
			return nil
		}
	}
	one := 0
	servertest.Eventually(t, "one has the address", func() error {
		if hasIt(balancers[0]) == hasIt(balancers[1]) {
			return fmt.Errorf("both: %v", hasIt(balancers[0]))
		}
		if hasIt(balancers[1]) {
			one = 1
		}
		return nil
	})
	first, second := balancers[one], balancers[1-one]
	write, read := reach(vip, 5000, "app"), reach(vip, 5001, "app")
	write.writesOn(t, l.cluster.Leader(t))
	servertest.Eventually(t, "reads come from the replicas", func() error { return read.spread(t, server, hosts(l.cluster.Replicas(t)...)...) })

	// A pgbouncer that knows the address alone: HAProxy behind.
	servertest.File(t, first.Path("/etc/pgbouncer/pgbouncer.ini"), behind, 0o644)
	first.RunAs(t, "postgres", "pgbouncer", "/etc/pgbouncer/pgbouncer.ini")
	w := servertest.StartWriters(t, reach(first.Addr, 6432, "app").url, 8)
	next := l.cluster.Replicas(t)[0]
	l.cluster.Switchover(t, next)
	write.writesOn(t, next)
	w.Everyone(t, time.Now())
	failed, missing := w.End(t, next)
	t.Logf("a switchover with HAProxy behind pgbouncer: longest stall %v, %d errors, as %v", w.Stall().Round(time.Millisecond), len(failed), errors.Join(failed...))
	if len(missing) > 0 {
		t.Errorf("%d acknowledged rows are missing", len(missing))
	}
	l.cluster.AwaitReady(t)

	first.Signal(t, proxies[one], syscall.SIGKILL)
	servertest.Eventually(t, "the address leaves a machine without HAProxy", moved(second, first))
	write.writesOn(t, next)
	proxies[one] = first.balances(t)
	if hasIt(first) {
		t.Error("the address went back by itself")
	}

	second.Die(t)
	servertest.Eventually(t, "the address leaves a machine that is dead", func() error {
		if !hasIt(first) {
			return errors.New("it does not")
		}
		return nil
	})
	write.writesOn(t, next)
	next = l.cluster.Replicas(t)[0]
	l.cluster.Switchover(t, next)
	write.writesOn(t, next)
	l.cluster.AwaitReady(t)
}

// threeZones: reads stay in their zone, leave it while its replica lags, and come back;
// an application with a pool of its own, and one behind pgbouncer.
func (l *landscape) threeZones(t *testing.T) {
	byZone := map[string]*servertest.PatroniMember{"a": l.cluster.Members[0], "b": l.cluster.Members[1], "c": l.cluster.Members[2]}
	if leader := l.cluster.Leader(t); leader != byZone["a"] {
		t.Fatalf("%s leads", leader.Name)
	}
	leader, inB, inC := byZone["a"], byZone["b"], byZone["c"]
	beat(t, leader)
	boxes := map[string]*box{}
	reads, pooled := map[string]endpoint{}, map[string]endpoint{}
	for _, zone := range []string{"a", "b", "c"} {
		b := l.at(t, "zone-"+zone, "three-zones/pgbaton.hcl", "/etc/haproxy/haproxy.cfg",
			`= "a"`, fmt.Sprintf("= %q", zone), "{}", "{ dwell = \"1s\" }", `"5s"`, "\"5s\"\n dwell = \"1s\"")
		b.balances(t)
		b.pools(t)
		boxes[zone], reads[zone], pooled[zone] = b, reach(b.Addr, 5001, "app"), reach(b.Addr, 6432, "app_ro")
	}
	// One pool serves session after session with the same connection.
	serve := func(what string, by map[string][]*servertest.PatroniMember) {
		t.Helper()
		for zone, members := range by {
			servertest.Eventually(t, "reads in zone "+zone+": "+what, func() error { return reads[zone].spread(t, server, hosts(members...)...) })
		}
	}
	pool := func(what string, by map[string][]*servertest.PatroniMember) {
		t.Helper()
		for zone, members := range by {
			servertest.Eventually(t, "app_ro in zone "+zone+": "+what, func() error { return pooled[zone].within(t, server, hosts(members...)...) })
		}
	}
	type served = map[string][]*servertest.PatroniMember
	steady := served{"a": {inB, inC}, "b": {inB}, "c": {inC}}
	serve("the zone's replica serves, or both where there is none", steady)
	pool("it leads there too", steady)

	stays, err := pgx.Connect(t.Context(), pooled["b"].url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stays.Close(context.Background()) }()
	ask := func(want *servertest.PatroniMember) func() error {
		return func() error {
			at, _, err := servedBy(t.Context(), stays)
			if err != nil {
				t.Fatalf("a client of app_ro was cut off: %v", err)
			}
			if at != want.Host {
				return fmt.Errorf("it is on %s", at)
			}
			return nil
		}
	}
	servertest.Eventually(t, "a client of app_ro is on the zone's replica", ask(inB))

	replay(inB, syscall.SIGSTOP)(t)
	away := served{"a": {inC}, "b": {inC}, "c": {inC}}
	serve("the other zone's replica stands in", away)
	pool("it leads there too", away)
	servertest.Eventually(t, "its client of before is there as well", ask(inC))

	// None is well: one port prefers what is stale to the leader, but not what hangs; app_ro
	// has the leader.
	inC.Freeze(t)
	pool("it leads to the leader", served{"a": {leader}, "b": {leader}, "c": {leader}})
	servertest.Eventually(t, "the client of before is there as well", ask(leader))
	serve("the one that only lags serves", served{"a": {inB}, "b": {inB}, "c": {inB}})

	inC.Thaw(t)
	replay(inB, syscall.SIGCONT)(t)
	serve("the zone's replica serves again", steady)
	pool("it leads there too", steady)
	servertest.Eventually(t, "the client of before is back", ask(inB))
	for zone, b := range boxes {
		if n := b.reloads(); n > 1 { // the first is that of the start
			t.Errorf("in zone %s haproxy was reloaded %d times:\n%s", zone, n, b.daemon.Output())
		}
	}
}

// twoPoolers: HAProxy in front of two pgbouncers, which it finds in the catalog. No client
// has an error at a switchover, and a pooler can be taken out, or hang.
func (l *landscape) twoPoolers(t *testing.T) {
	var poolers [2]*box
	var processes [2]*servertest.Process
	for i := range poolers {
		poolers[i] = l.at(t, fmt.Sprintf("pool%d", i+1), "haproxy-pgbouncer/pooler.hcl", "/etc/pgbouncer/pgbouncer.ini")
		processes[i] = poolers[i].pools(t)
		l.register(t, poolers[i])
	}
	// A hold is as long as many checks then.
	lb := l.at(t, "lb", "haproxy-pgbouncer/balancer.hcl", "/etc/haproxy/haproxy.cfg", "  master_socket", "  vars = { check_interval = \"200ms\" }\n  master_socket")
	proxy := lb.balances(t)
	app := reach(lb.Addr, 5000, "app")
	both := []string{poolers[0].Addr, poolers[1].Addr}
	servertest.Eventually(t, "both poolers serve", func() error { return app.spread(t, client, both...) })
	servertest.Eventually(t, "app_ro leads to the replicas", func() error {
		return reach(lb.Addr, 5000, "app_ro").within(t, server, hosts(l.cluster.Replicas(t)...)...)
	})

	l.unnoticed(t, app, poolers[0], poolers[1])
	if out := proxy.Output(); strings.Contains(out, "is DOWN") {
		t.Errorf("a pooler that held its clients failed its check:\n%s", out)
	}

	t.Run("maintenance", func(t *testing.T) {
		stays := l.clientOf(t, app, poolers[0])
		agent := l.consul.Client.Agent()
		if err := agent.EnableServiceMaintenance(poolers[0].Name, "it gets a new kernel"); err != nil {
			t.Fatal(err)
		}
		servertest.Eventually(t, "new sessions go to the other", func() error { return app.spread(t, client, both[1]) })
		if _, at, err := servedBy(t.Context(), stays); err != nil || at != both[0] {
			t.Errorf("its session of before: %v, by %s", err, at)
		}
		if err := agent.DisableServiceMaintenance(poolers[0].Name); err != nil {
			t.Fatal(err)
		}
		servertest.Eventually(t, "it serves again", func() error { return app.spread(t, client, both...) })
	})
	t.Run("a pooler that hangs", func(t *testing.T) {
		poolers[1].Signal(t, processes[1], syscall.SIGSTOP)
		servertest.Eventually(t, "new sessions go to the other", func() error { return app.spread(t, client, both[0]) })
		if err := logged(proxy, "is DOWN"); err != nil {
			t.Error(err) // and what is looked for above means something
		}
		poolers[1].Signal(t, processes[1], syscall.SIGCONT)
		servertest.Eventually(t, "it serves again", func() error { return app.spread(t, client, both...) })
	})
	t.Run("a pooler that dies", func(t *testing.T) {
		w := servertest.StartWriters(t, app.url, 8)
		poolers[1].Die(t)
		servertest.Eventually(t, "new sessions go to the other", func() error { return app.spread(t, client, both[0]) })
		w.Progress(t, 100)
	})
	if n := lb.reloads(); n > 1 {
		t.Errorf("haproxy was reloaded %d times:\n%s", n, lb.daemon.Output())
	}
}

// barmanBeside: Barman follows the leader by itself, and applications through HAProxy.
func (l *landscape) barmanBeside(t *testing.T) {
	leader := l.cluster.Leader(t)
	sql(leader, "CREATE ROLE barman LOGIN SUPERUSER", "CREATE ROLE streaming_barman LOGIN REPLICATION")(t)
	lb := l.at(t, "lb", "haproxy-keepalived/pgbaton.hcl", "/etc/haproxy/haproxy.cfg")
	lb.balances(t)
	write := reach(lb.Addr, 5000, "app")
	write.writesOn(t, leader)

	b := l.box(t, "barman", "barman-haproxy/pgbaton.hcl", "/usr/lib/postgresql/15/bin", servertest.PostgresBin(t))
	b.does(t, "chown", "barman:", "/etc/barman.d", "/var/lib/pgbaton")
	b.keeps(t, b.RunAs(t, "barman", "env", "HOME=/var/lib/barman", "CONSUL_HTTP_ADDR="+l.store, binary, "run", "-config", "/etc/pgbaton/pgbaton.hcl"), "/etc/barman.d/main.conf")
	barman := func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), servertest.Deadline)
		defer cancel()
		p := b.RunAs(t, "barman", append([]string{"env", "HOME=/var/lib/barman", "barman"}, args...)...)
		if err := p.Wait(ctx); err != nil {
			return "", fmt.Errorf("barman %v: %w: %s", args, err, p.Output())
		}
		return p.Output(), nil
	}
	backsUp := func(m *servertest.PatroniMember, backups int) {
		t.Helper()
		servertest.Eventually(t, "barman streams from "+m.Name, func() error {
			out, err := barman("show-servers", "main")
			if err == nil && !strings.Contains(out, fmt.Sprintf("\tstreaming_conninfo: host=%s port=%d ", m.Host, m.Port)) {
				err = errors.New(out)
			}
			if err == nil && backups == 1 { // its check wants a first file of WAL
				_, err = barman("switch-wal", "--force", "--archive", "--archive-timeout", "5", "main")
			}
			if err == nil {
				_, err = barman("check", "main")
			}
			return err
		})
		if _, err := barman("backup", "--wait", "main"); err != nil {
			t.Fatal(err)
		}
		out, err := barman("list-backups", "--minimal", "main")
		if err != nil || strings.Count(out, "\n") != backups {
			t.Errorf("want %d backups: %v: %s", backups, err, out)
		}
	}
	backsUp(leader, 1)
	next := l.cluster.Replicas(t)[0]
	l.cluster.Switchover(t, next)
	write.writesOn(t, next)
	l.cluster.AwaitReady(t)
	backsUp(next, 2)
}

// register puts a pgbouncer into the catalog as its machine's agent does, from the example's file.
func (l *landscape) register(t *testing.T, b *box) {
	t.Helper()
	text, err := os.ReadFile("../examples/haproxy-pgbouncer/service.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Service api.AgentServiceRegistration `json:"service"`
	}
	// There is one agent for all machines here.
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), "127.0.0.1", b.Addr)), &file); err != nil {
		t.Fatal(err)
	}
	file.Service.ID, file.Service.Address = b.Name, b.Addr
	if err := l.consul.Client.Agent().ServiceRegister(&file.Service); err != nil {
		t.Fatal(err)
	}
}

// clientOf opens sessions until one comes by a pooler.
func (l *landscape) clientOf(t *testing.T, e endpoint, pooler *box) *pgx.Conn {
	t.Helper()
	var found *pgx.Conn
	servertest.Eventually(t, "a session by "+pooler.Name, func() error {
		conn, err := pgx.Connect(t.Context(), e.url)
		if err != nil {
			return err
		}
		_, at, err := servedBy(t.Context(), conn)
		if err == nil && at != pooler.Addr {
			err = fmt.Errorf("it comes by %s", at)
		}
		if err != nil {
			_ = conn.Close(t.Context())
			return err
		}
		found = conn
		return nil
	})
	t.Cleanup(func() { _ = found.Close(context.Background()) })
	return found
}
