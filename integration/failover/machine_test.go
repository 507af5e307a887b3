//go:build bench

package failover

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// machine describes where the figures come from.
func machine() string {
	cpu := "unknown CPU"
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			cpu = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d × %s, %s", runtime.NumCPU(), cpu, runtime.Version())
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)

// versions names the servers as they name themselves.
func versions(s *stage) []string {
	postgres, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	var all []string
	for _, v := range []struct {
		name string
		args []string
	}{
		{"PostgreSQL", []string{strings.Join(postgres[max(0, len(postgres)-1):], ""), "--version"}},
		{"Patroni", []string{"patroni", "--version"}},
		{stores[s.plan.store].title, s.store.version()},
		{"PgBouncer", []string{"pgbouncer", "--version"}},
		{"HAProxy", []string{"haproxy", "-v"}},
		{"consul-template", []string{s.consulTemplate, "-version"}},
	} {
		out, _ := exec.Command(v.args[0], v.args[1:]...).CombinedOutput()
		all = append(all, strings.TrimSpace(v.name+" "+versionNumber.FindString(string(out))))
	}
	return all
}
