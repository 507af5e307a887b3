// Package pgbaton_test asserts the shape of the whole: which way the arrows
// between its packages point.
package pgbaton_test

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pgbaton/pgbaton/"

// mayImport lists, for the packages below a folder, which of our own packages
// they may import, by folder. The longest folder that fits counts. Whoever
// adds a line here changes the architecture: see docs/ARCHITECTURE.md.
var mayImport = map[string]string{
	"watcher":             "internal/hint internal/explain",
	"watcher/cluster":     "watcher internal/hint",
	"watcher/consul":      "watcher internal/dial internal/login internal/hint",
	"watcher/etcd":        "watcher internal/dial internal/login internal/hint",
	"watcher/file":        "watcher internal/hint",
	"watcher/zookeeper":   "watcher internal/dial internal/login internal/hint",
	"watcher/patroni":     "watcher watcher/poll internal/dial internal/login internal/hint",
	"watcher/poll":        "internal/hint",
	"watcher/repmgr":      "watcher watcher/poll internal/dial internal/login internal/hint",
	"watcher/watchertest": "watcher",
	"render":              "watcher render/funcs internal/hint internal/explain",
	"render/funcs":        "watcher watcher/cluster internal/hint",
	"reload":              "reload internal/login internal/proc internal/hint internal/explain",
	"templates":           "",
	"internal/hint":       "",
	"internal/explain":    "",
	"internal/secret":     "",
	"internal/dial":       "",
	"internal/login":      "internal/hint",
	"internal/proc":       "internal/hint",
	"internal/doctor":     "internal/probe internal/dial internal/login internal/hint",
	"internal/baton":      "watcher watcher/cluster internal/probe internal/state internal/hint internal/explain",
	"internal/probe":      "watcher/cluster internal/login internal/hint",
	"internal/state":      "internal/hint internal/explain",
	"internal/target":     "watcher watcher/cluster render render/funcs reload internal/history internal/state internal/proc internal/hint internal/explain",
	"internal/status":     "",
	"internal/web":        "internal/status internal/history",
	"internal/control":    "internal/status internal/history internal/state internal/hint internal/explain",
	"internal/history":    "internal/state internal/hint",
	"internal/metrics":    "internal/status internal/history",
	"internal/config":     "watcher watcher/cluster render reload internal/login internal/probe internal/secret internal/hint internal/explain",
	"internal/setup":      "reload/pgbouncer reload/haproxy reload/keepalived templates internal/secret internal/hint internal/explain",
	"cmd/pgbaton":         "*",
	"internal/faulttest":  "",
	"internal/servertest": "",
	"integration":         "*",
}

func TestArrowsPointOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{ .ImportPath }}{{ range .Imports }} {{ . }}{{ end }}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := 0
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		fields := strings.Fields(line)
		from, ours := strings.CutPrefix(fields[0], module)
		if !ours {
			continue
		}
		packages++
		folder, found := room(from)
		if !found {
			t.Errorf("%s has no room in the layout", from)
			continue
		}
		for _, imported := range fields[1:] {
			to, ours := strings.CutPrefix(imported, module)
			if ours && !slices.ContainsFunc(strings.Fields(mayImport[folder]), func(may string) bool { return may == "*" || may == to }) {
				t.Errorf("%s imports %s: the arrow points the wrong way", from, to)
			}
		}
	}
	if packages < len(mayImport) {
		t.Errorf("only %d packages were looked at", packages)
	}
}

// room is the longest folder of the layout that holds a package.
func room(pkg string) (folder string, found bool) {
	for folder = pkg; folder != "."; folder = path.Dir(folder) {
		if _, found = mayImport[folder]; found {
			return folder, true
		}
	}
	return "", false
}
