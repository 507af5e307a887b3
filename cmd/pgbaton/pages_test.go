package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// silent is nowhere.
func silent() stdio {
	return stdio{in: strings.NewReader(""), out: &strings.Builder{}, err: &strings.Builder{}}
}

// docs/commands.md is made of what -help says; -update writes it anew.
func TestDocsCommandsPage(t *testing.T) {
	const path = "../../docs/commands.md"
	want := commandsPage(newRoot(silent()))
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != want {
		t.Errorf("docs/commands.md is not what the verbs say (%v): go test ./cmd/pgbaton -run TestDocsCommandsPage -update writes it anew", err)
	}
}

// Each verb has a man page, with an example, that mandoc has nothing to say about. The
// same source makes the same pages.
func TestManPages(t *testing.T) {
	lint := servertest.Need(t, "mandoc")
	t.Setenv("SOURCE_DATE_EPOCH", "1764115200")
	dirs := []string{t.TempDir(), t.TempDir()}
	for _, dir := range dirs {
		if code, _, stderr := try(t, "docs", "-man", dir); code != exitDone {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
	}
	pages := 0
	for _, verb := range documented(newRoot(silent())) {
		pages++
		name := strings.ReplaceAll(verb.CommandPath(), " ", "-") + ".1"
		text, err := os.ReadFile(filepath.Join(dirs[0], name))
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(text), "\n.SH EXAMPLE\n") {
			t.Errorf("%s has no example", name)
		}
		if again, err := os.ReadFile(filepath.Join(dirs[1], name)); err != nil || string(again) != string(text) {
			t.Errorf("%s is another the second time: %v", name, err)
		}
		if !strings.Contains(string(text), `"2025-11-26"`) {
			t.Errorf("%s is not of the date that was asked for", name)
		}
		if out, err := exec.Command(lint, "-T", "lint", "-W", "warning", filepath.Join(dirs[0], name)).CombinedOutput(); err != nil {
			t.Errorf("mandoc: %v: %s", err, out)
		}
		out, err := exec.Command(lint, "-T", "ascii", filepath.Join(dirs[0], name)).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "pgbaton") {
			t.Errorf("mandoc: %v: %s", err, out)
		}
	}
	if pages < len(verbs(t)) {
		t.Errorf("%d pages of %d verbs", pages, len(verbs(t)))
	}
}

// stand makes a folder in which the examples of all verbs work, with a pgbaton that runs,
// and makes it the working directory.
func stand(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state-home"))
	t.Setenv("STATE_DIRECTORY", "")
	const config = `state_dir = "%s"
file {
  path = "state.yaml"
}
target "exec" "app" {
  template {
    contents    = "{{ key \"app/name\" }}\n"
    destination = "%s"
  }
  command = ["true"]
}
`
	if err := os.Mkdir("conf.d", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"state.yaml": "kv: {app/name: shop}\n", "other.yaml": "kv: {app/name: store}\n",
		"pgbaton.hcl": fmt.Sprintf(config, "state", "out"), "conf.d/pgbaton.hcl": fmt.Sprintf(config, "state", "../out"),
		"pgdoctor.cfg": fmt.Sprintf("http_port = %d\npg_host = 127.0.0.1\npg_port = 1\n", servertest.FreePort(t)),
		"patroni.yml":  "scope: batman\nconsul: {host: '127.0.0.1:8500'}\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// held is a target whose clients may be kept waiting, and lead to no leader.
const held = `state_dir = "state"
file {
  path = "state.yaml"
}
target "pgbouncer" "edge" {
  template {
    contents    = "[databases]\n* = host=192.0.2.1\n[pgbouncer]\nlisten_port = 6432\nauth_type = any\n"
    destination = "pgbouncer.ini"
  }
}
`

// The example of each verb does what it says, with the exit code that a comment names.
func TestVerbExamples(t *testing.T) {
	exit := regexp.MustCompile(`\s*# exit (\d+)$`)
	asks := regexp.MustCompile(`^pgbaton (status|history|verify|report|freeze|thaw|apply)\b`) // the pgbaton that runs
	for _, verb := range documented(newRoot(silent())) {
		t.Run(verb.Name(), func(t *testing.T) {
			if verb.Example == "" {
				t.Fatal("it has none")
			}
			stand(t)
			if verb.Name() == "hold" { // it takes a target that can
				if err := os.WriteFile("pgbaton.hcl", []byte(held), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if asks.MatchString(verb.CommandPath()) {
				startOne(t)
			}
			for line := range strings.Lines(verb.Example) {
				line = strings.TrimSpace(line)
				if line == "" || strings.HasPrefix(line, "#") {
					continue
				}
				want := exitDone
				if m := exit.FindStringSubmatch(line); m != nil {
					_, _ = fmt.Sscan(m[1], &want)
					line = strings.TrimSuffix(line, m[0])
				}
				example(t, line, want)
			}
		})
	}
}

// example runs one line of an example.
func example(t *testing.T, line string, want int) {
	t.Helper()
	args := strings.Fields(line)
	if line == "source <(pgbaton completion bash)" {
		args = []string{"pgbaton", "completion", "bash"}
	}
	if args[0] != "pgbaton" {
		t.Errorf("%s: no example of pgbaton", line)
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, log buffer
	code := make(chan int, 1)
	go func() { code <- run(ctx, args[1:], stdio{in: strings.NewReader(""), out: &out, err: &log}) }()
	switch line {
	case "pgbaton run -config pgbaton.hcl": // runs until it is ended
		servertest.Eventually(t, "it applies", saysIn(&log, "applied: target=exec.app"))
		cancel()
	case "pgbaton doctor pgdoctor.cfg":
		servertest.Eventually(t, "it serves", saysIn(&log, "serving: listen="))
		cancel()
	case "pgbaton demo":
		servertest.Eventually(t, "it reloads", saysIn(&out, "reloaded"))
		cancel()
	}
	if got := <-code; got != want {
		t.Errorf("%s: exit code %d, want %d: %s%s", line, got, want, out.String(), log.String())
	}
}

// saysIn is a condition for Eventually: a text was written.
func saysIn(b *buffer, text string) func() error {
	return func() error {
		if !strings.Contains(b.String(), text) {
			return fmt.Errorf("no %q in:\n%s", text, b.String())
		}
		return nil
	}
}

// startOne runs a pgbaton on the config of stand until the test ends.
func startOne(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	var log buffer
	go func() {
		defer close(ended)
		run(ctx, []string{"run", "-config", "pgbaton.hcl"}, stdio{in: strings.NewReader(""), out: &log, err: &log})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	servertest.Eventually(t, "it can be asked, and all is well", func() error {
		if code, stdout, stderr := try(t, "status", "-config", "pgbaton.hcl"); code != exitDone {
			return fmt.Errorf("exit code %d: %s%s", code, stdout, stderr)
		}
		return nil
	})
}
