package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// pipeline is an example's pipeline: its commands in their order, and whom they run as.
type pipeline struct {
	commands  []string
	artifacts []string
	root      bool
}

func pipelines(t *testing.T) map[string]pipeline {
	t.Helper()
	decode := func(name string, into any) {
		t.Helper()
		content, err := os.ReadFile(filepath.Join("../examples/ci", name))
		if err == nil {
			err = yaml.Unmarshal(content, into)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	var github struct {
		Jobs map[string]struct {
			Steps []struct {
				Run, Uses string
				With      map[string]string
			}
		}
	}
	decode("workflow.yaml", &github)
	var one pipeline
	for _, step := range github.Jobs["render"].Steps {
		if step.Run != "" {
			one.commands = append(one.commands, step.Run)
		}
		if strings.HasPrefix(step.Uses, "actions/upload-artifact@") {
			one.artifacts = []string{step.With["path"]}
		}
	}
	var gitlab struct {
		Render struct {
			Before    []string `yaml:"before_script"`
			Script    []string
			Artifacts struct{ Paths []string }
		}
	}
	decode("gitlab-ci.yaml", &gitlab)
	return map[string]pipeline{
		"workflow.yaml":  one,
		"gitlab-ci.yaml": {slices.Concat(gitlab.Render.Before, gitlab.Render.Script), gitlab.Render.Artifacts.Paths, true},
	}
}

// TestExamplePipelines runs what the pipelines of examples/ci run, but for what fetches
// programs: of that it looks whether there is such a thing.
func TestExamplePipelines(t *testing.T) {
	packages, err := os.ReadFile("packages.txt")
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range pipelines(t) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "repository")
			if err := os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755); err != nil { // for nobody
				t.Fatal(err)
			}
			if err := os.CopyFS(dir, os.DirFS("../examples/ci")); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(dir, "check.sh"), 0o755); err != nil {
				t.Fatal(err)
			}
			ran := 0
			for _, command := range p.commands {
				if fetches(t, command, string(packages)) {
					continue
				}
				ran++
				cmd := exec.Command("sh", "-ec", command)
				if !p.root { // as GitHub's runners, a user of their own
					if out, err := exec.Command("chown", "-R", "nobody", dir).CombinedOutput(); err != nil {
						t.Fatalf("chown: %v: %s", err, out)
					}
					cmd = exec.Command(servertest.Need(t, "setpriv"), "--reuid=nobody", "--regid=nogroup", "--clear-groups", "sh", "-ec", command)
				}
				cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v: %s", command, err, out)
				}
			}
			if ran == 0 || len(p.artifacts) != 1 {
				t.Fatalf("%d commands, artifacts %v", ran, p.artifacts)
			}
			for path, part := range map[string]string{
				"etc/pgbouncer/pgbouncer.ini": "\nshop = host=10.0.0.11 port=5432\n", "etc/pgbouncer/userlist.txt": "SCRAM-SHA-256$", "etc/haproxy/haproxy.cfg": "server leader 10.0.0.11:5432",
			} {
				content, err := os.ReadFile(filepath.Join(dir, p.artifacts[0], path))
				if err != nil || !strings.Contains(string(content), part) {
					t.Errorf("%s: %v, want %q in:\n%s", path, err, part, content)
				}
			}

			// A bad change fails the build.
			servertest.File(t, filepath.Join(dir, "userlist.txt.tmpl"), "{{ kee \"x\" }}", 0o644)
			last := exec.Command("sh", "-ec", p.commands[len(p.commands)-1])
			last.Dir, last.Env = dir, append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
			if out, err := last.CombinedOutput(); err == nil || last.ProcessState.ExitCode() != 3 {
				t.Errorf("with a bad template: %v: %s", err, out)
			}
		})
	}
}

// fetches says whether a command gets programs from elsewhere, and looks whether they
// are those that are meant.
func fetches(t *testing.T, command, packages string) bool {
	t.Helper()
	if module, found := strings.CutPrefix(command, "go install "); found {
		path, _, _ := strings.Cut(module, "@")
		if out, err := exec.Command("go", "list", "-f", "{{ .Name }}", path).CombinedOutput(); err != nil || string(out) != "main\n" {
			t.Errorf("%s: %v: %s", command, err, out)
		}
		return true
	}
	if !strings.Contains(command, "apt-get ") {
		return false
	}
	_, install, _ := strings.Cut(command, "apt-get install ")
	for _, word := range strings.Fields(install) {
		if !strings.HasPrefix(word, "-") && !strings.Contains(packages, "\n"+word+" ") {
			t.Errorf("%s: %s is no package that the tests know", command, word)
		}
	}
	return true
}
