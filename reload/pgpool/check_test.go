package pgpool_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/pgpool"
)

const good = `backend_clustering_mode = 'streaming_replication'
# pgbaton: backend 0 is primary
backend_hostname0 = '10.0.0.11'
backend_port0 = 5432
backend_weight0 = 1
log_destination = 'syslog'
`

// The real pgpool judges a staged file; one that runs is not told of it.
func TestCheck(t *testing.T) {
	servertest.Need(t, "pgpool")
	dir := servertest.PostgresDir(t)
	// Whom a reload of this config would signal: the check must not.
	spared := servertest.Start(t, exec.Command("sleep", "600"))
	pidFile := servertest.File(t, filepath.Join(dir, "pgpool.pid"), fmt.Sprint(spared.Pid()), 0o644)
	servertest.File(t, filepath.Join(dir, "more.conf"), "port = 9998\n", 0o644)
	base := good + "pid_file_name = '" + pidFile + "'\n"
	for _, tc := range []struct {
		name, content string
		mentions      string // "" passes
		hinted        string
	}{
		{"good", base, "", ""},
		{"without a line break at its end", strings.TrimSpace(base), "", ""},
		{"gaps in the numbers", base + "backend_hostname7 = 'b'\nbackend_port7 = 5432\n", "", ""},
		{"include", base + "include = 'more.conf'\n", "", ""},
		{"include of nothing", base + "include = 'nothing.conf'\n", "could not open configuration file: \"" + dir + "/nothing.conf\"", "names"},
		{"empty", "", "no backend", "empty answer"},
		{"comments", "# nothing\n", "no backend", "empty answer"},
		{"a number out of range", base + "port = 80\n", `80 is outside the valid range for parameter "port"`, "names"},
		{"no number", base + "max_pool = many\n", `invalid value for parameter "max_pool": "many"`, "names"},
		{"a flag unknown", base + "backend_flag0 = 'SOMETIMES'\n", "unknown backend flag:SOMETIMES", "names"},
		{"a line that is none", base + "port 3 4\n", dir + "/pgpool.conf\"; parse error at line 8", "names"},
		{"a setting unknown", base + "numinit_children = 3\n", dir + "/pgpool.conf:8: pgpool has no setting numinit_children", "say nothing"},
		{"a hostname without a port", base + "backend_hostname1 = 'b'\n", "backend 1 has a hostname and no port", "both"},
		{"a place without a backend", base + "# pgbaton: backend 1 is standby\n", "there is no such backend", "# pgbaton:"},
		{"two primaries", base + "backend_hostname1 = 'b'\nbackend_port1 = 1\n# pgbaton: backend 1 is primary\n", "are primary", "# pgbaton:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := reload.File{Path: filepath.Join(dir, "pgpool.conf"), Staged: filepath.Join(dir, ".pgpool.conf.staged"), Content: []byte(tc.content), Mode: 0o640, UID: os.Getuid(), GID: os.Getgid()}
			servertest.File(t, f.Staged, tc.content, 0o640)
			d, err := (&pgpool.Config{}).Daemon(hclog.NewNullLogger())
			if err != nil {
				t.Fatal(err)
			}
			err = d.Check(t.Context(), []reload.File{f})
			if tc.mentions == "" {
				if err != nil {
					t.Errorf("%v (hint: %s)", err, hint.Of(err))
				}
				return
			}
			if !errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), tc.mentions) || !strings.Contains(hint.Of(err), tc.hinted) {
				t.Fatalf("error %v (hint %q), want a refusal that says %q", err, hint.Of(err), tc.mentions)
			}
			if strings.Contains(err.Error(), "pgbaton-check") || strings.Contains(err.Error(), "pid file") {
				t.Errorf("error %v speaks of the check itself", err)
			}
		})
	}
	if spared.Exited() {
		t.Error("a check signalled the process of the PID file")
	}
}

func TestCheckGivesNoAnswer(t *testing.T) {
	dir := servertest.PostgresDir(t)
	path := servertest.File(t, filepath.Join(dir, "pgpool.conf"), good, 0o644)
	set := []reload.File{{Path: path, Staged: path, Content: []byte(good), Mode: 0o644}}
	hangs := servertest.File(t, filepath.Join(dir, "hangs"), "#!/bin/sh\nsleep 600 & wait\n", 0o755)
	signals := servertest.File(t, filepath.Join(dir, "signals"), "#!/bin/sh\nexit 0\n", 0o755)
	for _, tc := range []struct{ name, binary, mentions, hinted string }{
		{"missing", "no-such-pgpool", "no-such-pgpool", "install no-such-pgpool or correct binary"},
		{"hangs", hangs, "timed out after 300ms", "timeout sets how long"},
		{"another program", signals, "signalled somebody", "whether binary is pgpool"},
	} {
		d, err := (&pgpool.Config{Binary: tc.binary, Timeout: "300ms"}).Daemon(hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		err = d.Check(t.Context(), set)
		if err == nil || errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), tc.mentions) || !strings.Contains(hint.Of(err), tc.hinted) {
			t.Errorf("%s: error %v, hint %q", tc.name, err, hint.Of(err))
		}
	}
}

// What makes pgpool do Patroni's work is told, and is no refusal.
func TestCheckWarns(t *testing.T) {
	servertest.Need(t, "pgpool")
	dir := servertest.PostgresDir(t)
	content := good + "failover_command = '/bin/promote %h'\nauto_failback = on\n"
	path := servertest.File(t, filepath.Join(dir, "pgpool.conf"), content, 0o644)
	var log strings.Builder
	d, err := (&pgpool.Config{}).Daemon(hclog.New(&hclog.LoggerOptions{Output: &log}))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Check(t.Context(), []reload.File{{Path: path, Staged: path, Content: []byte(content), Mode: 0o644}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"setting=failover_command", "line=7", "setting=auto_failback"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %s:\n%s", want, log.String())
		}
	}
}
