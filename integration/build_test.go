package integration

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// copyOfSource copies the source to a folder of another name and depth.
func copyOfSource(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), name)
	root := servertest.ModuleRoot(t)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != root && slices.Contains([]string{".cache", ".git", "bin"}, entry.Name()) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		to := filepath.Join(dir, strings.TrimPrefix(path, root))
		if entry.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, info.Mode().Perm())
	})
	if err == nil {
		err = os.Symlink(filepath.Join(root, ".cache"), filepath.Join(dir, ".cache")) // the tools
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func makeIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(servertest.Need(t, "make"), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("make %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// The same source makes the same bytes, wherever it lies, and so do its list of parts
// and its package.
func TestBuildIsReproducible(t *testing.T) {
	var sums [2]string
	for i, name := range []string{"a", "somewhere/else/entirely"} {
		dir := copyOfSource(t, name)
		makeIn(t, dir, "sbom", "deb", "VERSION=v0.0.0-test")
		for _, file := range []string{"bin/pgbaton", "bin/pgbaton.cdx.json", "bin/pgbaton_0.0.0~test_" + runtime.GOARCH + ".deb"} {
			content, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(content), dir) {
				t.Errorf("%s names the folder that it was built in", file)
			}
			sums[i] += fmt.Sprintf("%s %x\n", file, sha256.Sum256(content))
		}
		if i == 1 {
			partsOf(t, filepath.Join(dir, "bin/pgbaton"), filepath.Join(dir, "bin/pgbaton.cdx.json"))
		}
	}
	if sums[0] != sums[1] {
		t.Errorf("two folders make\n%s\nand\n%s", sums[0], sums[1])
	}
}

// partsOf wants each module of a program, and nothing else, in its list of parts.
func partsOf(t *testing.T, program, list string) {
	t.Helper()
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	type component struct{ Name, Version string }
	var bom struct {
		BOMFormat  string
		Metadata   struct{ Component component }
		Components []component
	}
	content, err := os.ReadFile(list)
	if err == nil {
		err = json.Unmarshal(content, &bom)
	}
	if err != nil || bom.BOMFormat != "CycloneDX" || bom.Metadata.Component.Version != "v0.0.0-test" {
		t.Fatalf("%s: %v, of %+v", bom.BOMFormat, err, bom.Metadata)
	}
	want := map[component]bool{{"std", runtime.Version()}: true}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		want[component{module.Path, module.Version}] = true
	}
	for _, c := range bom.Components {
		if !want[c] {
			t.Errorf("%v is in the list, and not in the program", c)
		}
		delete(want, c)
	}
	if len(want) > 0 {
		t.Errorf("in the program, and not in the list: %v", want)
	}
}

// make vuln finds what its database knows, and says so if it has none.
func TestVulnerabilitiesAreFound(t *testing.T) {
	database := func(modules, id, entry string) string {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "index"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "ID"), 0o755); err != nil {
			t.Fatal(err)
		}
		servertest.File(t, filepath.Join(dir, "index/db.json"), `{"modified":"2026-01-01T00:00:00Z"}`, 0o644)
		servertest.File(t, filepath.Join(dir, "index/modules.json"), modules, 0o644)
		servertest.File(t, filepath.Join(dir, "index/vulns.json"), "[]", 0o644)
		if id != "" {
			servertest.File(t, filepath.Join(dir, "ID", id+".json"), entry, 0o644)
		}
		return "file://" + dir
	}
	const found = `{"schema_version":"1.3.1","id":"GO-2099-0001","modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z","summary":"Planted","details":"Planted.","affected":[{"package":{"name":"stdlib","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],"ecosystem_specific":{"imports":[{"path":"fmt","symbols":["Sprintf"]}]}}],"database_specific":{"url":"https://pkg.go.dev/vuln/GO-2099-0001"}}`
	for name, c := range map[string]struct {
		database string
		fails    bool
		says     string
	}{
		"nothing known":        {database("[]", "", ""), false, "No vulnerabilities found."},
		"a function is called": {database(`[{"path":"stdlib","vulns":[{"id":"GO-2099-0001","modified":"2026-01-01T00:00:00Z"}]}]`, "GO-2099-0001", found), true, "GO-2099-0001"},
		"no database":          {"http://127.0.0.1:1", false, "vuln: DID NOT RUN: its database at http://127.0.0.1:1 can't be had"},
	} {
		cmd := exec.Command("../integration/vuln.sh", filepath.Join(servertest.ModuleRoot(t), ".cache/tools/govulncheck-1.9.0/govulncheck"), "./internal/hint")
		cmd.Env = append(os.Environ(), "GOVULNDB="+c.database)
		out, err := cmd.CombinedOutput()
		if (err != nil) != c.fails || !bytes.Contains(out, []byte(c.says)) {
			t.Errorf("%s: %v, want failure %v and %q:\n%s", name, err, c.fails, c.says, out)
		}
	}
}
