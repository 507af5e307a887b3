//go:build amd64

package chaos

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// reader is somebody who would like to read what is not for him.
type reader struct {
	name string
	uid  uint32
	gids []uint32
}

// may says whether the bits of a file or folder give him a right: 4 to read, 1 to enter.
func (r reader) may(right fs.FileMode, mode fs.FileMode, uid, gid uint32) bool {
	switch {
	case r.uid == uid:
		return mode>>6&right != 0
	case slices.Contains(r.gids, gid):
		return mode>>3&right != 0
	}
	return mode&right != 0
}

// reads says whether he can read a file below a folder that everybody may enter.
func (r reader) reads(folder, path string) bool {
	for at, right := path, fs.FileMode(4); at != folder; at, right = filepath.Dir(at), 1 {
		info, err := os.Lstat(at)
		if err != nil {
			return false // it is gone already
		}
		stat := info.Sys().(*syscall.Stat_t)
		if !r.may(right, info.Mode().Perm(), stat.Uid, stat.Gid) {
			return false
		}
	}
	return true
}

// wanted is how a destination is to lie: whoever can't read it may not read what
// goes there, wherever it is on its way.
type wanted struct {
	mode     fs.FileMode
	uid, gid uint32
}

// TestNeverReadableWider stops pgbaton at each system call by which it changes
// anything, and looks at every file that it has made by then: staged ones, copies
// for the checks, state files, backups. Its umask allows everything.
func TestNeverReadableWider(t *testing.T) {
	t.Run("root", func(t *testing.T) { neverWider(t, true) })
	t.Run("normal user", func(t *testing.T) { neverWider(t, false) })
}

func neverWider(t *testing.T, root bool) {
	s := &stand{dir: servertest.PostgresDir(t)}
	cmd := s.as(t, binary, "run", "-once", "-config", s.config())
	who := cmd.SysProcAttr.Credential
	const other, group = 65534, 12345
	owner, script := *who, ""
	if root {
		cmd.SysProcAttr = nil
		owner.Uid, owner.Gid, script = 0, 0, "user = \"65534\"\n group = \"65534\"" // what only root may give
	}
	readers := []reader{
		{"postgres", who.Uid, []uint32{who.Gid}},
		{"one of postgres's group", group, []uint32{who.Gid}},
		{"nobody", other, []uint32{other}},
		{"anybody", group + 1, []uint32{group + 1}},
	}
	env := wanted{0o440, owner.Uid, owner.Gid}
	if root {
		env.uid, env.gid = other, other
	}
	secrets := map[string]wanted{
		"SECRET-INI":   {0o640, who.Uid, who.Gid},
		"SECRET-USERS": {0o600, who.Uid, who.Gid},
		"SECRET-ENV":   env,
		"SECRET-ASIDE": {0o600, owner.Uid, owner.Gid},
		"SECRET-OLD":   {0o640, who.Uid, who.Gid},
	}

	etc, temp, state := filepath.Join(s.dir, "etc"), filepath.Join(s.dir, "tmp"), filepath.Join(s.dir, "state")
	for _, dir := range []string{etc, temp} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, int(who.Uid), int(who.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(temp, 0o1777); err != nil {
		t.Fatal(err)
	}
	ini := servertest.File(t, filepath.Join(etc, "pgbouncer.ini"), "; SECRET-OLD\n", 0o640)
	if err := os.Chown(ini, int(who.Uid), int(who.Gid)); err != nil {
		t.Fatal(err)
	}
	servertest.File(t, filepath.Join(s.dir, "state.yaml"), "kv: {a: b}\n", 0o644)
	servertest.File(t, s.config(), strings.NewReplacer("DIR", s.dir, "OWNER", script).Replace(`state_dir = "DIR/state"
file {
  path = "DIR/state.yaml"
}
target "pgbouncer" "edge" {
  template {
    contents    = "[databases]\na = host=127.0.0.1 password=SECRET-INI\n[pgbouncer]\nauth_type = md5\nauth_file = DIR/etc/userlist.txt\n"
    destination = "DIR/etc/pgbouncer.ini"
    perms       = "0640"
    user        = "postgres"
    group       = "postgres"
    backup      = true
  }
  template {
    contents    = "\"a\" \"SECRET-USERS\"\n"
    destination = "DIR/etc/userlist.txt"
    perms       = "0600"
    user        = "postgres"
    group       = "postgres"
  }
  socket = "DIR"
  port   = 1
}
target "exec" "env" {
  template {
    contents         = "A=SECRET-ENV\n{{ \"SECRET-ASIDE\" | writeToFile \"DIR/etc/aside\" \"\" \"\" \"0600\" }}"
    destination      = "DIR/etc/more/env"
    create_dest_dirs = true
    perms            = "0440"
    OWNER
  }
  check   = ["cat", "{file}"]
  command = ["true"]
}
`), 0o644)

	seen := map[string]bool{}
	look := func(call string) {
		walk(s.dir, func(path string, content string) {
			for _, r := range readers {
				reads := r.reads(s.dir, path)
				if reads && strings.HasPrefix(path, state+"/") && r.uid != owner.Uid {
					t.Errorf("before %s, %s can read %s", call, r.name, path)
				}
				for secret, w := range secrets {
					if !strings.Contains(content, secret) || path == s.config() {
						continue
					}
					seen[secret+" "+kindOf(path)] = true
					if reads && !r.may(4, w.mode, w.uid, w.gid) {
						t.Errorf("before %s, %s can read %s in %s", call, r.name, secret, path)
					}
				}
			}
		})
	}
	cmd.Env = append(cmd.Env, "TMPDIR="+temp)
	res := unmasked(t, cmd, look)
	look("the end")
	for _, kind := range []string{"SECRET-INI staged", "SECRET-INI copy", "SECRET-INI destination", "SECRET-USERS staged", "SECRET-USERS copy", "SECRET-ENV staged", "SECRET-ENV destination", "SECRET-ASIDE staged", "SECRET-OLD backup"} {
		if !seen[kind] {
			t.Errorf("%s was never there: this test shows less than it should; seen are %v", kind, seen)
		}
	}
	t.Logf("looked at each of %d calls", len(res.Calls))
	if t.Failed() {
		t.Log(res.Output)
	}
}

// unmasked runs a program without a umask, and looks before each of its calls.
func unmasked(t *testing.T, cmd *exec.Cmd, look func(call string)) faulttest.Result {
	t.Helper()
	was := syscall.Umask(0)
	defer syscall.Umask(was)
	res, err := faulttest.Run(cmd, func(_ int, c faulttest.Call) faulttest.Fault {
		look(c.String())
		return faulttest.Fault{}
	})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// walk reads each regular file below a folder. What goes meanwhile is left out.
func walk(dir string, visit func(path, content string)) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			walk(path, visit)
		} else if e.Type().IsRegular() {
			if content, err := os.ReadFile(path); err == nil {
				visit(path, string(content))
			}
		}
	}
}

// kindOf says what a file is on the way of a secret.
func kindOf(path string) string {
	switch {
	case strings.Contains(path, "/pgbaton-check-"):
		return "copy"
	case strings.HasSuffix(path, ".pgbaton"), strings.HasSuffix(path, ".pgbaton.bak"):
		return "staged"
	case strings.HasSuffix(path, ".bak"):
		return "backup"
	}
	return "destination"
}
