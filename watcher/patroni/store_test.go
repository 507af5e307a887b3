package patroni_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/login"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
	"github.com/pgbaton/pgbaton/watcher/patroni"
	"github.com/pgbaton/pgbaton/watcher/watchertest"
)

func open(t testing.TB, c patroni.Config) watcher.Store {
	t.Helper()
	store, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// addresses are those of the members' REST servers.
func addresses(c *servertest.PatroniCluster) (list []string) {
	for _, m := range c.Members {
		list = append(list, m.API())
	}
	return list
}

// follower reads a cluster as pgbaton does, and keeps each state of it.
type follower struct {
	sub   *watcher.Subscription
	query watcher.Query
	scope string

	mu   sync.Mutex
	past []cluster.Cluster
}

func follow(t *testing.T, store watcher.Store, scope string) *follower {
	t.Helper()
	w := watcher.New(map[string]watcher.Store{watcher.Catalog: store}, hclog.NewNullLogger())
	f := &follower{sub: w.Subscribe(), query: watcher.Query{Kind: watcher.Prefix, Path: "service/" + scope + "/"}, scope: scope}
	f.sub.Want(map[watcher.Query]struct{}{f.query: {}})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-f.sub.Changed():
				if c, _ := f.now(); c != nil {
					f.mu.Lock()
					f.past = append(f.past, *c)
					f.mu.Unlock()
				}
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	f.until(t, "the cluster is read", func(*cluster.Cluster) error { return nil })
	return f
}

func (f *follower) now() (*cluster.Cluster, error) {
	a := f.sub.Snapshot()[f.query]
	pairs, ok := a.Value.([]watcher.Pair)
	if !ok {
		return nil, a.Err
	}
	c := cluster.DecodePatroni(f.scope, f.query.Path, pairs)
	return &c, a.Err
}

// until waits until the cluster is so, and confirmed.
func (f *follower) until(t *testing.T, what string, is func(*cluster.Cluster) error) *cluster.Cluster {
	t.Helper()
	var found *cluster.Cluster
	servertest.Eventually(t, what, func() error {
		c, err := f.now()
		if err == nil && c == nil {
			err = errors.New("nothing was read yet")
		}
		if err == nil {
			err = is(c)
		}
		found = c
		return err
	})
	return found
}

// pause turns the pause mode on or off, by a member.
func pause(t testing.TB, m *servertest.PatroniMember, on bool) {
	t.Helper()
	body := `{"pause":null}`
	if on {
		body = `{"pause":true}`
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, m.API()+"/config", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusOK {
		t.Fatalf("pause: %s", resp.Status)
	}
}

func isPaused(want bool) func(*cluster.Cluster) error {
	return func(c *cluster.Cluster) error {
		if c.Paused != want {
			return fmt.Errorf("it is paused: %v", c.Paused)
		}
		return nil
	}
}

func leads(name string) func(*cluster.Cluster) error {
	return func(c *cluster.Cluster) error {
		if c.Leader == nil || c.Leader.Name != name || c.Leader.Role != "primary" {
			return fmt.Errorf("the leader is %+v, of key %+v", c.Leader, c.Key)
		}
		return nil
	}
}

// TestCluster follows a real cluster by its members alone, from one of them, and breaks
// it in every way.
func TestCluster(t *testing.T) {
	consul := servertest.Consul(t)
	at := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	line := faulttest.NewLine(t, at, consul.Addr)
	c := servertest.Patroni(t, consul, 3, servertest.Adapt(func(member string, config map[string]any) {
		if member == "pg3" {
			config["consul"] = map[string]any{"host": at}
		}
		config["tags"] = map[string]any{"rack": "r-" + member}
	}))
	f := follow(t, open(t, patroni.Config{Members: addresses(c)[1:2]}), c.Scope)

	t.Run("what Patroni has in its store", func(t *testing.T) {
		f.until(t, "it is the same", func(got *cluster.Cluster) error {
			pairs, _, err := consul.Client.KV().List(c.Key(""), nil)
			if err != nil {
				return err
			}
			var keys []watcher.Pair
			for _, p := range pairs {
				keys = append(keys, watcher.Pair{Path: p.Key, Value: string(p.Value)})
			}
			want := cluster.DecodePatroni(c.Scope, c.Key(""), keys)
			want.Key, got.Key = cluster.LeaderKey{}, cluster.LeaderKey{Session: got.Key.Session}
			if !got.Same(&want) {
				return fmt.Errorf("it is\n%+v, want\n%+v", got, want)
			}
			return nil
		})
	})
	t.Run("the scope of another", func(t *testing.T) {
		_, err := open(t, patroni.Config{Members: addresses(c)}).Fetch(t.Context(), watcher.Query{Kind: watcher.Prefix, Path: "service/other/"}, 0)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("are of scope %q", c.Scope)) || !strings.Contains(hint.Of(err), c.Scope) {
			t.Errorf("error %v, hint %q", err, hint.Of(err))
		}
	})
	t.Run("pause", func(t *testing.T) {
		c.Ctl(t, "pause", c.Scope)
		f.until(t, "it is paused", isPaused(true))
		c.Ctl(t, "resume", c.Scope)
		f.until(t, "it goes on", isPaused(false))
	})
	t.Run("a REST server that hangs", func(t *testing.T) {
		m, other := c.Leader(t), c.Replicas(t)[0]
		before := f.until(t, "all is well", leads(m.Name))
		m.FreezePatroni(t)
		for _, on := range []bool{true, false} { // the others say what there is
			pause(t, other, on)
			f.until(t, "it goes on", isPaused(on))
		}
		after := f.until(t, "the leader leads", leads(m.Name))
		if after.Key != before.Key || len(after.Members) != 3 {
			t.Errorf("key %+v, before %+v, members %+v", after.Key, before.Key, after.Members)
		}
		m.Thaw(t)
	})
	t.Run("a member without its store", func(t *testing.T) {
		mend := line.Cut(t)
		old := c.Leader(t)
		next := c.Member(t, map[string]string{"pg1": "pg2", "pg2": "pg1"}[old.Name])
		before := f.until(t, "all is well", leads(old.Name)).Key.Created
		c.Switchover(t, next)
		after := f.until(t, "the others say who leads", leads(next.Name)).Key.Created
		if after <= before {
			t.Errorf("the reign of before is %d, this one %d", before, after)
		}
		mend()
		c.AwaitReady(t)
	})
	t.Run("a switchover", func(t *testing.T) {
		old, next := c.Leader(t), c.Member(t, "pg3")
		f.mu.Lock()
		f.past = nil
		f.mu.Unlock()
		c.Switchover(t, next)
		f.until(t, "the next one leads", leads(next.Name))
		f.mu.Lock()
		defer f.mu.Unlock()
		var reigns []cluster.LeaderKey
		for _, c := range f.past {
			if c.Key.Name != "" && !slices.Contains(reigns, c.Key) {
				reigns = append(reigns, c.Key)
			}
		}
		if n := len(reigns); n == 0 || n > 2 || reigns[n-1].Name != next.Name || n == 2 && (reigns[0].Name != old.Name || reigns[0].Created+1 != reigns[1].Created) {
			t.Errorf("leader keys: %+v", reigns)
		}
	})
	t.Run("a switchover with a time", func(t *testing.T) {
		c.AwaitReady(t)
		at := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		c.Ctl(t, "switchover", c.Scope, "--leader", "pg3", "--candidate", "pg1", "--scheduled", at, "--force")
		f.until(t, "it is known", func(c *cluster.Cluster) error {
			if c.Failover == nil || c.Failover.Leader != "pg3" || c.Failover.Member != "pg1" || c.Failover.ScheduledAt.UTC().Format(time.RFC3339) != at {
				return fmt.Errorf("it is %+v", c.Failover)
			}
			return nil
		})
		c.Ctl(t, "flush", c.Scope, "switchover", "--force")
		f.until(t, "it is called off", func(c *cluster.Cluster) error {
			if c.Failover != nil {
				return fmt.Errorf("it is %+v", c.Failover)
			}
			return nil
		})
	})
	t.Run("the leader crashes", func(t *testing.T) {
		old := c.Leader(t)
		old.Kill()
		f.until(t, "another one leads", func(c *cluster.Cluster) error {
			if c.Leader == nil || c.Leader.Name == old.Name {
				return fmt.Errorf("%+v leads", c.Leader)
			}
			return leads(c.Leader.Name)(c)
		})
		if _, err := f.now(); err != nil {
			t.Errorf("two of three are enough: %v", err)
		}
		old.Start(t)
		c.AwaitReady(t)
	})
}

// TestSecure asks servers that speak TLS, want our certificate, and a password.
func TestSecure(t *testing.T) {
	a := servertest.AuthorityIn(t, servertest.PostgresDir(t))
	for _, name := range []string{"server", "client"} {
		a.Issue(t, name, time.Now().Add(time.Hour))
	}
	c := servertest.Patroni(t, servertest.Consul(t), 1, servertest.Adapt(func(_ string, config map[string]any) {
		rest := config["restapi"].(map[string]any)
		for key, value := range map[string]any{
			"certfile": a.Path("server.pem"), "keyfile": a.Path("server-key.pem"), "cafile": a.Path("ca.pem"), "verify_client": "required",
			"authentication": map[string]any{"username": "watcher", "password": "secret"},
		} {
			rest[key] = value
		}
		config["ctl"] = map[string]any{"certfile": a.Path("client.pem"), "keyfile": a.Path("client-key.pem"), "cacert": a.Path("ca.pem")}
	}))
	good := patroni.Config{
		Members: addresses(c), User: "watcher", PasswordFile: servertest.File(t, filepath.Join(t.TempDir(), "password"), "secret\n", 0o600),
		SSL: &login.SSL{CACert: a.Path("ca.pem"), Cert: a.Path("client.pem"), Key: a.Path("client-key.pem")},
	}
	follow(t, open(t, good), c.Scope).until(t, "its leader is known", leads("pg1"))

	refused := func(what string, config patroni.Config, want string) {
		t.Helper()
		_, err := open(t, config).Fetch(t.Context(), watcher.Query{Kind: watcher.Prefix, Path: "service/" + c.Scope + "/"}, 0)
		if err == nil || !strings.Contains(err.Error(), want) || hint.Of(err) == "" || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v, hint %q; want %q", what, err, hint.Of(err), want)
		}
	}
	stranger := good
	stranger.SSL = &login.SSL{CACert: a.Path("ca.pem")}
	refused("without a certificate", stranger, "tls")
	unknown := good
	unknown.SSL = &login.SSL{Cert: a.Path("client.pem"), Key: a.Path("client-key.pem")}
	refused("an authority that nobody knows", unknown, "certificate")
	refused("without TLS", patroni.Config{Members: []string{strings.Replace(c.Members[0].API(), "https", "http", 1)}}, "hangs up")
}

// TestHostileMembers: what isn't an answer is an error, and takes neither memory nor a
// password.
func TestHostileMembers(t *testing.T) {
	for want, answer := range map[string]http.HandlerFunc{
		"longer than 1048576 bytes": func(w http.ResponseWriter, _ *http.Request) {
			for range 2 << 10 {
				_, _ = w.Write(make([]byte, 1<<10))
			}
		},
		"no JSON object": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"302 Found": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"401 Unauthorized":           func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"no answer within 1s":        func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"no member tells of which s": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"members":[]}`)) },
	} {
		server := httptest.NewServer(answer)
		_, err := open(t, patroni.Config{Members: []string{server.URL}}).Fetch(t.Context(), watcher.Query{Kind: watcher.Prefix, Path: "service/s/"}, 0)
		server.CloseClientConnections()
		server.Close()
		if err == nil || !strings.Contains(err.Error(), want) || hint.Of(err) == "" {
			t.Errorf("error %v, hint %q; want %q", err, hint.Of(err), want)
		}
	}
}

// TestPasswordGoesToTheConfigured: whom a member names is told no password in the clear.
func TestPasswordGoesToTheConfigured(t *testing.T) {
	var mu sync.Mutex
	told := map[string]string{}
	server := func(name string, answer func() string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			_, told[name], _ = r.BasicAuth()
			_, _ = w.Write([]byte(answer()))
		}))
		t.Cleanup(s.Close)
		return s
	}
	named := server("named", func() string { return `{}` })
	configured := server("configured", func() string {
		return fmt.Sprintf(`{"members":[{"name":"pg1","api_url":%q}],"patroni":{"scope":"s"}}`, named.URL+"/patroni")
	})
	password := servertest.File(t, filepath.Join(t.TempDir(), "password"), "secret\n", 0o600)
	store := open(t, patroni.Config{Members: []string{configured.URL}, User: "watcher", PasswordFile: password})
	if _, err := store.Fetch(t.Context(), watcher.Query{Kind: watcher.Prefix, Path: "service/s/"}, 0); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if is, asked := told["named"]; told["configured"] != "secret" || is != "" || !asked {
		t.Errorf("passwords told: %q", told)
	}
}

func TestBadConfigs(t *testing.T) {
	for want, c := range map[string]patroni.Config{
		"members is empty":                 {},
		"an address in members is none":    {Members: []string{"ftp://10.0.0.1"}},
		"address in members is none":       {Members: []string{"http://u:secret@10.0.0.1:8008"}},
		"has http://10.0.0.1:8008 twice":   {Members: []string{"10.0.0.1:8008", "http://10.0.0.1:8008/"}},
		"is plain http, though there is T": {Members: []string{"http://10.0.0.1:8008"}, SSL: &login.SSL{}},
		`interval "1h" is no time from`:    {Members: []string{"10.0.0.1:8008"}, Interval: "1h"},
		"a password_file and no user":      {Members: []string{"10.0.0.1:8008"}, PasswordFile: "x"},
		"read ca_cert":                     {Members: []string{"10.0.0.1:8008"}, SSL: &login.SSL{CACert: "/none"}},
	} {
		if _, err := c.Open(); err == nil || !strings.Contains(err.Error(), want) || hint.Of(err) == "" || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %v, hint %q; want %q", err, hint.Of(err), want)
		}
	}
}

// given is a cluster of one whose pause mode is turned on and off.
func given(t *testing.T, c *servertest.PatroniCluster) watchertest.Given {
	t.Helper()
	paused := false
	pause(t, c.Members[0], paused)
	folder := "service/" + c.Scope + "/"
	return watchertest.Given{
		Store: open(t, patroni.Config{Members: addresses(c)}), Folder: folder, Key: folder + "config",
		Turn: func(t testing.TB) func(string) bool {
			t.Helper()
			paused = !paused
			pause(t, c.Members[0], paused)
			want := paused
			return func(value string) bool { return strings.Contains(value, `"pause":true`) == want }
		},
	}
}

func TestContract(t *testing.T) {
	c := servertest.Patroni(t, servertest.Consul(t), 1)
	watchertest.RunGiven(t, func(t *testing.T) watchertest.Given { return given(t, c) })
}

func TestFaults(t *testing.T) {
	at := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	var line *faulttest.Line
	c := servertest.Patroni(t, servertest.Consul(t), 1, servertest.Adapt(func(_ string, config map[string]any) {
		rest := config["restapi"].(map[string]any)
		line = faulttest.NewLine(t, at, rest["listen"].(string))
		rest["connect_address"] = at // what others are told
	}))
	watchertest.RunGivenFaults(t, func(t *testing.T) (watchertest.Given, watchertest.Faults) {
		g := given(t, c)
		g.Store = open(t, patroni.Config{Members: []string{at}})
		return g, watchertest.Faults{
			Away: func(t testing.TB) func() { return line.Cut(t) },
			Mute: func(t testing.TB) func() {
				m := c.Members[0]
				m.FreezePatroni(t)
				return func() { m.Thaw(t) }
			},
			Slow: func(t testing.TB) func() {
				line.Spoil(t, faulttest.Latency)
				return func() { line.Mend(t) }
			},
			Cut: func(t testing.TB) { line.Cut(t)() },
		}
	})
}
