//go:build amd64

package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestHostileMember: the key of the member that is to lead holds what no server is
// called by, in a real Consul that takes values of 2 MiB.
func TestHostileMember(t *testing.T) {
	consul := servertest.Consul(t, "limits { kv_max_value_size = 2097152 txn_max_req_len = 2097152 }")
	k := newKeyed(t, consul.Client, consul.Addr, beside, keyedSettings{})
	leader, led := 1, []int{1}
	member := func(url string) string {
		return fmt.Sprintf(`{"conn_url":"%s","state":"running","role":"replica"}`, url)
	}
	for name, value := range map[string]string{
		"NUL in its host":       member(`postgres://10.0.0.9\u0000:5432/postgres`),
		"new line in its host":  member(`postgres://10.0.0.9\n* = host=evil:5432/postgres`),
		"controls in its host":  member(`postgres://10.0.0.9\u001b[2J\u0007:5432/postgres`),
		"braces in its host":    member(`postgres://{{ env \"HOME\" }}:5432/postgres`),
		"host of 512 KB":        member("postgres://" + strings.Repeat("a", 512<<10-100) + ":5432/postgres"),
		"host of 1 MiB":         member("postgres://" + strings.Repeat("a", 1<<20) + ":5432/postgres"),
		"port of 1 MiB":         member("postgres://10.0.0.9:" + strings.Repeat("1", 1<<20) + "/postgres"),
		"1 MiB of brackets":     strings.Repeat("[", 1<<20),
		"1 MiB of NULs":         strings.Repeat("\x00", 1<<20),
		"bytes that are no UTF": "{\"conn_url\":\"postgres://\xff\xfe/\"}\xff",
	} {
		t.Run(name, func(t *testing.T) {
			for range rounds(t) {
				next := fmt.Sprintf("pg%d", 3-leader)
				key := "service/batman/members/" + next
				said := strings.Count(k.daemon.Output(), key)
				put(t, k.client, key, value)
				if _, err := k.client.KV().Delete("service/batman/leader", nil); err != nil {
					t.Fatal(err)
				}
				put(t, k.client, "service/batman/leader", next)
				servertest.Eventually(t, "the key is named", func() error {
					if strings.Count(k.daemon.Output(), key) == said {
						return fmt.Errorf("the log has no %s:\n%s", key, k.daemon.Output())
					}
					return k.shows(leader)
				})
				k.lead(t, 3-leader) // the key is a good one again
				leader = 3 - leader
				k.follows(t, leader)
				led = append(led, leader)
				k.told(t, led)
			}
			t.Logf("injected %d times", rounds(t))
		})
	}
	for line := range strings.Lines(k.daemon.Output()) {
		if len(line) > 4<<10 || strings.ContainsAny(line, "\x00\x1b\x07") {
			t.Errorf("a line of %d bytes in the log: %.300q", len(line), line)
		}
	}
}

// TestLargeValue: a template has a value of 1 MiB as Consul has it, whatever bytes are
// in it; but a NUL is refused, with the key that has it.
func TestLargeValue(t *testing.T) {
	consul := servertest.Consul(t, "limits { kv_max_value_size = 2097152 txn_max_req_len = 2097152 }")
	dir := t.TempDir()
	file := filepath.Join(dir, "value")
	put(t, consul.Client, "value", "first")
	config := servertest.File(t, filepath.Join(dir, "pgbaton.hcl"), fmt.Sprintf(`
state_dir = %q
consul {
  address = %q
}
target "exec" "app" {
  template {
    contents    = "{{ key \"value\" }}"
    destination = %q
  }
  command = ["true"]
}
`, filepath.Join(dir, "state"), consul.Addr, file), 0o644)
	daemon := servertest.Start(t, beside(binary, "run", "-config", config))
	written := ""
	for _, value := range []string{
		"first", strings.Repeat("x", 512<<10), strings.Repeat("line\n", (1<<20)/5), strings.Repeat("\x00", 1<<20),
		strings.Repeat("\xff\x1b\r\n{{ env \"HOME\" }}%", 50_000), "one \x00 more", "last",
	} {
		text := !strings.ContainsRune(value, 0)
		const refused = "the value of key value is no text"
		said := strings.Count(daemon.Output(), refused)
		put(t, consul.Client, "value", value)
		if text {
			written = value
		}
		servertest.Eventually(t, "the value is taken up, or refused", func() error {
			if daemon.Exited() {
				t.Fatalf("pgbaton ended:\n%s", daemon.Output())
			}
			content, err := os.ReadFile(file)
			switch {
			case err != nil:
				return err
			case string(content) != written:
				return fmt.Errorf("the file has %d bytes, and not those %d", len(content), len(written))
			case !text && strings.Count(daemon.Output(), refused) == said:
				return fmt.Errorf("it is not refused:\n%s", daemon.Output())
			}
			return nil
		})
	}
}
