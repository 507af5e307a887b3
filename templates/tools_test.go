package templates_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgpassfile"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// unplugged runs a tool where no server can be reached: what it says then is whether
// it could read the file, and where it wanted to go.
func unplugged(t *testing.T, env []string, args ...string) string {
	t.Helper()
	servertest.Need(t, args[0])
	cmd := exec.CommandContext(t.Context(), "unshare", append([]string{"--net"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("%s reached a server: %s", args[0], out)
	}
	return string(out)
}

// barmanReads loads a file the way that Barman loads those of its folder.
func barmanReads(t *testing.T, dir, path, content string) {
	t.Helper()
	global := servertest.File(t, filepath.Join(dir, "global.conf"), fmt.Sprintf(
		"[barman]\nbarman_user = %s\nbarman_home = %s\nconfiguration_files_directory = %s\nlog_level = WARNING\n", me(t), dir, filepath.Join(dir, "barman.d")), 0o644)
	folder := filepath.Join(dir, "barman.d")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, filepath.Join(folder, "server.conf")); err != nil {
		t.Fatal(err)
	}
	server := regexp.MustCompile(`(?m)^\[(.*)\]$`).FindStringSubmatch(content)[1]
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", servertest.Need(t, "barman"), "-c", global, "show-servers", server)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\tdisabled: False\n") || strings.Contains(string(out), "barman.config WARNING") {
		t.Errorf("barman: %v: %s", err, out)
	}
	for line := range strings.Lines(content) {
		name, value, is := strings.Cut(strings.TrimSpace(line), " = ")
		if !is || strings.HasPrefix(line, ";") {
			continue
		}
		value = strings.ReplaceAll(value, "%%", "%")
		value = map[string]string{"on": "True", "off": "False"}[value] + strings.TrimPrefix(strings.TrimPrefix(value, "on"), "off")
		if name == "retention_policy" || name == "backup_options" {
			continue // in other words
		}
		if want := fmt.Sprintf("\t%s: %s\n", name, value); !strings.Contains(string(out), want) {
			t.Errorf("barman does not have %q: %s", want, out)
		}
	}
}

func me(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "id", "-un").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// servicesLead asks psql where each service leads.
func servicesLead(t *testing.T, path, content string) {
	t.Helper()
	sections := strings.Split(content, "\n[")[1:]
	if len(sections) == 0 {
		t.Fatal("there is no service")
	}
	for _, section := range sections {
		name, _, _ := strings.Cut(section, "]")
		hosts := regexp.MustCompile(`(?m)^host=(.*)$`).FindStringSubmatch(section)[1]
		leadsTo(t, unplugged(t, []string{"PGSERVICEFILE=" + path}, "psql", "service='"+name+"'"), strings.Split(hosts, ","))
	}
}

// leadsTo looks whether psql tried these hosts, in their order, and had no other complaint.
func leadsTo(t *testing.T, said string, hosts []string) {
	t.Helper()
	var tried []string
	for line := range strings.Lines(said) {
		m := regexp.MustCompile(`connection to server at "([^"]+)"(?: \([^)]*\))?, port \d+ failed: (.*)`).FindStringSubmatch(line)
		if m == nil {
			if !strings.HasPrefix(line, "\t") {
				t.Errorf("psql says %s", line)
			}
			continue
		}
		if len(tried) == 0 || tried[len(tried)-1] != m[1] {
			tried = append(tried, m[1])
		}
	}
	// Who prefers a standby asks everybody for one, and then everybody.
	if rest, again := strings.CutPrefix(strings.Join(tried, ","), strings.Join(hosts, ",")+","); again && rest == strings.Join(hosts, ",") {
		return
	}
	if !slices.Equal(tried, hosts) {
		t.Errorf("psql tried %v, not %v: %s", tried, hosts, said)
	}
}

// urisLead does the same for each URI.
func urisLead(t *testing.T, content string) {
	t.Helper()
	host := regexp.MustCompile(`(?:\[([^]]+)\]|([^],:[]+)):\d+`)
	for line := range strings.Lines(content) {
		uri := strings.TrimSpace(line)
		authority := uri[strings.Index(uri, "://")+3:]
		authority = authority[strings.Index(authority, "@")+1:]
		authority, _, _ = strings.Cut(authority, "/")
		var hosts []string
		for _, m := range host.FindAllStringSubmatch(authority, -1) {
			hosts = append(hosts, m[1]+m[2])
		}
		leadsTo(t, unplugged(t, nil, "psql", uri), hosts)
	}
}

// passwordsAre looks each entry up as pgx does. libpq itself is asked in
// integration TestFilesForLibpq.
func passwordsAre(t *testing.T, path string, vars map[string]any) {
	t.Helper()
	file, err := pgpassfile.ReadPassfile(path)
	if err != nil || len(file.Entries) == 0 {
		t.Fatal(err, "no entries")
	}
	first, _, _ := strings.Cut(secrets["/etc/pgbaton/app.password"], "\n")
	want := map[string]string{"app": first}
	if password, set := vars["password"]; set {
		want[vars["user"].(string)] = password.(string)
		want["streaming_barman"] = "wörd"
	}
	have := map[string]string{}
	for _, e := range file.Entries {
		have[e.Username] = file.FindPassword(e.Hostname, e.Port, e.Database, e.Username)
	}
	if !maps.Equal(have, want) {
		t.Errorf("passwords %q, want %q", have, want)
	}
}

// poolReads has HikariCP and pgjdbc read a properties file.
func poolReads(t *testing.T, hikari *servertest.Hikari, path string, vars map[string]any) {
	t.Helper()
	read := hikari.Read(t, path)
	for _, name := range []string{"PGHOST", "PGPORT", "targetServerType", "connectTimeout", "socketTimeout"} {
		if read[name] == "" {
			t.Errorf("the driver has no %s: %v", name, read)
		}
	}
	want, _ := vars["password"].(string)
	if vars["password_file"] != nil {
		want, _, _ = strings.Cut(secrets[vars["password_file"].(string)], "\n")
	}
	if have := read["password"]; have != want && (want != "" || have != "null") {
		t.Errorf("the password is %q, want %q", have, want)
	}
	if read["PGDBNAME"] != vars["database"] {
		t.Errorf("the database is %q", read["PGDBNAME"])
	}
	if want, set := vars["username"]; set && read["username"] != want {
		t.Errorf("the user is %q, want %q", read["username"], want)
	}
}

// shellReads has a shell read an environment, as its owner would have it.
func shellReads(t *testing.T, path, content string) map[string]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "env", "-i", "/bin/sh", "-euc", `set -a; . "$0"; exec env -0`, path).Output()
	if err != nil {
		t.Fatalf("the shell says %v:\n%s", err, content)
	}
	have := map[string]string{}
	for _, pair := range bytes.Split(out, []byte{0}) {
		if name, value, is := strings.Cut(string(pair), "="); is && name != "PWD" {
			have[name] = value
		}
	}
	for line := range strings.Lines(content) {
		if name, _, is := strings.Cut(line, "="); is {
			if _, has := have[name]; !has {
				t.Errorf("the shell has no %s", name)
			}
		}
	}
	return have
}

// walgReads looks whether all who read such an environment find the same in it.
func walgReads(t *testing.T, f fixture, path, content string) {
	t.Helper()
	have := shellReads(t, path, content)
	for _, name := range []string{"PGHOST", "PGPORT", "PGUSER", "PGDATABASE"} {
		if have[name] == "" {
			t.Errorf("%s is empty", name)
		}
	}
	if f.vars["envdir"] == nil {
		return
	}
	for name, want := range map[string]any{"PGAPPNAME": f.vars["env"].(map[string]any)["PGAPPNAME"], "WALG_LIBSODIUM_KEY": "it's \"$HOME\", `id` \\ 1:2"} {
		if have[name] != want {
			t.Errorf("the shell has %s %q, want %q", name, have[name], want)
		}
	}
	// The folder for envdir holds the same.
	folder := t.TempDir()
	for _, w := range f.execute(t, f.vars).Written {
		servertest.File(t, filepath.Join(folder, filepath.Base(w.Path)), w.Content, w.Perms)
	}
	out, err := exec.CommandContext(t.Context(), "env", "-i", servertest.Need(t, "envdir"), folder, "/usr/bin/env", "-0").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		name, value, _ := strings.Cut(pair, "=")
		if have[name] != strings.ReplaceAll(value, "/etc/pgbaton/", filepath.Dir(path)+"/") {
			t.Errorf("envdir has %s %q, the shell %q", name, value, have[name])
		}
		delete(have, name)
	}
	if len(have) > 0 {
		t.Errorf("envdir lacks %v", have)
	}
}
