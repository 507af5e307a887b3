package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// scene has a browser look at a status page, as scenes.cjs says, until it has seen it
// all. What the scene says on its way is a cue for what is to happen.
func (l listener) scene(t *testing.T, name string, cues ...cue) {
	t.Helper()
	cmd := exec.Command(servertest.Need(t, "node"), filepath.Join("web", "scenes.cjs"), name, fmt.Sprintf("http://127.0.0.1:%d/", l.port))
	cmd.Env = append(os.Environ(), "NODE_PATH="+playwright(t), "CHROMIUM="+servertest.Need(t, "chromium"), "HOME="+t.TempDir())
	begun, p := time.Now(), servertest.Start(t, cmd)
	for _, c := range cues {
		servertest.Eventually(t, name+": "+c.text, func() error {
			err := heard(p, c.text+"\n")()
			if err != nil && p.Exited() {
				t.Fatalf("%s: it ended:\n%s", name, p.Output())
			}
			return err
		})
		c.then()
	}
	limited, cancel := context.WithTimeout(t.Context(), 3*servertest.Deadline)
	defer cancel()
	if err := errors.Join(p.Wait(limited), heard(p, "scene over\n")()); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, p.Output())
	}
	t.Logf("%s was seen within %v", name, time.Since(begun).Round(time.Millisecond))
}

// cue is something that a scene says, and what is to happen then.
type cue struct {
	text string
	then func()
}

// playwright is where the Makefile puts what drives the browser.
func playwright(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("web/package.json")
	if err != nil {
		t.Fatal(err)
	}
	var wanted struct {
		DevDependencies map[string]string `json:"devDependencies"`
	}
	if err := json.Unmarshal(content, &wanted); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(servertest.ModuleRoot(t), ".cache/tools/playwright-core-"+wanted.DevDependencies["playwright-core"], "node_modules")
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("%v: run the tests with `make test`, which installs what they need", err)
	}
	return dir
}

// TestPage looks at the status page in a browser, while a real cluster behind it goes
// through what there is to see.
func TestPage(t *testing.T) {
	consul := servertest.Consul(t)
	c := servertest.Patroni(t, consul, 3, servertest.Scope("batman"))
	page := listener{servertest.FreePort(t)}
	limits := func(text string) { consul.Put(t, "app/limits", text) }
	limits("rate = 5")
	e := newEdge(t, consul, c, edgeSettings{blocks: page.block() + `
target "exec" "limits" {
  template {
    contents    = "{{ key \"app/limits\" }}\n"
    destination = "limits"
    perms       = "0640"
  }
  check   = ["sh", "-c", "! grep 'SECRET' {file}"]
  command = ["true"]
}
`})
	page.says(t, "/status.json", 200, `"line": "2 of 2 targets in sync"`)
	limits("rate = 10")
	switchover := func() {
		next := c.Replicas(t)[0]
		c.Switchover(t, next)
		through(e.port).landsOn(t, next)
		c.AwaitReady(t)
	}
	switchover()
	page.scene(t, "steady")

	var callOff func()
	page.scene(t, "switching", cue{"ask for a switchover", func() { callOff = e.askSwitchover(t) }}, cue{"let it go on", func() {
		callOff()
		switchover()
	}})

	limits("SECRET")
	page.scene(t, "refused")
	limits("rate = 20")
	page.says(t, "/status.json", 200, `"line": "2 of 2 targets in sync"`)

	for _, m := range c.Members {
		m.FreezePatroni(t) // it would stop PostgreSQL, and that would be to be seen
	}
	page.scene(t, "store-away", cue{"take the store away", consul.Kill})
}

// putKeys writes the state file of a page's store.
func putKeys(t *testing.T, dir string, kv map[string]any) {
	t.Helper()
	content, err := json.Marshal(map[string]any{"kv": kv})
	if err != nil {
		t.Fatal(err)
	}
	next := servertest.File(t, filepath.Join(dir, "state.json.next"), string(content), 0o644)
	if err := os.Rename(next, filepath.Join(dir, "state.json")); err != nil {
		t.Fatal(err)
	}
}

// member is what a member's key says.
func member(port int, role, state string) map[string]any {
	return map[string]any{"conn_url": fmt.Sprintf("postgres://127.0.0.1:%d/postgres", port), "role": role, "state": state, "timeline": 3}
}

// TestPageOfHostileNames: whoever writes to the store calls a member what he likes.
func TestPageOfHostileNames(t *testing.T) {
	dir, page := servertest.PostgresDir(t), listener{servertest.FreePort(t)}
	const script, image = "<script>alert(1)", "<img src=x onerror=alert(2)>"
	led := func(leader string) {
		t.Helper()
		putKeys(t, dir, map[string]any{
			"service/main/leader": leader, "motd": "<b>bold</b> " + leader,
			"service/main/members/" + script: member(5001, "replica", "<i>streaming</i>"), "service/main/members/" + image: member(5002, "replica", "<i>streaming</i>"),
		})
	}
	led(script)
	p := startDaemon(t, dir, page.block()+`
file {
  path = "state.json"
}
cluster "patroni" "main" {
  confirm    = ["none"]
  early_hold = false
}
target "exec" "app" {
  template {
    contents    = "{{ key \"motd\" }}\n{{ with cluster \"main\" }}{{ .Leader.Port }}{{ end }}\n"
    destination = "out"
    perms       = "0644"
  }
  command = ["true"]
}
`, filepath.Join(dir, "out"))
	page.says(t, "/readyz", 200, "ready")
	led(image)
	page.says(t, "/history.json", 200, `"from": "\u003cscript`)
	page.scene(t, "hostile")
	stopDaemon(t, p)
}

// TestPageOfManyClusters: those that are well don't hide the one that is not.
func TestPageOfManyClusters(t *testing.T) {
	dir, page := servertest.PostgresDir(t), listener{servertest.FreePort(t)}
	kv := map[string]any{"name": "shop", "service/c1/failover": map[string]any{"leader": "pg1", "member": "pg2"}}
	config := ""
	for i := range 8 {
		name := fmt.Sprintf("c%d", i+1)
		kv["service/"+name+"/leader"], kv["service/"+name+"/members/pg1"] = "pg1", member(5001+i, "master", "running")
		config += fmt.Sprintf("cluster \"patroni\" %q {\n  confirm    = [\"none\"]\n  early_hold = false\n}\n", name)
	}
	putKeys(t, dir, kv)
	p := startDaemon(t, dir, page.block()+config+strings.Replace(operated, "state.yaml", "state.json", 1), filepath.Join(dir, "out"))
	page.says(t, "/readyz", 200, "ready")
	page.scene(t, "many")
	stopDaemon(t, p)
}

// TestDiffsForEverybody: what changed in a file that not every user may read is shown only
// where the config says so, and by a SIGHUP.
func TestDiffsForEverybody(t *testing.T) {
	dir, page := servertest.PostgresDir(t), listener{servertest.FreePort(t)}
	putName(t, dir, "shop")
	config := page.block() + strings.Replace(operated, `"out"`, "\"out\"\n    perms = \"0640\"", 1)
	p := startDaemon(t, dir, config, filepath.Join(dir, "out"))
	page.says(t, "/readyz", 200, "ready")
	putName(t, dir, "store")
	page.says(t, "/history.json?id=2", 200, `"outcome": "applied"`, `/out"`)
	told := func(s string) {
		t.Helper()
		path := filepath.Join(dir, "pgbaton.hcl")
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		servertest.File(t, path, s+string(content), 0o644)
		p.Signal(t, syscall.SIGHUP)
	}
	if _, body, err := page.get(t, "/history.json"); err != nil || strings.Contains(body, "+store") {
		t.Errorf("everybody sees %s, %v", body, err)
	}
	told("status {\n  diffs = true\n}\n")
	page.says(t, "/history.json?id=2", 200, `-shop\n+store\n`)
	stopDaemon(t, p)
}

// TestPageWithoutPgbaton: pgbaton goes while somebody looks, and comes back; then so many
// look that there is no stream for one more.
func TestPageWithoutPgbaton(t *testing.T) {
	dir, page := servertest.PostgresDir(t), listener{servertest.FreePort(t)}
	putName(t, dir, "shop")
	start := func() *servertest.Process {
		return startDaemon(t, dir, page.block()+operated, filepath.Join(dir, "out"))
	}
	p := start()
	page.says(t, "/readyz", 200, "ready")
	page.scene(t, "line", cue{"stop pgbaton", func() { stopDaemon(t, p) }}, cue{"start pgbaton", func() { p = start() }})

	for taken := 0; taken < 16; {
		stream, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", page.port))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stream.Close() }()
		_, _ = io.WriteString(stream, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
		answer := make([]byte, 12)
		if _, err := io.ReadFull(stream, answer); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(string(answer), " 200") {
			taken++
		} else { // the browser of before has not let go yet
			_ = stream.Close()
		}
	}
	page.scene(t, "crowded")
	stopDaemon(t, p) // whoever looks
}
