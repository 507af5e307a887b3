package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/doctor"
	"github.com/pgbaton/pgbaton/internal/probe"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// docs/doctor.md has each setting of a pgdoctor.cfg, in order, with pgDoctor's first, and
// each operator.
func TestDocsDoctor(t *testing.T) {
	page := docs(t)["docs/doctor.md"]
	documented := map[string][]string{}
	for _, table := range page.tables {
		for _, row := range table.rows {
			documented[table.header[0]] = append(documented[table.header[0]], code(row[0]))
		}
	}
	names, ours := doctor.Keys()
	if have := strings.Join(documented["setting"], " "); have != strings.Join(names, " ") {
		t.Errorf("documented are %s, there are %s", have, names)
	}
	last := "pg_max_replication_lag" // the page says that pgbaton's own are below it
	own := false
	for _, name := range names {
		if ours[name] != own {
			t.Errorf("%s stands on the wrong side of %s", name, last)
		}
		own = own || name == last
	}
	sameNames(t, "operators", documented["operator"], probe.Operators)
	if len(documented["pgDoctor"]) < 15 {
		t.Errorf("what pgDoctor got wrong has %d rows", len(documented["pgDoctor"]))
	}
}

// Every pgdoctor.cfg of the documentation and the examples is a good one.
func TestDocsDoctorFiles(t *testing.T) {
	texts := map[string]string{}
	for path, d := range docs(t) {
		for _, s := range d.snippets {
			if s.lang == "pgdoctor" {
				texts[path+": "+s.text] = s.text
			}
		}
	}
	files, _ := filepath.Glob("../../examples/*/pgdoctor.cfg")
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = string(content)
	}
	if len(texts) < 3 {
		t.Fatalf("only %d are there", len(texts))
	}
	for name, text := range texts {
		if c, mistakes := doctor.Read(text); len(mistakes) > 0 || len(c.Checks) == 0 {
			t.Errorf("%s: %d checks, %+v", name, len(c.Checks), mistakes)
		}
	}
}

// The unit of the example is one, runs a verb that exists, and is as little exposed as it
// can be.
func TestExampleDoctor(t *testing.T) {
	content, err := os.ReadFile("../../examples/doctor/pgbaton-doctor.service")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), "\nExecStart=/usr/bin/pgbaton doctor ${CREDENTIALS_DIRECTORY}/pgdoctor.cfg\n") {
		t.Error("it does not run the doctor")
	}
	dir := t.TempDir()
	servertest.File(t, filepath.Join(dir, "pgbaton-doctor.service"), strings.ReplaceAll(string(content), "/usr/bin/pgbaton", "/bin/true"), 0o600)
	analyze := servertest.Need(t, "systemd-analyze")
	for _, args := range [][]string{
		{"verify", "--man=no", "--recursive-errors=no", "./pgbaton-doctor.service"},
		{"security", "--offline=true", "--no-pager", "--threshold=13", "./pgbaton-doctor.service"}, // 1.3
	} {
		cmd := exec.CommandContext(t.Context(), analyze, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "pgbaton-doctor.service:") && args[0] == "verify" {
			t.Errorf("systemd-analyze %s: %v: %s", args[0], err, out)
		}
	}
}
