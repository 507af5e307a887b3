//go:build bench

package lag

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

const (
	crowd   = 100              // members that are asked
	watched = 20 * time.Second // how long it is watched
)

// TestCost measures what it takes to ask a hundred members whether they run SQL and where
// they are, once a second each: for pgbaton, and for the servers. Behind their hundred
// names is one server, so what it takes is what a hundred take together.
func TestCost(t *testing.T) {
	c := servertest.Patroni(t, servertest.Consul(t), 1, servertest.MaxConnections(300))
	server, pgbaton := c.Members[0], build(t)
	fmt.Printf("\n| %d members, asked once a second | CPU of pgbaton | CPU of all servers | connections | RSS of pgbaton |\n|---|---|---|---|---|\n", crowd)
	for _, probes := range []string{"", `probe "sql" {}`, `probe "lag" { max_delay = "10s" }`, "probe \"sql\" {}\n  probe \"lag\" { max_delay = \"10s\" }"} {
		name := strings.Join(strings.Fields(strings.NewReplacer("{ max_delay = \"10s\" }", "", "{}", "").Replace(probes)), " ")
		if name == "" {
			name = "no probe"
		}
		t.Run(name, func(t *testing.T) { cost(t, name, probes, server, pgbaton, c.Dir()) })
	}
}

func cost(t *testing.T, name, probes string, server *servertest.PatroniMember, pgbaton, servers string) {
	dir := servertest.PostgresDir(t)
	keys := "kv:\n  service/crowd/leader: pg0\n"
	for i := range crowd {
		role := "replica"
		if i == 0 {
			role = "primary"
		}
		keys += fmt.Sprintf("  service/crowd/members/pg%d: {conn_url: \"postgres://%s:%d/postgres\", state: running, role: %s, xlog_location: 1}\n", i, server.Host, server.Port, role)
	}
	state := servertest.File(t, filepath.Join(dir, "state.yaml"), keys, 0o644)
	config := servertest.File(t, filepath.Join(dir, "pgbaton.hcl"), fmt.Sprintf(`
state_dir = "%[1]s/state"
file {
  path = %[2]q
}
cluster "patroni" "main" {
  scope   = "crowd"
  confirm = ["none"]
  %[3]s
}
target "exec" "list" {
  template {
    contents    = "{{ range readers (cluster \"main\") }}{{ .Name }} {{ .Serves }}\n{{ end }}"
    destination = "%[1]s/list"
  }
  command = ["true"]
}
`, dir, state, probes), 0o644)
	cmd := exec.Command(pgbaton, "run", "-config", config)
	cmd.Dir = dir
	servertest.AsPostgres(t, cmd)
	p := servertest.Start(t, cmd)
	servertest.Eventually(t, "pgbaton writes its file", func() error {
		_, err := os.Stat(filepath.Join(dir, "list"))
		return err
	})
	conn, err := pgx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	want := 0
	if probes != "" {
		want = crowd
	}
	var connections int
	servertest.Eventually(t, "every member is asked", func() error {
		err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbaton'").Scan(&connections)
		if err == nil && connections < want {
			err = fmt.Errorf("%d connections", connections)
		}
		return err
	})
	pid := p.Cmd.Process.Pid
	process := fmt.Sprintf("/proc/%d", pid)
	own, theirs, begun := servertest.CPU(t, process), servertest.CPUBelow(t, servers, "postgres"), time.Now()
	for time.Since(begun) < watched {
		time.Sleep(100 * time.Millisecond) // what is measured is time
	}
	took := float64(time.Since(begun))
	own, theirs = servertest.CPU(t, process)-own, servertest.CPUBelow(t, servers, "postgres")-theirs
	fmt.Printf("| %s | %.2f %% | %.2f %% | %d | %.1f MB |\n", name, 100*own/took, 100*theirs/took, connections, float64(rss(t, pid))/1e6)
}

func rss(t *testing.T, pid int) int {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, _ := strconv.Atoi(strings.Fields(string(content))[1])
	return pages * os.Getpagesize()
}
