package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/internal/status"
	"github.com/pgbaton/pgbaton/watcher"
)

// dcses are the stores that a cluster without Patroni may be kept in.
var dcses = map[string]func(*testing.T) servertest.DCS{
	"consul": func(t *testing.T) servertest.DCS { return servertest.Consul(t) },
	"etcd":   func(t *testing.T) servertest.DCS { return servertest.Etcd(t, 1) },
}

// stopped is a server that has run once, to make others of.
func stopped(t *testing.T) *servertest.Postgres {
	t.Helper()
	s := servertest.NewPostgres(t, servertest.PostgresDir(t), "base")
	s.Start(t, false)
	s.Stop()
	return s
}

// pair are two real servers of one system: the first takes writes, the second is in
// recovery.
func pair(t *testing.T, base *servertest.Postgres) (first, second *servertest.Postgres) {
	t.Helper()
	name := strings.ReplaceAll(t.Name(), "/", "-")
	first, second = base.Copy(t, name+"-1"), base.Copy(t, name+"-2")
	first.Start(t, false)
	second.Start(t, true)
	return first, second
}

// leads waits until the first cluster of an edge stands as it should: phase, leader, whom
// the key names, replicas that serve.
func (e *edge) leads(t *testing.T, step, want string) status.Status {
	t.Helper()
	return stands(t, e.dir, step+": "+want, func(s status.Status) error {
		if len(s.Clusters) != 1 || len(s.Targets) != 1 {
			return fmt.Errorf("there are %d clusters", len(s.Clusters))
		}
		c, leader, replicas := s.Clusters[0], "nobody", []string{}
		if c.Leader != nil {
			leader = c.Leader.Name
		}
		for _, r := range c.Replicas {
			if r.Serves {
				replicas = append(replicas, r.Name)
			}
		}
		have := fmt.Sprintf("%s %s, key %q, replicas %s", c.Phase, leader, c.Key, strings.Join(replicas, " "))
		if len(s.Targets[0].Held) > 0 {
			have += ", held"
		}
		if have != want {
			return fmt.Errorf("it is %s (problems %v)", have, c.Problems)
		}
		return nil
	})
}

// TestStolonFailover plays the failover of a real Stolon through real stores: pgbaton and a
// pgbouncer follow it between two real servers. The old master lives on behind the fence,
// and would take writes.
func TestStolonFailover(t *testing.T) {
	base := stopped(t)
	for name, open := range dcses {
		t.Run(name, func(t *testing.T) {
			store := open(t)
			first, second := pair(t, base)
			steps := stolonSteps(t, first, map[string]int{"keeper1": first.Port, "keeper2": second.Port, "keeper3": servertest.FreePort(t)})
			put := func(step string) { store.Put(t, "stolon/cluster/demo/clusterdata", steps[step]) }
			e := edgeOf(t, store, edgeSettings{cluster: "cluster \"stolon\" \"main\" {\n  cluster_name = \"demo\"\n  hold_timeout = \"10m\"\n}"})

			put("00")
			e.daemon = startDaemon(t, e.dir, e.config)
			for _, step := range []string{"00", "02"} {
				put(step)
				e.leads(t, step, `starting nobody, key "", replicas `)
			}
			put("05")
			e.leads(t, "05", `steady keeper1, key "keeper1", replicas `)
			servertest.Eventually(t, "pgbouncer's config is written", func() error { _, err := os.Stat(e.ini); return err })
			e.pooler = servertest.PgBouncer(t, e.ini, e.port)
			clients := through(e.port)
			clients.landsAt(t, "keeper1", first.Port)
			for _, step := range []struct{ name, replicas string }{{"15", ""}, {"18", "keeper2"}, {"19", "keeper2 keeper3"}} {
				put(step.name)
				e.leads(t, step.name, `steady keeper1, key "keeper1", replicas `+step.replicas)
			}
			clients.landsAt(t, "keeper1", first.Port)
			servertest.Eventually(t, "pgbouncer follows", func() error { return e.logged("applied:") })

			put("20")
			if s := e.leads(t, "20", `leaderless keeper1, key "", replicas keeper3, held`); !s.Clusters[0].Fenced {
				t.Errorf("status does not say that it is fenced: %+v", s.Clusters[0])
			}
			e.isHeld(t, true)
			rows := first.Ask(t, "SELECT count(*)::text FROM landed")
			type landed struct {
				port int
				err  error
			}
			waiting := make(chan landed, 1)
			go func() {
				port, err := clients.writeWithin(t.Context())
				waiting <- landed{port, err}
			}()
			put("21")
			e.leads(t, "21", `promoting keeper1, key "keeper2", replicas keeper3, held`)
			e.isHeld(t, true)
			if now := first.Ask(t, "SELECT count(*)::text FROM landed"); now != rows || first.Ask(t, "SELECT pg_is_in_recovery()::text") != "false" {
				t.Errorf("the old master has %s rows, %s before the fence", now, rows)
			}
			select {
			case l := <-waiting:
				t.Fatalf("a client was let through to port %d before anybody was confirmed: %v", l.port, l.err)
			default:
			}
			first.Kill()
			second.Promote(t)
			if l := <-waiting; l.err != nil || l.port != second.Port {
				t.Errorf("who waited landed on port %d, keeper2 is on %d: %v", l.port, second.Port, l.err)
			}
			s := e.leads(t, "21", `steady keeper2, key "keeper2", replicas keeper3`)
			if c := s.Clusters[0]; c.By != "sql" || c.Timeline != 2 || c.Created != 13 {
				t.Errorf("confirmed by %s, timeline %d, term %d", c.By, c.Timeline, c.Created)
			}
			for _, step := range []struct{ name, replicas string }{{"22", "keeper3"}, {"23", "keeper3"}, {"25", "keeper1 keeper3"}} {
				put(step.name)
				e.leads(t, step.name, `steady keeper2, key "keeper2", replicas `+step.replicas)
			}
			clients.landsAt(t, "keeper2", second.Port)
			e.nothingHeld(t)

			// A store that was restored from a backup is not believed.
			put("19")
			stands(t, e.dir, "older clusterdata is refused", func(s status.Status) error {
				if c := s.Clusters[0]; len(c.Alarms) != 1 || c.Alarms[0].Kind != status.AlarmRefused || c.Leader.Name != "keeper2" {
					return fmt.Errorf("alarms %v, leader %v", c.Alarms, c.Leader)
				}
				return nil
			})
			clients.landsAt(t, "keeper2", second.Port)
			stopDaemon(t, e.daemon)
		})
	}
}

// stolonSteps are the recorded clusterdata by the beginning of their names, for servers of
// a real system at other ports.
func stolonSteps(t *testing.T, of *servertest.Postgres, ports map[string]int) map[string]string {
	t.Helper()
	system := of.Ask(t, "SELECT system_identifier::text FROM pg_control_system()")
	paths, err := filepath.Glob(filepath.Join(servertest.ModuleRoot(t), "watcher/cluster/testdata/stolon/*.json"))
	if err != nil || len(paths) != 11 {
		t.Fatalf("%d recordings: %v", len(paths), err)
	}
	steps := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var data map[string]any
		if err := json.Unmarshal(text, &data); err != nil {
			t.Fatal(err)
		}
		dbs, _ := data["dbs"].(map[string]any)
		for _, db := range dbs {
			keeper, _ := db.(map[string]any)["spec"].(map[string]any)["keeperUID"].(string)
			if st, _ := db.(map[string]any)["status"].(map[string]any); st["port"] != nil {
				st["port"], st["systemdID"] = fmt.Sprint(ports[keeper]), system
			}
		}
		if text, err = json.Marshal(data); err != nil {
			t.Fatal(err)
		}
		steps[filepath.Base(path)[:2]] = string(text)
	}
	return steps
}

// TestKeyMoves: a plain key names one of two real servers after the other, in every form
// that it may have. A pgbouncer follows.
func TestKeyMoves(t *testing.T) {
	base := stopped(t)
	stores := maps.Clone(dcses)
	stores["zookeeper"] = func(t *testing.T) servertest.DCS { return servertest.ZooKeeper(t, 1) } // where Agrajag puts it
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			store := open(t)
			first, second := pair(t, base)
			catalog, is := store.(*servertest.ConsulServer)
			settings := edgeSettings{cluster: "cluster \"key\" \"main\" {\n  path    = \"service/pg/leader\"\n  service = \"postgres\"\n"}
			if !is { // the catalog is Consul's all the same
				catalog = servertest.Consul(t)
				settings.blocks = catalog.Block()
				settings.cluster += "  catalog_store = \"consul\"\n"
			}
			settings.cluster += "  confirm = [\"sql\"]\n}"
			for id, s := range map[string]*servertest.Postgres{"pg1": first, "pg2": second} {
				register(t, catalog, id, s.Port)
			}
			put := func(text string, values ...any) { store.Put(t, "service/pg/leader", fmt.Sprintf(text, values...)) }

			put("127.0.0.1:%d", first.Port)
			e := edgeOf(t, store, settings)
			e.start(t)
			clients := through(e.port)
			clients.landsAt(t, "pg1", first.Port)
			e.leads(t, "by address", `steady pg1, key "pg1", replicas `) // pg2 does not pass its check

			// The key comes before the server takes writes: clients wait.
			put("postgres://somebody@127.0.0.1:%d/postgres", second.Port)
			e.leads(t, "by URL", `promoting pg1, key "pg2", replicas , held`)
			e.isHeld(t, true)
			second.Promote(t)
			clients.landsAt(t, "pg2", second.Port)
			e.leads(t, "by URL", `steady pg2, key "pg2", replicas pg1`)

			put(`{"host": "127.0.0.1", "port": %d}`, first.Port)
			clients.landsAt(t, "pg1", first.Port)
			put("pg2")
			clients.landsAt(t, "pg2", second.Port)
			put("pg9")
			stands(t, e.dir, "a name that nobody has is told", func(s status.Status) error {
				if c := s.Clusters[0]; len(c.Problems) != 1 || c.Problems[0].Key != "service/pg/leader" || c.Leader.Name != "pg2" {
					return fmt.Errorf("problems %v, leader %v", c.Problems, c.Leader)
				}
				return nil
			})
			clients.landsAt(t, "pg2", second.Port)

			// Without the key its last leader serves on, as long as it takes writes.
			store.Delete(t, "service/pg/leader")
			e.leads(t, "without the key", `steady pg2, key "", replicas pg1`)
			clients.landsAt(t, "pg2", second.Port)
			second.Kill()
			e.leads(t, "without the key and its leader", `leaderless pg2, key "", replicas pg1, held`)
			put("pg1")
			clients.landsAt(t, "pg1", first.Port)
			e.nothingHeld(t)
			stopDaemon(t, e.daemon)
		})
	}
}

// register registers a server as an instance of the service postgres. The check of pg2
// fails.
func register(t *testing.T, consul *servertest.ConsulServer, id string, port int) {
	t.Helper()
	state := watcher.Passing
	if id == "pg2" {
		state = watcher.Critical
	}
	err := consul.Client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: id, Name: "postgres", Address: "127.0.0.1", Port: port, Check: &api.AgentServiceCheck{TTL: "1h", Status: state},
	})
	if err != nil {
		t.Fatal(err)
	}
}
