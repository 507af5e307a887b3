package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// startDoctor starts a pgbaton doctor as a user without rights, and waits until it
// listens.
func startDoctor(t *testing.T, program string, port int, args ...string) *servertest.Process {
	t.Helper()
	cmd := exec.Command(program, append([]string{"doctor"}, args...)...)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin:/bin", "GORACE=halt_on_error=1"}
	servertest.AsPostgres(t, cmd)
	p := servertest.Start(t, cmd)
	servertest.Eventually(t, "the doctor listens", func() error {
		if p.Exited() {
			t.Fatalf("it ended: %s", p.Output())
		}
		return servertest.Listening(fmt.Sprintf("127.0.0.1:%d", port))()
	})
	return p
}

// pgdoctorCfg is a config as pgDoctor's users have it, with more lines.
func pgdoctorCfg(t *testing.T, dir string, http, postgres int, lines ...string) string {
	t.Helper()
	text := fmt.Sprintf("http_port = %d\nsyslog_facility = local7\npg_host = localhost\npg_port = %d\npg_user = postgres\npg_password =\npg_database = postgres\npg_connection_timeout = 3\n%s\n",
		http, postgres, strings.Join(lines, "\n"))
	return servertest.File(t, filepath.Join(dir, "pgdoctor.cfg"), text, 0o644)
}

// asked is the answer to one request, over a connection of its own.
func asked(t *testing.T, method string, port int, path string) (code int, body string) {
	t.Helper()
	// As an ELB's target group: a new connection, five seconds at most.
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "ELB-HealthChecker/2.0")
	resp, err := client.Do(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(content)
}

// streaming are a primary and a replica that streams from it.
func streaming(t *testing.T) (dir string, primary, replica *servertest.Postgres) {
	t.Helper()
	dir = servertest.PostgresDir(t)
	primary = servertest.NewPostgres(t, dir, "primary")
	replica = primary.Replica(t, "replica")
	primary.Start(t, false)
	replica.Start(t, true)
	primary.Exec(t, "postgres", "CREATE TABLE written (at timestamptz)")
	return dir, primary, replica
}

// TestDoctorDrivesHAProxy: a real HAProxy, by `option httpchk` as it is written most
// often, takes a replica that lags or hangs out and back in, and leaves an idle one alone.
func TestDoctorDrivesHAProxy(t *testing.T) {
	t.Parallel()
	dir, primary, replica := streaming(t)
	ports := servertest.FreePorts(t, 4)
	cfg := pgdoctorCfg(t, dir, ports[0], replica.Port, "pg_max_replication_lag = 1", `"SELECT pg_is_in_recovery()" = "t"`)
	doctor := startDoctor(t, binary, ports[0], cfg)
	// OPTIONS and HTTP/1.0 is what a bare httpchk asks.
	backends := []string{"option httpchk", "option httpchk GET /", "option httpchk HEAD / HTTP/1.1\\r\\nHost:\\ pgdoctor\n  http-check expect status 200"}
	config := fmt.Sprintf("global\n  stats socket %s/stats.sock mode 600 level admin\ndefaults\n  mode tcp\n  timeout connect 2s\n  timeout client 1m\n  timeout server 1m\n", dir)
	for i, check := range backends {
		config += fmt.Sprintf("listen by%d\n  bind 127.0.0.1:%d\n  %s\n  default-server inter 200ms fall 2 rise 2 timeout check 2s on-marked-down shutdown-sessions\n  server replica 127.0.0.1:%d check port %d\n",
			i, ports[i+1], check, replica.Port, ports[0])
		config = strings.Replace(config, " timeout check 2s", "", 1)
	}
	balancer := exec.Command(servertest.Need(t, "haproxy"), "-db", "-f", servertest.File(t, filepath.Join(dir, "haproxy.cfg"), config, 0o644))
	servertest.AsPostgres(t, balancer)
	servertest.Start(t, balancer)
	all := func(state, why string) {
		t.Helper()
		servertest.Eventually(t, fmt.Sprintf("all are %s: %s", state, why), func() error {
			for i := range backends {
				got, err := haproxyState(dir+"/stats.sock", fmt.Sprint("by", i))
				if err != nil {
					return err
				}
				if !strings.HasPrefix(got, state) {
					return fmt.Errorf("%s is %q; the doctor:\n%s", backends[i], got, doctor.Output())
				}
			}
			return nil
		})
	}
	all("UP L7OK/200", "it follows")
	replica.Exec(t, "postgres", "SELECT pg_wal_replay_pause()")
	primary.Exec(t, "postgres", "INSERT INTO written VALUES (now())")
	all("DOWN L7STS/500", "replay is paused, with writes going on")
	replica.Exec(t, "postgres", "SELECT pg_wal_replay_resume()")
	all("UP L7OK/200", "it follows again")

	// A minute would be better, and two seconds say as much: the limit is one.
	before, _ := haproxyState(dir+"/stats.sock", "by0")
	primary.Exec(t, "postgres", "SELECT pg_sleep(2)")
	all("UP L7OK/200", "nobody writes")
	if after, _ := haproxyState(dir+"/stats.sock", "by0"); after != before {
		t.Errorf("while nobody wrote it went from %q to %q", before, after)
	}

	replica.Freeze()
	all("DOWN L7", "the server hangs")
	replica.Thaw()
	all("UP L7OK/200", "it goes on")
	replica.Kill()
	all("DOWN L7STS/500", "the server is dead")
	replica.Start(t, true)
	all("UP L7OK/200", "it is back")
	stopDaemon(t, doctor)
	all("DOWN L4CON", "the doctor is away")
}

// TestDoctorsBalancer: HAProxy takes the configs of docs/doctor.md, and asks for each
// server by its name where it is told to.
func TestDoctorsBalancer(t *testing.T) {
	page, err := os.ReadFile("../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := servertest.PostgresDir(t)
	port := servertest.FreePort(t)
	asked := make(chan string, 100)
	doctor := http.Server{Addr: fmt.Sprint("127.0.0.1:", port), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.Method + " " + r.URL.Path:
		default:
		}
	})}
	go func() { _ = doctor.ListenAndServe() }()
	t.Cleanup(func() { _ = doctor.Close() })
	servertest.Eventually(t, "it listens", servertest.Listening(doctor.Addr))
	snippets := strings.Split(string(page), "```haproxy\n")[1:]
	for i, want := range [][]string{{"OPTIONS /"}, {"GET /main/pg2", "GET /main/pg3"}} {
		snippet, _, _ := strings.Cut(snippets[i], "```")
		config := "defaults\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n" + strings.NewReplacer(
			"port 8071", fmt.Sprint("port ", port), "addr 10.0.0.5", "addr 127.0.0.1", "server pg2 10.0.0.12", "server pg2 127.0.0.1", "server pg3 10.0.0.13", "server pg3 127.0.0.1",
			"bind :5001", fmt.Sprint("bind 127.0.0.1:", servertest.FreePort(t)), "inter 2s", "inter 100ms",
		).Replace(snippet)
		cmd := exec.Command(servertest.Need(t, "haproxy"), "-db", "-f", servertest.File(t, filepath.Join(dir, "haproxy.cfg"), config, 0o644))
		servertest.AsPostgres(t, cmd)
		balancer := servertest.Start(t, cmd)
		seen := map[string]bool{}
		servertest.Eventually(t, fmt.Sprintf("it asks %q", want), func() error {
			for len(asked) > 0 {
				seen[<-asked] = true
			}
			for _, w := range want {
				if !seen[w] {
					return fmt.Errorf("it asked %v: %s", seen, balancer.Output())
				}
			}
			return nil
		})
		if strings.Contains(balancer.Output(), "[WARNING]") && strings.Contains(balancer.Output(), "config") {
			t.Errorf("%s", balancer.Output())
		}
		balancer.Stop()
	}
}

// haproxyState is the state of the server of a backend, what its last check said, and
// how often it went down.
func haproxyState(socket, backend string) (string, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "show stat\n"); err != nil {
		return "", err
	}
	lines := bufio.NewScanner(conn)
	column := map[string]int{}
	for lines.Scan() {
		fields := strings.Split(strings.TrimPrefix(lines.Text(), "# "), ",")
		if len(column) == 0 {
			for i, name := range fields {
				column[name] = i
			}
			continue
		}
		if len(fields) > 1 && fields[0] == backend && fields[1] == "replica" {
			return fmt.Sprintf("%s %s/%s %s times", fields[column["status"]], fields[column["check_status"]], fields[column["check_code"]], fields[column["chkdown"]]), nil
		}
	}
	return "", errors.Join(errors.New("no such server"), lines.Err())
}

// TestDoctorAnswersInTime: an ELB's target check, a plain GET with 200 or not within five
// seconds, is answered whatever the server does, and so are many of them at once. pgDoctor's
// own config is read as it is.
func TestDoctorAnswersInTime(t *testing.T) {
	t.Parallel()
	dir, _, replica := streaming(t)
	port := servertest.FreePort(t)
	sample, err := os.ReadFile("../internal/doctor/testdata/pgdoctor.cfg")
	if err != nil {
		t.Fatal(err)
	}
	// But for the ports, which are this machine's.
	text := strings.NewReplacer("http_port = 8071", fmt.Sprint("http_port = ", port), "pg_port = 5432", fmt.Sprint("pg_port = ", replica.Port)).Replace(string(sample))
	cfg := servertest.File(t, filepath.Join(dir, "pgdoctor.cfg"), text, 0o644)
	doctor := startDoctor(t, binary, port, cfg)
	says := func(method string, wantCode int, want string) {
		t.Helper()
		if code, body := asked(t, method, port, "/"); code != wantCode || !regexp.MustCompile("^(?:"+want+")$").MatchString(body) {
			t.Errorf("%s: %d %q, want %d %q", method, code, body, wantCode, want)
		}
	}
	says("GET", 200, "OK\n")
	says("OPTIONS", 200, "OK\n")
	says("HEAD", 200, "")
	says("POST", 405, "ask by GET, HEAD or OPTIONS\n")
	if code, _ := asked(t, "GET", port, "/main/pg1"); code != 404 {
		t.Errorf("a path that there is not: %d", code)
	}

	replica.Freeze()
	var at sync.WaitGroup
	for range 30 {
		at.Go(func() {
			says("GET", 500, `("SELECT 1"|replication lag|log in to localhost:\d+): no answer (within|after) [0-9.]+m?s\n`)
		})
	}
	at.Wait()
	says("HEAD", 500, "")
	replica.Thaw()
	servertest.Eventually(t, "it is well again", func() error {
		if code, body := asked(t, "GET", port, "/"); code != 200 {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	replica.Kill()
	says("GET", 500, `log in to localhost:\d+: dial tcp .*: connect: connection refused\n`)
	servertest.Eventually(t, "the log has each of both times", func() error {
		if said := strings.Count(doctor.Output(), "the server is not well"); said != 2 {
			return fmt.Errorf("%d times it said that the server is not well:\n%s", said, doctor.Output())
		}
		return nil
	})

	// The port is in use.
	out, err := exec.CommandContext(t.Context(), binary, "doctor", cfg).CombinedOutput()
	if want := fmt.Sprintf("listen tcp :%d: bind: address already in use (PGB056)\nhint: ss -ltnp 'sport = :%[1]d' says who", port); err == nil || !strings.Contains(string(out), want) {
		t.Errorf("a second one: %v: %s, want %q", err, out, want)
	}
	stopDaemon(t, doctor)
}

// TestDoctorKeepsSecrets: neither the answer nor the log has a password in it, whatever
// goes wrong; and a password, certificates and another config are taken.
func TestDoctorKeepsSecrets(t *testing.T) {
	t.Parallel()
	dir := servertest.PostgresDir(t)
	authority := servertest.AuthorityIn(t, dir)
	authority.Issue(t, "server", time.Now().Add(time.Hour))
	pg := servertest.NewPostgres(t, dir, "pg")
	pg.Secure(t, authority)
	pg.Start(t, false)
	const password, other = "right-7f31", "wrong-88ab"
	pg.Exec(t, "postgres", "CREATE ROLE looker LOGIN PASSWORD '"+password+"'")
	port := servertest.FreePort(t)
	lines := []string{"pg_user = looker", "pg_sslmode = require", `"SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()" = "t"`}
	cfg := pgdoctorCfg(t, dir, port, pg.Port, append(lines, "pg_password = "+other)...)
	doctor := startDoctor(t, binary, port, cfg)
	code, body := asked(t, "GET", port, "/")
	if code != 500 || !strings.Contains(body, "FATAL: password authentication failed for user \"looker\" (SQLSTATE 28P01)") {
		t.Errorf("a wrong password: %d %s", code, body)
	}
	file := servertest.File(t, filepath.Join(dir, "password"), password+"\n", 0o644)
	leaks := `"SELECT dblink_connect('host=x password=` + password + `')"`
	for _, change := range []struct {
		lines []string
		code  int
		body  string
	}{
		{[]string{"pg_password = " + password}, 200, "OK\n"},
		{[]string{"pg_password_file = " + file}, 200, "OK\n"},
		{[]string{"pg_password_file = " + file, leaks}, 500, "\"SELECT dblink_connect('host=x password=<hidden>')\": function dblink_connect(unknown) does not exist\n"},
		{[]string{"pg_password_file = " + file, `"SELECT '` + password + `'" = "x"`}, 500, "\"SELECT '<hidden>'\": it is \"<hidden>\", not = \"x\"\n"},
		{[]string{"pg_password_file = " + file, "pg_sslmode = verify-full", "pg_host = 127.0.0.1", "pg_sslrootcert = " + authority.Path("ca.pem")}, 200, "OK\n"},
	} {
		pgdoctorCfg(t, dir, port, pg.Port, append(lines, change.lines...)...)
		doctor.Signal(t, syscall.SIGHUP)
		servertest.Eventually(t, fmt.Sprintf("with %q it answers %q", change.lines, change.body), func() error {
			if code, body := asked(t, "GET", port, "/"); code != change.code || body != change.body {
				return fmt.Errorf("%d %q", code, body)
			}
			return nil
		})
	}
	// A bad config is refused, and what was good stays.
	pgdoctorCfg(t, dir, port, pg.Port, append(lines, `"SELECT 1" == "1"`)...)
	doctor.Signal(t, syscall.SIGHUP)
	servertest.Eventually(t, "it is refused", saysOf(doctor, "config refused, the old one stays: code=PGB008"))
	if err := saysOf(doctor, `compare with "1": there is no operator "==": code=PGB003 place=`+cfg+":12")(); err != nil {
		t.Error(err)
	}
	if code, body := asked(t, "GET", port, "/"); code != 200 {
		t.Errorf("after a bad config: %d %s", code, body)
	}
	stopDaemon(t, doctor)

	// Balancers may ask by TLS.
	pgdoctorCfg(t, dir, port, pg.Port, append(lines, "pg_password = "+password, "http_cert = "+authority.Path("server.pem"), "http_key = "+authority.Path("server-key.pem"))...)
	secure := startDoctor(t, binary, port, cfg)
	ca, err := os.ReadFile(authority.Path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	resp, err := client.Get(fmt.Sprintf("https://127.0.0.1:%d/", port))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("by TLS: %s", resp.Status)
	}
	stopDaemon(t, secure)
	for _, secret := range []string{password, other} {
		if strings.Contains(doctor.Output()+body, secret) {
			t.Errorf("%s is shown: %s\n%s", secret, body, doctor.Output())
		}
	}
}

// saysOf is a condition for Eventually: a process printed a text.
func saysOf(p *servertest.Process, text string) func() error {
	return func() error {
		if !strings.Contains(p.Output(), text) {
			return fmt.Errorf("no %q in:\n%s", text, p.Output())
		}
		return nil
	}
}

// most is how much memory a doctor may have, in kB.
const most = 25 << 10

// residentSet is the memory that a process has, in kB.
func residentSet(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no VmRSS in:\n%s", status)
	}
	kb, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kb
}

// TestDoctorIsSmall: it serves in 25 MB, whoever asks.
func TestDoctorIsSmall(t *testing.T) {
	dir, _, replica := streaming(t)
	program := filepath.Join(dir, "pgbaton") // as make build makes it, without the race detector
	if err := servertest.Build(program, "-trimpath", "-ldflags=-s -w"); err != nil {
		t.Fatal(err)
	}
	port := servertest.FreePort(t)
	doctor := startDoctor(t, program, port, pgdoctorCfg(t, dir, port, replica.Port, "pg_max_replication_lag = 15", `"SELECT 1"`, `"SELECT 6" > "5"`))
	var figures []string
	resident := func(when string) {
		t.Helper()
		kb := residentSet(t, doctor.Pid())
		figures = append(figures, fmt.Sprintf("%s %.1f MB", when, float64(kb)/1024))
		if kb > most {
			t.Errorf("%s it has %d kB, want %d at most", when, kb, most)
		}
	}
	resident("at the start")
	for range 100 {
		asked(t, "GET", port, "/")
	}
	resident("one after the other")
	ctx, end := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for n := 0; n < 20 && ctx.Err() == nil; n++ {
				asked(t, "GET", port, "/")
			}
		})
	}
	all.Wait()
	end()
	resident("64 at once")
	replica.Kill()
	for range 20 {
		asked(t, "GET", port, "/")
	}
	resident("with its server down")
	t.Log(strings.Join(figures, ", "))
	stopDaemon(t, doctor)
}

// TestDoctorOfClusters: with a config of pgbaton's it tells of each member what its probes
// come to, a replica that is cut off from its leader included, in the same 25 MB.
func TestDoctorOfClusters(t *testing.T) {
	t.Parallel()
	consul := servertest.Consul(t)
	c := servertest.Patroni(t, consul, 3)
	dir := servertest.PostgresDir(t)
	program := filepath.Join(dir, "pgbaton")
	if err := servertest.Build(program, "-trimpath", "-ldflags=-s -w"); err != nil {
		t.Fatal(err)
	}
	port := servertest.FreePort(t)
	config := fmt.Sprintf(`consul {
  address = %q
}
cluster "patroni" "main" {
  scope = %q
  probe "sql" {
    interval = "200ms"
    fall     = 1 # Patroni takes the key of a member that hangs away soon
    dwell    = "0s"
  }
  probe "lag" {
    interval  = "200ms"
    max_delay = "1s"
    rise      = 1
    dwell     = "0s"
  }
}
`, consul.Addr, c.Scope)
	path := servertest.File(t, filepath.Join(dir, "pgbaton.hcl"), config, 0o644)
	leader, lame, other := c.Leader(t), c.Replicas(t)[0], c.Replicas(t)[1]
	out, err := exec.CommandContext(t.Context(), program, "doctor", "-once", "-config", path).CombinedOutput()
	if err != nil || strings.Count(string(out), " OK\n") != 3 || !strings.Contains(string(out), "/main/"+lame.Name+" OK\n") {
		t.Errorf("-once: %v: %s", err, out)
	}
	beat(t, leader)
	doctor := startDoctor(t, program, port, "-config", path, "-listen", fmt.Sprint("127.0.0.1:", port))
	says := func(m *servertest.PatroniMember, code int, want string) {
		t.Helper()
		servertest.Eventually(t, fmt.Sprintf("of %s it says %d", m.Name, code), func() error {
			got, body := asked(t, "GET", port, "/main/"+m.Name)
			if got != code || !regexp.MustCompile("(?m)^"+want+"$").MatchString(body) {
				return fmt.Errorf("%d %q; it logs:\n%s", got, body, doctor.Output())
			}
			return nil
		})
	}
	for _, m := range c.Members {
		says(m, 200, "OK")
	}
	for _, fault := range []struct {
		why        string
		begin, end func(*testing.T)
	}{
		{`lag: [0-9.]+s behind, more than 1s`, pauseReplay(lame), resumeReplay(lame)},
		{`lag: [0-9.]+s behind, more than 1s`, receiver(lame, syscall.SIGSTOP), receiver(lame, syscall.SIGCONT)},
		{`sql: .*no answer within 1s`, func(t *testing.T) { lame.FreezePostgres(t) }, func(*testing.T) { lame.ThawPostgres() }},
	} {
		fault.begin(t)
		says(lame, 500, fault.why)
		says(other, 200, "OK")
		fault.end(t)
		says(lame, 200, "OK")
	}
	// What is known of members outlives a SIGHUP while the store is away.
	servertest.File(t, path, strings.Replace(config, consul.Addr, fmt.Sprint("127.0.0.1:", servertest.FreePort(t)), 1), 0o644)
	doctor.Signal(t, syscall.SIGHUP)
	servertest.Eventually(t, "the config is refused", func() error { return logged(doctor, "config refused, the old one stays") })
	if code, body := asked(t, "GET", port, "/main/"+other.Name); code != 200 {
		t.Errorf("after a SIGHUP without a store: %d %s", code, body)
	}
	servertest.File(t, path, config, 0o644)
	doctor.Signal(t, syscall.SIGHUP)
	servertest.Eventually(t, "the config is taken up", func() error { return logged(doctor, "config taken up") })
	says(other, 200, "OK")
	for _, path := range []string{"/", "/main", "/main/", "/main/nobody", "/other/" + lame.Name} {
		if code, body := asked(t, "GET", port, path); code != 404 {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if kb := residentSet(t, doctor.Pid()); kb > most {
		t.Errorf("it has %d kB, want %d at most", kb, most)
	} else {
		t.Logf("it has %.1f MB", float64(kb)/1024)
	}
	stopDaemon(t, doctor)
}
