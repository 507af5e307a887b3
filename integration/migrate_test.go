package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestMigration walks through docs/from-consul-template.md: the configs of that
// page, one after the other, on a real cluster with a real pgbouncer.
func TestMigration(t *testing.T) {
	consul := servertest.Consul(t)
	c := servertest.Patroni(t, consul, 2)
	dir, port := servertest.PostgresDir(t), servertest.FreePort(t)
	here := strings.NewReplacer("/etc/pgbouncer", dir, "127.0.0.1:8500", consul.Addr, "batman", c.Scope, "6432", fmt.Sprint(port))
	configs, templates := snippets(t, "../docs/from-consul-template.md")
	if len(configs) != 3 || len(templates) != 1 {
		t.Fatalf("the page has %d configs and %d templates", len(configs), len(templates))
	}
	ini := filepath.Join(dir, "pgbouncer.ini")
	servertest.File(t, filepath.Join(dir, "pgbouncer.ini.ctmpl"), here.Replace(templates[0]), 0o644)
	servertest.File(t, filepath.Join(dir, "userlist.txt"), "\"postgres\" \"\"\n", 0o644)
	pooler := through(port)
	step := func(i int) *servertest.Process {
		text := here.Replace(configs[i])
		if i > 0 { // the console's port is pgbouncer's own
			text = strings.Replace(text, fmt.Sprintf("socket = %q", dir), fmt.Sprintf("socket = %q\n  port = %d", dir, port), 1)
		}
		return startDaemon(t, dir, text, ini)
	}

	// Unchanged.
	daemon := step(0)
	bouncer := servertest.PgBouncer(t, ini, port)
	pooler.landsOn(t, c.Members[0])
	before, err := os.ReadFile(ini)
	if err != nil {
		t.Fatal(err)
	}
	c.Switchover(t, c.Members[1])
	pooler.landsOn(t, c.Members[1])
	if after, err := os.ReadFile(ini); err != nil || string(after) == string(before) {
		t.Errorf("the file is the same after a switchover: %v", err)
	}
	stopDaemon(t, daemon)

	// Checked, and seen to follow.
	daemon = step(1)
	c.AwaitReady(t)
	c.Switchover(t, c.Members[0])
	pooler.landsOn(t, c.Members[0])
	for _, text := range []string{"proof=followed", "RELOAD over"} {
		servertest.Eventually(t, "it is seen to follow", func() error { return logged(daemon, text) })
	}
	stopDaemon(t, daemon)

	// Nobody notices.
	daemon = step(2)
	// The bytes are those of before, so nothing is applied.
	servertest.Eventually(t, "pgbaton knows the leader", func() error { return logged(daemon, "leader confirmed") })
	c.AwaitReady(t)
	w := startWriters(t, port, 4)
	c.Switchover(t, c.Members[1])
	pooler.landsOn(t, c.Members[1])
	w.Everyone(t, time.Now())
	failed, missing := w.End(t, c.Members[1])
	failed, underWay := (&edge{daemon: daemon}).noticed(t, failed)
	if len(failed)+len(missing) > 0 {
		t.Errorf("errors %v, missing rows %v", failed, missing)
	}
	t.Logf("%d transactions that began before the hold failed", len(underWay))
	stopDaemon(t, daemon)
	if bouncer.Exited() {
		t.Error("pgbouncer ended")
	}
}

// snippets are the configs and templates of a page.
func snippets(t *testing.T, path string) (configs, templates []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(string(text), "\n```") {
		if config, is := strings.CutPrefix(part, "hcl\n"); is {
			configs = append(configs, config+"\n")
		}
		if template, is := strings.CutPrefix(part, "gotemplate\n"); is {
			templates = append(templates, template+"\n")
		}
	}
	return configs, templates
}
