package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// try runs one command line in this process.
func try(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, stdio{in: strings.NewReader(""), out: &out, err: &err})
	return code, out.String(), err.String()
}

// copied puts the examples, as a clone has them, below a folder of the test's
// own and makes that the working directory.
func copied(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	from := os.DirFS("../../examples")
	err := fs.WalkDir(from, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (path == "quickstart/out" || path == "quickstart/state") {
			return fs.SkipDir // somebody has tried it
		}
		to := filepath.Join(dir, "examples", path)
		if entry.IsDir() {
			return os.MkdirAll(to, 0o750)
		}
		content, err := fs.ReadFile(from, path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	return dir
}

// verbs lists the verbs as -help does.
func verbs(t *testing.T) []string {
	t.Helper()
	_, out, _ := try(t, "-help")
	_, out, _ = strings.Cut(out, "\n\n")
	out, _, _ = strings.Cut(out, "\nFlags:\n")
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+) {2,}\S`).FindAllStringSubmatch(out, -1) {
		if m[1] != "help" {
			names = append(names, m[1])
		}
	}
	return names
}

// Every command line of the documentation is one that pgbaton takes. Those of a
// ```console block work on the examples: they are run, end with the exit code
// that a comment names, and print what is shown.
func TestDocsCommands(t *testing.T) {
	all, known := docs(t), verbs(t)
	command := regexp.MustCompile(`(?:^|\s)(?:bin/)?pgbaton ([a-z]+(?: [^#]*)?)(?:#.*)?$`)
	exit := regexp.MustCompile(`# exit (\d+)`)
	for path, d := range all {
		t.Run(path, func(t *testing.T) {
			copied(t)
			for _, s := range d.snippets {
				if s.lang != "sh" && s.lang != "console" {
					continue
				}
				printed := ""
				for line := range strings.Lines(s.text) {
					line = strings.TrimSuffix(line, "\n")
					m := command.FindStringSubmatch(line)
					if m == nil {
						if s.lang == "console" && !strings.Contains("\n"+printed, "\n"+line+"\n") {
							t.Errorf("line %d: nothing printed %q, but:\n%s", s.line, line, printed)
						}
						continue
					}
					args := strings.Fields(m[1])
					if !slices.Contains(known, args[0]) {
						t.Errorf("line %d: there is no verb %q", s.line, args[0])
						continue
					}
					if code, _, stderr := try(t, append(slices.Clone(args), "-help")...); code != exitDone {
						t.Errorf("%s: exit code %d: %s", line, code, stderr)
					}
					if s.lang != "console" {
						continue
					}
					want := "0"
					if m := exit.FindStringSubmatch(line); m != nil {
						want = m[1]
					}
					code, stdout, stderr := try(t, args...)
					if strconv.Itoa(code) != want {
						t.Errorf("%s: exit code %d, want %s: %s", line, code, want, stderr)
					}
					printed = stdout + stderr
				}
			}
		})
	}
}

func TestExamplesCheck(t *testing.T) {
	configs, err := filepath.Glob("../../examples/*/*.hcl")
	if err != nil || len(configs) < 4 {
		t.Fatalf("examples: %v, %v", configs, err)
	}
	for _, config := range configs {
		if code, _, stderr := try(t, "check", "-config", config); code != exitDone || stderr != "" {
			t.Errorf("%s: exit code %d: %s", config, code, stderr)
		}
		if code, diff, stderr := try(t, "fmt", "-check", "-diff", config); code != exitDone {
			t.Errorf("%s: exit code %d: %s%s", config, code, diff, stderr)
		}
	}
}

func TestExampleQuickstart(t *testing.T) {
	dir := filepath.Join(copied(t), "examples", "quickstart")
	once := func() {
		t.Helper()
		if code, _, stderr := try(t, "run", "-once", "-config", "examples/quickstart/pgbaton.hcl"); code != exitDone {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
	}
	want := func(name, part string, lines int) {
		t.Helper()
		content, err := os.ReadFile(filepath.Join(dir, "out", name))
		if err != nil || !strings.Contains(string(content), part) || strings.Count(string(content), "\n") != lines {
			t.Errorf("%s: %v, want %q in %d lines:\n%s", name, err, part, lines, content)
		}
	}
	once()
	want("database.env", "PGHOST=10.0.0.11\n", 5)
	want("database.env", "PGHOST_READ=10.0.0.12\n", 5)
	once()
	want("database.env.reloads", "", 1)

	// The leader moves, as the README says.
	path := filepath.Join(dir, "state.yaml")
	state, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	moved := strings.Replace(string(state), "batman/leader: pg1", "batman/leader: pg2", 1)
	if err := os.WriteFile(path, []byte(moved), 0o600); err != nil {
		t.Fatal(err)
	}
	once()
	want("database.env", "PGHOST=10.0.0.12\n", 5)
	want("database.env.reloads", "", 2)
}

// The script of the CI example does what it says.
func TestExampleCI(t *testing.T) {
	dir := copied(t)
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// As testscript does it: the test's own program is pgbaton by that name.
	if err := os.Symlink(self, filepath.Join(bin, "pgbaton")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	out, err := exec.CommandContext(t.Context(), "sh", "examples/ci/check.sh", "rendered").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for path, part := range map[string]string{
		"etc/pgbouncer/pgbouncer.ini": "\nshop_ro = host=10.0.0.12,10.0.0.13 port=5432 dbname=shop\n",
		"etc/pgbouncer/userlist.txt":  "\"shop\" \"SCRAM-SHA-256$4096:",
		"etc/haproxy/haproxy.cfg":     "\n    server leader 10.0.0.11:5432 check port 8008\n",
	} {
		content, err := os.ReadFile(filepath.Join(dir, "rendered", path))
		if err != nil || !strings.Contains(string(content), part) {
			t.Errorf("%s: %v, want %q in:\n%s", path, err, part, content)
		}
	}
	var workflow struct {
		Jobs map[string]struct {
			Steps []map[string]any `yaml:"steps"`
		} `yaml:"jobs"`
	}
	decode(t, "examples/ci/workflow.yaml", &workflow)
	if len(workflow.Jobs["render"].Steps) == 0 {
		t.Error("workflow.yaml has no job render with steps")
	}
}

func decode(t *testing.T, path string, into any) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// systemd takes the unit, but for the program, which is not installed here.
func TestExampleSystemd(t *testing.T) {
	content, err := os.ReadFile("../../examples/systemd/pgbaton.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := string(content)
	verbs := regexp.MustCompile(`(?m)^(ExecStart|ExecStopPost)=/usr/bin/pgbaton (.*)$`).FindAllStringSubmatch(unit, -1)
	if len(verbs) != 2 {
		t.Fatalf("it runs %v, want ExecStart and ExecStopPost", verbs)
	}
	for _, verb := range verbs {
		if code, _, stderr := try(t, append(strings.Fields(verb[2]), "-help")...); code != exitDone {
			t.Errorf("%s: exit code %d: %s", verb[1], code, stderr)
		}
	}
	path := filepath.Join(t.TempDir(), "pgbaton.service")
	unit = strings.ReplaceAll(unit, "/usr/bin/pgbaton", "/bin/true")
	if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	analyze := servertest.Need(t, "systemd-analyze")
	// It ends well for a setting that it does not know: its words count too.
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", "--recursive-errors=no", path).CombinedOutput()
	if err != nil || strings.Contains(string(out), filepath.Base(path)+":") {
		t.Errorf("systemd-analyze verify: %v: %s", err, out)
	}
}

// The unit is as little exposed as its README says, alone and with each drop-in.
func TestExampleSystemdExposure(t *testing.T) {
	analyze := servertest.Need(t, "systemd-analyze")
	const folder = "../../examples/systemd"
	dropIns, err := filepath.Glob(folder + "/drop-ins/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, table := range docs(t)["examples/systemd/README.md"].tables {
		for _, row := range table.rows {
			if table.heading == "What it costs to give rights back" {
				documented[code(row[0])] = row[1]
			}
		}
	}
	if len(documented) != len(dropIns)+1 {
		t.Errorf("documented are %v, there are %v", documented, dropIns)
	}
	for _, dropIn := range append(dropIns, "none") {
		dir, name := t.TempDir(), filepath.Base(dropIn)
		for from, to := range map[string]string{folder + "/pgbaton.service": "pgbaton.service", dropIn: "pgbaton.service.d/" + name} {
			if from == "none" {
				continue
			}
			content, err := os.ReadFile(from)
			if err == nil {
				err = os.MkdirAll(filepath.Dir(filepath.Join(dir, to)), 0o750)
			}
			if err != nil {
				t.Fatal(err)
			}
			servertest.File(t, filepath.Join(dir, to), strings.ReplaceAll(string(content), "/usr/bin/pgbaton", "/bin/true"), 0o600)
		}
		cmd := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--no-pager", "./pgbaton.service")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		m := regexp.MustCompile(`exposure level for pgbaton\.service: ([0-9.]+) `).FindStringSubmatch(string(out))
		if err != nil || m == nil {
			t.Fatalf("%v: %s", err, out)
		}
		if m[1] != documented[name] {
			t.Errorf("with %s it is %s, documented is %q", name, m[1], documented[name])
		}
		const most = 2.0
		if exposure, err := strconv.ParseFloat(m[1], 64); name == "none" && (err != nil || exposure > most) {
			t.Errorf("the unit's exposure is %s, want %v at most: %s", m[1], most, out)
		}
	}
}

// What can be seen of the images without an engine: each instruction is one,
// what is copied is what make build makes, and the verbs exist.
func TestExampleDocker(t *testing.T) {
	known := []string{"ARG", "FROM", "RUN", "COPY", "USER", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
	for _, name := range []string{"Dockerfile", "Dockerfile.debian"} {
		content, err := os.ReadFile("../../examples/docker-sidecar/" + name)
		if err != nil {
			t.Fatal(err)
		}
		text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(string(content), "")
		text = strings.ReplaceAll(text, "\\\n", " ")
		for line := range strings.Lines(text) {
			word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			if word != "" && !slices.Contains(known, word) {
				t.Errorf("%s: %q is no instruction", name, line)
			}
			if word == "HEALTHCHECK" {
				_, rest, _ = strings.Cut(rest, " CMD ")
			}
			var list []string
			if word == "ENTRYPOINT" || word == "CMD" || word == "HEALTHCHECK" {
				if err := yaml.Unmarshal([]byte(rest), &list); err != nil || len(list) == 0 {
					t.Errorf("%s: %s is not in the exec form: %v", name, line, err)
				}
			}
			if word == "HEALTHCHECK" && len(list) > 0 {
				list = list[1:] // the program
			}
			if word == "CMD" || word == "HEALTHCHECK" {
				if code, _, stderr := try(t, append(list, "-help")...); code != exitDone {
					t.Errorf("%s: %s: exit code %d: %s", name, line, code, stderr)
				}
			}
			if word == "COPY" && !strings.HasPrefix(rest, "bin/pgbaton ") && !strings.HasPrefix(rest, "--from=") {
				t.Errorf("%s: %s: make build makes bin/pgbaton", name, line)
			}
		}
	}

	var compose struct {
		Services map[string]struct {
			Build   struct{ Context, Dockerfile, Target string }
			Volumes []string
		}
		Volumes map[string]any
	}
	decode(t, "../../examples/docker-sidecar/compose.yaml", &compose)
	if len(compose.Services) != 2 {
		t.Errorf("%d services", len(compose.Services))
	}
	for name, s := range compose.Services {
		dockerfile := filepath.Join("../../examples/docker-sidecar", s.Build.Context, s.Build.Dockerfile)
		content, err := os.ReadFile(dockerfile)
		if err != nil || !strings.Contains(string(content), " AS "+s.Build.Target+"\n") {
			t.Errorf("%s: %s has no stage %s: %v", name, dockerfile, s.Build.Target, err)
		}
		for _, v := range s.Volumes {
			volume, _, _ := strings.Cut(v, ":")
			info, err := os.Stat(filepath.Join("../../examples/docker-sidecar", volume))
			if _, named := compose.Volumes[volume]; !named && (err != nil || !info.IsDir()) {
				t.Errorf("%s: %s is neither a volume nor a folder: a single file would go on showing the old one", name, v)
			}
		}
	}
}
