package compat

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestSameConfigs runs whole configs with both, once, and compares what lies there
// afterwards: content and permissions. A name that begins with "fails" must fail.
func TestSameConfigs(t *testing.T) {
	server := fixture(t)
	pgbaton := filepath.Join(t.TempDir(), "pgbaton")
	if out, err := exec.Command("go", "build", "-o", pgbaton, "../../cmd/pgbaton").CombinedOutput(); err != nil {
		t.Fatalf("build pgbaton: %v\n%s", err, out)
	}
	theirs := servertest.ConsulTemplate(t)
	paths, err := filepath.Glob("testdata/configs/*.txtar")
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d configs: %v", len(paths), err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		t.Run(name, func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			their, theirErr := once(t, archive, server.Addr, theirs)
			our, ourErr := once(t, archive, server.Addr, pgbaton, "-timeout", "20s")
			if fails := strings.HasPrefix(name, "fails-"); (theirErr != nil) != fails || (ourErr != nil) != fails {
				t.Fatalf("consul-template: %v\npgbaton: %v", theirErr, ourErr)
			} else if fails {
				t.Logf("consul-template: %v\npgbaton: %v", theirErr, ourErr)
				return
			}
			if !maps.Equal(their, our) {
				for _, file := range slices.Sorted(maps.Keys(their)) {
					if their[file] != our[file] {
						t.Errorf("%s is %s, not %s", file, our[file], their[file])
					}
				}
				for file := range our {
					if _, there := their[file]; !there {
						t.Errorf("%s should not be there", file)
					}
				}
			}
		})
	}
}

// once unpacks an archive, runs a program on it, and reads what is there then.
func once(t *testing.T, archive *txtar.Archive, consul, program string, args ...string) (map[string]string, error) {
	t.Helper()
	dir := t.TempDir()
	config := ""
	for _, f := range archive.Files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		servertest.File(t, path, strings.ReplaceAll(string(f.Data), "CONSUL", consul), 0o644)
		if config == "" {
			config, _, _ = strings.Cut(f.Name, "/")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append([]string{"-once", "-config", config}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "STATE_DIRECTORY="+t.TempDir())
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = fmt.Sprintf("%s %q", info.Mode(), content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, nil
}
